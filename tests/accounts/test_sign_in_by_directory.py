"""LDAP against a real slapd over TLS: people, nested groups, a wrong password, a directory that is silent."""

import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client

from accounts.data import ProviderKind, system_principal
from accounts.models import IdentityProvider, RoleGrant, SignInFailure, User
from accounts.selectors import provider_by_slug
from accounts.services import create_team, create_user, save_provider, try_provider

SLAPD = shutil.which("slapd") or "/usr/sbin/slapd"
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.integration,
    pytest.mark.skipif(not Path(SLAPD).exists(), reason="needs slapd"),
    pytest.mark.skipif(find_spec("django_auth_ldap") is None, reason="needs the directory's client: make ldap"),
]
SITE = system_principal("test")
PEOPLE = """
dn: dc=example,dc=org
objectClass: domain
dc: example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=org
objectClass: organizationalUnit
ou: groups

dn: cn=search,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: search
userPassword: search secret

dn: uid=lena,ou=people,dc=example,dc=org
objectClass: inetOrgPerson
uid: lena
cn: Lena Lake
sn: Lake
displayName: Lena Lake
mail: lena@example.org
userPassword: lena's password

dn: cn=SRE,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: SRE
member: uid=lena,ou=people,dc=example,dc=org

dn: cn=Everybody,ou=groups,dc=example,dc=org
objectClass: groupOfNames
cn: Everybody
member: cn=SRE,ou=groups,dc=example,dc=org
"""


@dataclass
class Directory:
    address: str
    plain_address: str
    ca_file: str


def certificates(folder: Path) -> Path:
    """Write an authority, and a server's certificate and key for this machine."""
    now, ca_key, key = datetime.now(tz=UTC), ec.generate_private_key(ec.SECP256R1()), None
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("Test CA", "127.0.0.1")]

    def signed(subject: x509.Name, public: Any, *more: tuple[x509.ExtensionType, bool]) -> bytes:
        builder = x509.CertificateBuilder(issuer_name=names[0], subject_name=subject, public_key=public)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        for extension, critical in more:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    (folder / "ca.pem").write_bytes(signed(names[0], ca_key.public_key(), (constraints, True)))
    (folder / "server.pem").write_bytes(signed(names[1], key.public_key(), (alternative, False)))
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "server.key").write_bytes(key.private_bytes(*pem))
    return folder / "ca.pem"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directory]:
    folder = tmp_path_factory.mktemp("slapd")
    ca_file = certificates(folder)
    (folder / "data").mkdir()
    (folder / "people.ldif").write_text(PEOPLE.lstrip())
    (folder / "slapd.conf").write_text(
        f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {ca_file}
TLSCertificateFile {folder}/server.pem
TLSCertificateKeyFile {folder}/server.key
database mdb
suffix "dc=example,dc=org"
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=search,dc=example,dc=org" read by * none
"""
    )
    configured = ["-f", str(folder / "slapd.conf")]
    subprocess.run(
        [Path(SLAPD).with_name("slapadd"), *configured, "-l", str(folder / "people.ldif")],
        check=True,
        capture_output=True,
    )
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    addresses = [f"ldaps://127.0.0.1:{ports[0]}", f"ldap://127.0.0.1:{ports[1]}"]
    process = subprocess.Popen(
        [SLAPD, *configured, "-h", " ".join(addresses), "-d", "0"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports[0]), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, (process.stderr.read() if process.stderr else b"").decode()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield Directory(addresses[0], addresses[1], str(ca_file))
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stderr:
            process.stderr.close()


def set_up(directory: Directory, **changes: Any) -> IdentityProvider:
    configuration = {
        "address": directory.address,
        "bind_dn": "cn=search,dc=example,dc=org",
        "people": "ou=people,dc=example,dc=org",
        "groups": "ou=groups,dc=example,dc=org",
        "ca_file": directory.ca_file,
        **changes,
    }
    create_team(principal=SITE, slug="inference", name="Inference")
    return save_provider(
        principal=SITE,
        slug="corp",
        name="Corporate directory",
        kind=ProviderKind.LDAP,
        configuration=configuration,
        secret="search secret",
        mappings=[("SRE", "responder", "inference"), ("Everybody", "viewer", "")],
    )


def sign_in(name: str, password: str) -> tuple[Client, Any]:
    client = Client()
    return client, client.post("/sign-in/", {"username": name, "password": password})


def test_a_person_of_the_directory_signs_in_over_tls_with_the_rights_of_their_groups(directory: Directory) -> None:
    provider = set_up(directory)
    tried = try_provider(provider=provider)
    assert tried.good, tried.lines
    client, answer = sign_in("lena", "lena's password")
    assert answer.status_code == 302, answer.content.decode()
    lena = User.objects.get(username="lena")
    assert (lena.get_full_name(), lena.email, lena.has_usable_password()) == ("Lena Lake", "lena@example.org", False)
    grants = {(one.role, one.source) for one in RoleGrant.objects.filter(user=lena)}
    assert grants == {("responder", "provider:corp"), ("viewer", "provider:corp")}
    assert "provider:corp" in client.get("/settings/account/").content.decode()
    again = client.get("/sign-in/again/?next=/")["Location"]
    assert client.post(again, {"password": "lena's password"})["Location"] == "/"
    sign_in("lena", "lena's password")
    assert User.objects.filter(username__startswith="lena").count() == 1


def test_a_wrong_password_an_empty_one_and_a_stranger_are_refused_and_counted(directory: Directory) -> None:
    set_up(directory)
    for name, password in (("lena", "wrong"), ("*", "lena's password"), ("nobody", "x"), ("lena)(uid=*", "x")):
        _, answer = sign_in(name, password)
        assert "do not belong together" in answer.content.decode()
    assert SignInFailure.objects.count() == 4
    assert sign_in("lena", "")[1].status_code == 200
    assert not User.objects.filter(username="lena").exists()


def test_start_tls_works_and_a_certificate_of_a_foreign_authority_is_refused(
    directory: Directory, tmp_path: Path
) -> None:
    provider = set_up(directory, address=directory.plain_address, start_tls=True)
    assert try_provider(provider=provider).good
    foreign = set_up(directory, ca_file=str(certificates(tmp_path)))
    tried = try_provider(provider=foreign)
    assert not tried.good
    _, answer = sign_in("lena", "lena's password")
    assert "does not answer" in answer.content.decode()


def test_a_silent_directory_leaves_the_local_way_and_counts_nothing(directory: Directory) -> None:
    set_up(directory, address="ldap://127.0.0.1:1")
    create_user(principal=SITE, username="ada", password="correct horse battery")
    _, answer = sign_in("lena", "lena's password")
    assert "Corporate directory does not answer" in answer.content.decode()
    assert not SignInFailure.objects.exists()
    assert sign_in("ada", "correct horse battery")[1].status_code == 302
    provider = provider_by_slug(slug="corp")
    assert provider is not None
    assert "SERVER_DOWN" in provider.last_error


def test_without_the_extra_the_site_works_and_says_what_is_missing(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import accounts.directory

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(accounts.directory, "import_string", missing)
    provider = set_up(directory)
    create_user(principal=SITE, username="ada", password="correct horse battery")
    assert sign_in("ada", "correct horse battery")[1].status_code == 302
    assert "not installed" in try_provider(provider=provider).lines[0]

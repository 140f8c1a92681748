"""SAML against an identity provider made with pysaml2: signed assertions admitted, everything else refused."""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA1, SIG_RSA_SHA256

from accounts.data import ProviderKind, system_principal
from accounts.models import IdentityProvider, RoleGrant, User
from accounts.services import save_provider, try_provider

pytestmark = [pytest.mark.django_db, pytest.mark.integration]
SITE = system_principal("test")
ENTITY = "https://idp.example.org/metadata"
SSO = "https://idp.example.org/sso"


def key_pair(folder: Path, name: str, *, until: datetime | None = None) -> tuple[str, str]:
    """Write a key and a certificate that it has signed itself; return their paths."""
    key, now = rsa.generate_private_key(public_exponent=65537, key_size=2048), datetime.now(tz=UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(issuer_name=subject, subject_name=subject, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=9))
    certificate = builder.not_valid_after(until or now + timedelta(days=9)).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(*pem))
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return str(folder / f"{name}.key"), str(folder / f"{name}.pem")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    folder = tmp_path_factory.mktemp("saml")
    return {
        "idp": key_pair(folder, "idp"),
        "foreign": key_pair(folder, "foreign"),
        "old": key_pair(folder, "old", until=datetime.now(tz=UTC) - timedelta(days=1)),
    }


@pytest.fixture
def provider(keys: dict[str, tuple[str, str]]) -> IdentityProvider:
    return save_provider(
        principal=SITE,
        slug="corp",
        name="Corporate sign-in",
        kind=ProviderKind.SAML,
        configuration={"entity_id": ENTITY, "sso_url": SSO, "certificate": Path(keys["idp"][1]).read_text()},
        mappings=[("SRE", "responder", "")],
    )


@pytest.fixture
def idp(provider: IdentityProvider, keys: dict[str, tuple[str, str]], tmp_path: Path) -> Callable[[str], Server]:
    """Make identity providers that know this site by the metadata that it hands out."""
    answer = Client().get("/sign-in/saml/corp/metadata/")
    assert answer.status_code == 200, answer.content
    (tmp_path / "sp.xml").write_bytes(answer.content)

    def made(key: str) -> Server:
        key_file, cert_file = keys[key]
        config = {
            "entityid": ENTITY,
            "key_file": key_file,
            "cert_file": cert_file,
            "xmlsec_binary": "/usr/bin/xmlsec1",
            "metadata": {"local": [str(tmp_path / "sp.xml")]},
            "service": {
                "idp": {
                    "endpoints": {"single_sign_on_service": [(SSO, BINDING_HTTP_REDIRECT)]},
                    "policy": {"default": {"lifetime": {"minutes": 5}, "attribute_restrictions": None}},
                    "name_id_format": [NAMEID_FORMAT_PERSISTENT],
                }
            },
        }
        return Server(config=IdPConfig().load(config))

    return made


def begin(client: Client) -> str:
    """Let the site send the browser away; return its request."""
    away = client.get("/sign-in/saml/corp/?next=/settings/account/")
    assert away["Location"].startswith(SSO)
    return parse_qs(urlsplit(away["Location"]).query)["SAMLRequest"][0]


def answered(server: Server, asked: str, subject: str = "n-1", **changes: Any) -> str:
    """Answer a request as a provider does, with a signed assertion."""
    request = server.parse_authn_request(asked, BINDING_HTTP_REDIRECT)
    arguments = {
        **server.response_args(request.message, [BINDING_HTTP_POST]),
        "sign_alg": SIG_RSA_SHA256,
        "digest_alg": DIGEST_SHA256,
        **changes,
    }
    arguments.pop("binding", None)
    said = {"mail": ["sara@example.org"], "displayName": ["Sara Sand"], "groups": ["SRE", "Others"]}
    response = server.create_authn_response(
        identity=said,
        userid=subject,
        name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text=subject),
        authn={"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport", "authn_auth": ENTITY},
        sign_assertion=True,
        sign_response=False,
        **arguments,
    )
    return base64.b64encode(str(response).encode()).decode()


def why() -> str:
    """Return what the provider's page says about the last refusal."""
    return IdentityProvider.objects.get().last_error


def deliver(client: Client, response: str) -> Any:
    posted = client.post("/sign-in/saml/corp/answer/", {"SAMLResponse": response, "RelayState": ""})
    assert posted.status_code == 302
    return client.get(posted["Location"])


Idp = Callable[[str], Server]


def test_a_signed_assertion_signs_in_with_the_rights_of_its_groups(provider: IdentityProvider, idp: Idp) -> None:
    assert try_provider(provider=provider).good
    client = Client()
    answer = deliver(client, answered(idp("idp"), begin(client)))
    assert answer.status_code == 302, answer.content.decode()
    assert answer["Location"] == "/settings/account/"
    sara = User.objects.get(username="sara")
    assert (sara.get_full_name(), sara.email) == ("Sara Sand", "sara@example.org")
    assert RoleGrant.objects.get(user=sara).source == "provider:corp"
    assert client.get("/settings/account/").status_code == 200


def test_a_foreign_key_and_a_changed_assertion_are_refused(provider: IdentityProvider, idp: Idp) -> None:
    client = Client()
    assert deliver(client, answered(idp("foreign"), begin(client))).status_code == 403
    assert "Signature validation failed" in why()
    good = base64.b64decode(answered(idp("idp"), begin(client))).decode()
    changed = base64.b64encode(good.replace("Sara Sand", "Someone Else").encode()).decode()
    assert deliver(client, changed).status_code == 403
    assert "Signature validation failed" in why()
    unsigned = re.sub(r"<(\w+:)?Signature.*?</(\w+:)?Signature>", "", good, flags=re.DOTALL)
    assert deliver(client, base64.b64encode(unsigned.encode()).decode()).status_code == 403
    assert "not signed" in why() or "No Signature" in why()
    weak = answered(idp("idp"), begin(client), sign_alg=SIG_RSA_SHA1)
    assert deliver(client, weak).status_code == 403
    assert "Deprecated signature" in why()
    assert not User.objects.exists()


def test_an_expired_assertion_and_one_of_the_future_are_refused(provider: IdentityProvider, idp: Idp) -> None:
    for hours in (-1, 1):
        client = Client()
        asked = begin(client)
        with time_machine.travel(datetime.now(tz=UTC) + timedelta(hours=hours)):
            response = answered(idp("idp"), asked)
        assert deliver(client, response).status_code == 403
        assert "expired" in why() or "future" in why() or "not yet valid" in why(), why()
    assert not User.objects.exists()


def test_an_assertion_is_good_once_and_in_the_browser_that_asked(provider: IdentityProvider, idp: Idp) -> None:
    client = Client()
    response = answered(idp("idp"), begin(client))
    assert deliver(Client(), response).status_code == 403
    assert deliver(client, response).status_code == 302
    assert deliver(client, response).status_code == 403


def test_an_assertion_for_another_audience_or_place_is_refused(provider: IdentityProvider, idp: Idp) -> None:
    client = Client()
    other = answered(idp("idp"), begin(client), sp_entity_id="https://other.example.org/metadata")
    assert deliver(client, other).status_code == 403
    assert "audience" in why()
    elsewhere = answered(idp("idp"), begin(client), destination="https://other.example.org/acs")
    assert deliver(client, elsewhere).status_code == 403
    assert "received at" in why()
    assert not User.objects.exists()


def test_an_assertion_that_nobody_asked_for_is_refused(provider: IdentityProvider, idp: Idp) -> None:
    client = Client()
    unasked = answered(idp("idp"), begin(Client()), in_response_to=None)
    assert deliver(client, unasked).status_code == 403
    assert client.post("/sign-in/saml/corp/answer/", {"SAMLResponse": "no base64"}).status_code == 302
    assert client.get("/sign-in/saml/corp/finish/").status_code == 403
    assert client.get("/sign-in/saml/corp/answer/").status_code == 405
    assert client.get("/sign-in/saml/unheard-of/").status_code == 404


def test_an_expired_signing_certificate_is_told_when_the_provider_is_tried(
    provider: IdentityProvider, keys: dict[str, tuple[str, str]]
) -> None:
    provider.configuration["certificate"] = "".join(Path(keys["old"][1]).read_text().splitlines()[1:-1])
    provider.save()
    tried = try_provider(provider=provider)
    assert not tried.good
    assert "expired" in tried.lines[0]

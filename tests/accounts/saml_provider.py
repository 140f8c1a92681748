"""SAML identity providers made with pysaml2, which know this site by the metadata that it hands out."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.metadata import entity_descriptor
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

from accounts.data import ProviderKind, system_principal
from accounts.models import IdentityProvider
from accounts.services import save_provider

SITE = system_principal("test")
ENTITY = "https://idp.example.org/metadata"
SSO = "https://idp.example.org/sso"
SLO = "https://idp.example.org/slo"
Keys = dict[str, tuple[str, str]]
Idp = Callable[..., Server]


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


def all_keys(folder: Path) -> Keys:
    """Return the providers of these tests: the known one, a foreign one, one whose certificate has expired."""
    return {
        "idp": key_pair(folder, "idp"),
        "foreign": key_pair(folder, "foreign"),
        "old": key_pair(folder, "old", until=datetime.now(tz=UTC) - timedelta(days=1)),
    }


def written_down(keys: Keys, **changes: Any) -> IdentityProvider:
    """Write the known provider down here."""
    certificate = Path(keys["idp"][1]).read_text()
    return save_provider(
        principal=SITE,
        slug="corp",
        name="Corporate sign-in",
        kind=ProviderKind.SAML,
        configuration={"entity_id": ENTITY, "sso_url": SSO, "slo_url": SLO, "certificate": certificate, **changes},
        mappings=[("SRE", "responder", "")],
    )


def maker(keys: Keys, folder: Path) -> Idp:
    """Return what makes providers; each reads this site's metadata when it is made."""

    def made(key: str) -> Server:
        answer = Client().get("/sign-in/saml/corp/metadata/")
        assert answer.status_code == 200, answer.content
        (folder / "sp.xml").write_bytes(answer.content)
        return Server(config=IdPConfig().load(configuration(keys, key, str(folder / "sp.xml"))))

    return made


def configuration(keys: Keys, key: str, *known: str) -> dict[str, Any]:
    """Return what a provider is made of."""
    key_file, cert_file = keys[key]
    return {
        "entityid": ENTITY,
        "key_file": key_file,
        "cert_file": cert_file,
        "xmlsec_binary": "/usr/bin/xmlsec1",
        "metadata": {"local": list(known)},
        "service": {
            "idp": {
                "endpoints": {
                    "single_sign_on_service": [(SSO, BINDING_HTTP_REDIRECT)],
                    "single_logout_service": [(SLO, BINDING_HTTP_REDIRECT)],
                },
                "policy": {"default": {"lifetime": {"minutes": 5}, "attribute_restrictions": None}},
                "name_id_format": [NAMEID_FORMAT_PERSISTENT],
            }
        },
    }


def metadata_of(keys: Keys, key: str) -> bytes:
    """Return the metadata that a provider hands out."""
    return str(entity_descriptor(IdPConfig().load(configuration(keys, key)))).encode()


def begin(client: Client) -> str:
    """Let the site send the browser away; return its request."""
    away = client.get("/sign-in/saml/corp/?next=/settings/account/")
    assert away["Location"].startswith(SSO)
    return parse_qs(urlsplit(away["Location"]).query)["SAMLRequest"][0]


def answered(
    server: Server, asked: str, subject: str = "n-1", *, proved_at: datetime | None = None, **changes: Any
) -> str:
    """Answer a request as a provider does, with a signed assertion; `proved_at` is when its own session began."""
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
        authn={
            "class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport",
            "authn_auth": ENTITY,
            **({"authn_instant": int(proved_at.timestamp())} if proved_at else {}),
        },
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

"""X.509 certificates as they are written down: to whom they belong, until when they hold. RFC 5280."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

OWN_CERTIFICATE_LIFE = timedelta(days=3 * 365)
OWN_KEY_BITS = 2048
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """What matters of a certificate; `body` is its DER in base64, without line breaks."""

    body: str
    subject: str
    fingerprint: str
    not_before: datetime
    not_after: datetime

    def holds_at(self, now: datetime) -> bool:
        """Say whether the certificate is valid at this moment."""
        return self.not_before <= now < self.not_after

    def __str__(self) -> str:
        return f"{self.subject} (SHA-256 {self.fingerprint[:16]}…)"


def certificate_bodies(text: str) -> tuple[str, ...]:
    """Return the certificates in a text: PEM blocks, bodies a line each, or one body over several lines."""
    blocks = _BLOCK.findall(text)
    lines = text.split()
    if not blocks:
        blocks = lines if lines and all(line.startswith("MII") for line in lines) else ["".join(lines)]
    return tuple("".join(block.split()) for block in blocks if block.strip())


def read_certificate(body: str) -> Certificate:
    """Return a certificate. Raises ValueError when it is none."""
    try:
        found = x509.load_der_x509_certificate(base64.b64decode(body, validate=True))
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    return Certificate(
        body=body,
        subject=found.subject.rfc4514_string(),
        fingerprint=found.fingerprint(hashes.SHA256()).hex(),
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
    )


def make_certificate(*, name: str, now: datetime) -> tuple[str, Certificate]:
    """Return a new private key (PKCS #8, PEM) and a certificate of its own for this site."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=OWN_KEY_BITS)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
    made = (
        x509.CertificateBuilder(issuer_name=subject, subject_name=subject, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + OWN_CERTIFICATE_LIFE)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return pem, read_certificate(base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode())

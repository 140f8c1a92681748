"""Sign and verify webhooks as Standard Webhooks 1.0.0 says (symmetric scheme `v1`).

Source: standard-webhooks/spec, "Webhook signature scheme": HMAC-SHA256 over `id.timestamp.body`, base64, the key being
the base64 part of a secret that begins with `whsec_`; several signatures stand in one header, parted by spaces.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterable
from hashlib import sha256

SECRET_PREFIX = "whsec_"  # noqa: S105 a prefix, not a secret
SECRET_BYTES = 32
TOLERANCE_SECONDS = 300


class SignatureRefusedError(ValueError):
    """The signature, its time or its form is not acceptable; the message says which."""


def new_secret() -> str:
    """Return a fresh signing secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def key_of(secret: str) -> bytes:
    """Return the key bytes of a secret; raises SignatureRefusedError when it is not one."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise SignatureRefusedError("the secret is not base64") from None
    if not 16 <= len(key) <= 64:
        raise SignatureRefusedError("the secret holds fewer than 16 or more than 64 bytes")
    return key


def sign(secret: str, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature, `v1,<base64>`."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.new(key_of(secret), signed, sha256).digest()).decode("ascii")


def signature_header(live_secrets: Iterable[str], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header value: one signature for each live secret, so that a receiver may hold either."""
    return " ".join(
        sign(secret, message_id=message_id, timestamp=timestamp, body=body) for secret in live_secrets if secret
    )


def verify(
    live_secrets: Iterable[str],
    *,
    message_id: str,
    timestamp: str,
    signatures: str,
    body: bytes,
    now: float,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> None:
    """Raise SignatureRefusedError unless one signature fits one live secret and the time is within the tolerance."""
    if not message_id or not timestamp or not signatures:
        raise SignatureRefusedError("webhook-id, webhook-timestamp and webhook-signature are required")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise SignatureRefusedError("webhook-timestamp is not a count of seconds")
    seconds = int(timestamp)
    if abs(now - seconds) > tolerance_seconds:
        raise SignatureRefusedError("webhook-timestamp is too far from now")
    given = [part for part in signatures.split() if part.startswith("v1,")]
    matches = False
    for secret in live_secrets:
        if not secret:
            continue
        expected = sign(secret, message_id=message_id, timestamp=seconds, body=body)
        for candidate in given:
            matches |= hmac.compare_digest(candidate.encode(), expected.encode())
    if not matches:
        raise SignatureRefusedError("no signature fits")

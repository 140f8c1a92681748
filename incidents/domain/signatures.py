"""Check the signatures of senders that do not follow Standard Webhooks.

Grafana: hexadecimal HMAC-SHA256 of the body, or of `TIMESTAMP:body` where a timestamp header is set up
(grafana/alerting, `http/hmac.go`). GitHub: `sha256=` and the same of the body ("Validating webhook deliveries").
"""

import hmac
from collections.abc import Iterable, Mapping
from hashlib import sha256

GRAFANA_SIGNATURE = "x-grafana-alerting-signature"
GRAFANA_TIMESTAMP = "x-grafana-alerting-timestamp"
GITHUB_SIGNATURE = "x-hub-signature-256"
TOLERANCE_SECONDS = 300


def grafana_signature_fits(live_secrets: Iterable[str], *, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Say whether one of the secrets has signed the body; with a timestamp, also whether it is recent."""
    signed = body
    if timestamp := headers.get(GRAFANA_TIMESTAMP, ""):
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
            return False
        if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
            return False
        signed = timestamp.encode() + b":" + body
    return _fits(live_secrets, signed, headers.get(GRAFANA_SIGNATURE, ""))


def github_signature_fits(live_secrets: Iterable[str], *, headers: Mapping[str, str], body: bytes) -> bool:
    """Say whether one of the secrets has signed the body."""
    scheme, _, given = headers.get(GITHUB_SIGNATURE, "").partition("=")
    return scheme == "sha256" and _fits(live_secrets, body, given)


def _fits(live_secrets: Iterable[str], signed: bytes, given: str) -> bool:
    fits = False
    for secret in live_secrets:
        if secret:
            expected = hmac.new(secret.encode(), signed, sha256).hexdigest()
            fits |= hmac.compare_digest(expected.encode(), given.strip().lower().encode("utf-8", "replace"))
    return fits

"""Look after the services that carry messages, and check what they send back."""

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from hashlib import sha1, sha256

from core.parsing import refuse
from core.proving import dangerous
from delivery.data import Actor, ConnectorKind
from delivery.models import Connector
from delivery.relays import RelayRefusedError, ensure_relay_is_usable
from delivery.services.outbox import ensure_may_edit

NEEDED: dict[ConnectorKind, tuple[str, ...]] = {
    ConnectorKind.SLACK: ("bot_token", "signing_secret"),
    ConnectorKind.TEAMS: ("url",),
    ConnectorKind.TWILIO: ("account_sid", "auth_token", "from_number"),
    ConnectorKind.APPRISE: ("url",),
}
OPTIONAL = ("api_url",)
SLACK_TOLERANCE_SECONDS = 300


@dangerous("change the secrets of a connector")
def save_connector(
    *, principal: Actor, slug: str, kind: ConnectorKind, settings: Mapping[str, str], allow: Sequence[str] = ()
) -> Connector:
    """Create or change a connector. Raises InputRefusedError when something that the kind needs is missing."""
    ensure_may_edit(principal)
    known = {*NEEDED[kind], *OPTIONAL}
    if unknown := sorted(set(settings) - known):
        raise refuse("settings", found=unknown[0], allowed=f"{', '.join(sorted(known))} are allowed")
    if missing := [name for name in NEEDED[kind] if not settings.get(name)]:
        raise refuse("settings", found="nothing", allowed=f"{missing[0]} is needed")
    if kind is ConnectorKind.APPRISE:
        try:
            ensure_relay_is_usable(settings["url"])
        except RelayRefusedError as error:
            raise refuse("url", found="an address", allowed=str(error)) from None
    connector, _ = Connector.objects.update_or_create(
        slug=slug, defaults={"kind": kind, "secrets": json.dumps(dict(settings)), "allow": list(allow)}
    )
    return connector


def connector_signing(*, timestamp: str, body: bytes, signature: str, now: float) -> Connector | None:
    """Return the Slack connector whose secret has signed a request within five minutes, or None."""
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now - int(timestamp)) > SLACK_TOLERANCE_SECONDS:
        return None
    base = b"v0:" + timestamp.encode() + b":" + body
    for connector in Connector.objects.filter(kind=ConnectorKind.SLACK):
        secret = connector.settings["signing_secret"].encode()
        expected = "v0=" + hmac.new(secret, base, sha256).hexdigest()
        if hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            return connector
    return None


def twilio_signature_fits(*, connector: Connector, url: str, form: Mapping[str, str], signature: str) -> bool:
    """Say whether the provider has signed a request: HMAC-SHA1 over the address and the sorted form, base64."""
    text = url + "".join(f"{name}{value}" for name, value in sorted(form.items()))
    digest = hmac.new(connector.settings["auth_token"].encode(), text.encode(), sha1).digest()
    return hmac.compare_digest(base64.b64encode(digest), signature.encode("utf-8", "replace"))

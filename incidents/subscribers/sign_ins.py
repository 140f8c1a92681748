"""A break-glass account that signs in is an alert like any other: routed, paged, worked as an incident."""

import orjson

from accounts.events import BreakGlassUsed
from core.clock import database_now
from core.events import subscribe
from incidents.services import store_internal

SIGN_IN_INTEGRATION = "site-sign-ins"


@subscribe(BreakGlassUsed)
def take_break_glass(event: BreakGlassUsed) -> None:
    """Store the sign-in as an inbound event; each is an alert of its own, for somebody has to say why it was."""
    now = database_now()
    store_internal(
        integration_slug=SIGN_IN_INTEGRATION,
        name="Sign-ins to this site",
        idempotency_key=f"break-glass:{event.entry}",
        body=orjson.dumps(
            {
                "title": f"Break-glass account {event.username} signed in",
                "description": f"From {event.address or 'an unknown address'}. If nobody meant to, end its sessions at "
                "once (Settings, People) and change its password.",
                "status": "firing",
                "labels": {
                    "alertname": "BreakGlassSignIn",
                    "service": "assay",
                    "severity": "critical",
                    "account": event.username,
                },
                "fingerprint": f"break-glass:{event.entry}",
                "starts_at": now.isoformat(),
                "url": f"/settings/people/{event.username}/",
            }
        ),
    )

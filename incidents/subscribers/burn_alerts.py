"""Take the site's own burn-rate alerts by the same door as everybody's: a stored event, then the common path."""

from datetime import datetime
from typing import Any

import orjson

from core.events import subscribe
from incidents.services import store_internal
from reliability.events import BurnAlertFired, BurnAlertResolved

BURN_INTEGRATION = "slo-burn-alerts"


@subscribe(BurnAlertFired)
def take_burn_alert(event: BurnAlertFired) -> None:
    """Store a burn-rate alert as an inbound event."""
    text = (
        f"Burn rate {event.burn_rate_long:.1f} over {event.long_window_seconds} s and {event.burn_rate_short:.1f} "
        f"over {event.short_window_seconds} s; the threshold is {event.threshold:g}."
    )
    _store(event, status="firing", ends_at=None, description=text)


@subscribe(BurnAlertResolved)
def take_burn_resolution(event: BurnAlertResolved) -> None:
    """Store the end of a burn-rate alert."""
    _store(event, status="resolved", ends_at=event.resolved_at, description="")


def _store(
    event: BurnAlertFired | BurnAlertResolved, *, status: str, ends_at: datetime | None, description: str
) -> None:
    labels = {
        "alertname": "ErrorBudgetBurn",
        "slo": event.slo_slug,
        "service": event.service_slug,
        "policy": event.policy,
        "severity": event.severity,
    }
    body: dict[str, Any] = {
        "title": f"{event.slo_slug} spends its error budget too fast",
        "description": description,
        "status": status,
        "labels": labels,
        # The key names one firing of one tier, so two tiers of a policy do not resolve each other.
        "fingerprint": event.alert_key,
        "starts_at": event.fired_at.isoformat(),
        "ends_at": ends_at.isoformat() if ends_at else "",
        "url": f"/slos/{event.slo_slug}/",
    }
    store_internal(
        integration_slug=BURN_INTEGRATION,
        idempotency_key=f"{event.alert_key}:{status}:{event.fired_at.isoformat()}",
        body=orjson.dumps(body),
    )

"""Which alerts the site has seen lately, for the judgement of what no runbook covers."""

from collections.abc import Iterator
from datetime import timedelta

from accounts.data import Principal
from core.clock import database_now
from incidents.selectors.incidents import alerts_visible
from runbooks.data import KnownAlert

SEEN_WITHIN = timedelta(days=90)
MOST_ALERTS = 2000


def known_alerts(viewer: Principal) -> Iterator[KnownAlert]:
    """Yield each kind of alert of each service once, the latest first."""
    seen: set[tuple[str, str]] = set()
    found = alerts_visible(viewer=viewer).filter(last_received_at__gte=database_now() - SEEN_WITHIN)
    for alert in found.order_by("-last_received_at")[:MOST_ALERTS]:
        name = str(alert.labels.get("alertname") or alert.title)
        service = alert.service.slug if alert.service else ""
        if (name, service) in seen:
            continue
        seen.add((name, service))
        yield KnownAlert(
            name=name,
            labels={key: str(value) for key, value in alert.labels.items()},
            service=service,
            runbook=alert.route.runbook_slug if alert.route else "",
            last_seen_at=alert.last_received_at,
        )

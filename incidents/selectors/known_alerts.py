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
    rows = found.order_by("-last_received_at").values_list(
        "labels", "title", "service__slug", "route__runbook_slug", "last_received_at"
    )
    for labels, title, slug, runbook, last in rows[:MOST_ALERTS]:
        name, service = str(labels.get("alertname") or title), slug or ""
        if (name, service) in seen:
            continue
        seen.add((name, service))
        yield KnownAlert(
            name=name,
            labels={key: str(value) for key, value in labels.items()},
            service=service,
            runbook=runbook or "",
            last_seen_at=last,
        )

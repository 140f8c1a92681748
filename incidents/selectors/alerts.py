"""Reads of alerts by group, and of silences."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from incidents.data import AlertStatus
from incidents.models import Silence
from incidents.selectors.incidents import alerts_visible

MOST_GROUPED = 20_000


def silences_visible(*, viewer: Principal) -> QuerySet[Silence]:
    """Return the silences that the viewer may see, newest first."""
    found = Silence.objects.select_related("team")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    if teams is None:
        return found
    return found.filter(Q(team__in=teams) | Q(team__isnull=True)) if teams else found.none()


def silence_by_reference(*, viewer: Principal, reference: str) -> Silence | None:
    """Return a silence by `SIL-3`, or None."""
    digits = reference.upper().removeprefix("SIL-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        return None
    return silences_visible(viewer=viewer).filter(pk=int(digits)).first()


@dataclass(frozen=True)
class AlertGroup:
    """The alerts of one name on one service."""

    name: str
    service: str
    firing: int
    episodes: int
    held: int
    acted: int
    last_at: datetime

    @property
    def state(self) -> str:
        """Whether any of them fires."""
        return "firing" if self.firing else "resolved"

    @property
    def acted_ratio(self) -> float:
        """The share of episodes whose incident a person acknowledged."""
        return self.acted / self.episodes


def alert_groups(*, viewer: Principal, since: datetime) -> Sequence[AlertGroup]:
    """Return alerts since an instant by name and service; the latest 20,000 are looked at."""
    rows = (
        alerts_visible(viewer=viewer)
        .filter(last_received_at__gte=since)
        .order_by("-pk")
        .values_list(
            "labels__alertname",
            "title",
            "service__slug",
            "status",
            "suppressed_by",
            "incident__acknowledged_at",
            "last_received_at",
        )[:MOST_GROUPED]
    )
    found: dict[tuple[str, str], list[tuple[str, str, datetime | None, datetime]]] = defaultdict(list)
    for name, title, service, status, held, acknowledged, last in rows:
        found[str(name or title), service or ""].append((status, held, acknowledged, last))
    return [
        AlertGroup(
            name=name,
            service=service,
            firing=sum(status == AlertStatus.FIRING for status, *_ in group),
            episodes=len(group),
            held=sum(bool(held) for _, held, *_ in group),
            acted=sum(acknowledged is not None for _, _, acknowledged, _ in group),
            last_at=max(last for *_, last in group),
        )
        for (name, service), group in found.items()
    ]

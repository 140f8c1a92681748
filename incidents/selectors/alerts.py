"""Reads of alerts by group, and of silences."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q, QuerySet

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

    def joined(self, other: "AlertGroup") -> "AlertGroup":
        """Return both as one."""
        return AlertGroup(
            self.name,
            self.service,
            self.firing + other.firing,
            self.episodes + other.episodes,
            self.held + other.held,
            self.acted + other.acted,
            max(self.last_at, other.last_at),
        )


def alert_groups(*, viewer: Principal, since: datetime) -> Sequence[AlertGroup]:
    """Return alerts since an instant by name and service; the latest 20,000 are looked at."""
    recent = alerts_visible(viewer=viewer).filter(last_received_at__gte=since)
    # Where the latest begin is asked for first: with a bound instead of 20,000 keys, no plan reads the whole table.
    first = recent.order_by("-pk").values_list("pk", flat=True)[MOST_GROUPED - 1 : MOST_GROUPED].first()
    rows = (
        (recent if first is None else recent.filter(pk__gte=first))
        .order_by()
        .values_list("labels__alertname", "title", "service__slug")
        .annotate(
            firing=Count("pk", filter=Q(status=AlertStatus.FIRING)),
            episodes=Count("pk"),
            held=Count("pk", filter=~Q(suppressed_by="")),
            acted=Count("pk", filter=Q(incident__acknowledged_at__isnull=False)),
            last_at=Max("last_received_at"),
        )
    )
    found: dict[tuple[str, str], AlertGroup] = {}
    # What has no name of its own goes by its title, perhaps together with alerts that are named so.
    for name, title, service, *figures in rows:
        key = str(name or title), service or ""
        group = AlertGroup(*key, *figures)
        found[key] = group.joined(found[key]) if key in found else group
    return list(found.values())

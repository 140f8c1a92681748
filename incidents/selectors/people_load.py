"""What being on call did to people: interruptions by their own clock, and how evenly the load lies. And noise."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.contrib.auth import get_user_model
from django.db.models import Count, Q

from accounts.data import Capability, Principal
from catalog.data import ActionItemState
from catalog.selectors import action_items_from
from delivery.selectors import handed_over_since
from incidents.domain.interruptions import Hours, hours_of
from incidents.domain.statistics import Summary, evenness, summarize
from incidents.domain.wall_time import wall_of
from incidents.models import Incident, Page
from incidents.selectors.incidents import alerts_visible
from incidents.selectors.oncall import coverage_of, schedules


@dataclass
class PersonLoad:
    """One person: hours on call, and how often a page came in which hours of theirs."""

    username: str
    name: str
    zone: str
    on_call: timedelta = timedelta(0)
    acknowledged: int = 0
    interruptions: dict[Hours, int] = field(default_factory=lambda: dict.fromkeys(Hours, 0))

    @property
    def total(self) -> int:
        """All interruptions."""
        return sum(self.interruptions.values())

    @property
    def business(self) -> int:
        """At work."""
        return self.interruptions[Hours.BUSINESS]

    @property
    def off(self) -> int:
        """In the free hours."""
        return self.interruptions[Hours.OFF]

    @property
    def sleep(self) -> int:
        """At night."""
        return self.interruptions[Hours.SLEEP]


@dataclass(frozen=True)
class Load:
    """Everybody, most interrupted first, and how even it is: 1 is even, 1/n is one person alone."""

    people: Sequence[PersonLoad]
    hours_evenness: float | None
    pages_evenness: float | None


@dataclass(frozen=True)
class Noise:
    """One sender: its episodes, the incidents they led to, and how many nobody ever acted upon."""

    source: str
    episodes: int
    incidents: int
    held: int
    unheeded: int

    @property
    def per_incident(self) -> float | None:
        """Episodes for each incident."""
        return self.episodes / self.incidents if self.incidents else None

    @property
    def unheeded_ratio(self) -> float:
        """The share that nobody acted upon."""
        return self.unheeded / self.episodes if self.episodes else 0.0


@dataclass(frozen=True)
class Handing:
    """How pages went out by one channel."""

    channel: str
    sent: int
    failed: int
    latency: Summary


def load_of(*, viewer: Principal, since: datetime, until: datetime) -> Load:
    """Return the load of people within a period, over the schedules and incidents that the viewer may see.

    An interruption is a page that went out by itself, or one digest of a storm.
    """
    found: dict[str, PersonLoad] = {}
    users = {user.pk: user for user in get_user_model().objects.all()}
    by_name = {user.get_username(): user for user in users.values()}

    def person(user_name: str) -> PersonLoad:
        user = by_name.get(user_name)
        zone = getattr(user, "time_zone", "UTC") or "UTC"
        return found.setdefault(user_name, PersonLoad(user_name, str(user or user_name), zone))

    for schedule in schedules(viewer=viewer).prefetch_related("versions", "overrides__user"):
        for username, length in coverage_of(schedule=schedule, start=since, end=until).per_person.items():
            person(username).on_call += length
    visible = _visible(viewer)
    pages = Page.objects.filter(visible, at__gte=since, at__lt=until)
    digests: set[str] = set()
    for user_id, at, folded, digest in pages.values_list("user_id", "at", "folded", "digest_key"):
        if folded and (not digest or digest in digests):
            continue
        digests.add(digest)
        one = person(users[user_id].get_username())
        one.interruptions[hours_of(wall_of(at, one.zone))] += 1
    taken = Incident.objects.filter(
        acknowledged_at__gte=since, acknowledged_at__lt=until, acknowledged_by__isnull=False
    )
    for user_id, count in taken.order_by().values_list("acknowledged_by").annotate(n=Count("pk")):
        person(users[user_id].get_username()).acknowledged = count
    people = sorted(found.values(), key=lambda one: (-one.total, -one.on_call, one.username))
    on_duty = [one for one in people if one.on_call]
    return Load(
        people,
        evenness(one.on_call.total_seconds() for one in on_duty),
        evenness(float(one.total) for one in on_duty),
    )


def noise_of(*, viewer: Principal, since: datetime, until: datetime) -> Sequence[Noise]:
    """Return each sender's noise, loudest first."""
    rows = (
        alerts_visible(viewer=viewer)
        .filter(first_received_at__gte=since, first_received_at__lt=until, is_tombstone=False)
        .order_by()
        .values("integration__slug")
        .annotate(
            episodes=Count("pk"),
            incidents=Count("incident", distinct=True),
            held=Count("pk", filter=~Q(suppressed_by="")),
            unheeded=Count("pk", filter=Q(incident__isnull=True) | Q(incident__acknowledged_at__isnull=True)),
        )
    )
    found = [
        Noise(row["integration__slug"], row["episodes"], row["incidents"], row["held"], row["unheeded"]) for row in rows
    ]
    return sorted(found, key=lambda one: -one.episodes)


def handing_of(*, since: datetime, until: datetime) -> Sequence[Handing]:
    """Return how pages went out by each channel: how many, how many were given up, how long it took."""
    times: dict[str, list[timedelta]] = defaultdict(list)
    failed: dict[str, int] = defaultdict(int)
    for channel, state, created_at, sent_at in handed_over_since(about="incident:", since=since, until=until):
        if state == "dead":
            failed[channel] += 1
        elif sent_at is not None:
            times[channel].append(sent_at - created_at)
    return [
        Handing(channel, len(times[channel]), failed[channel], summarize(times[channel]))
        for channel in sorted({*times, *failed})
    ]


def follow_ups_kept(*, since: datetime, until: datetime) -> Mapping[str, int]:
    """Return how many follow-ups of reviews fell due in a period, and how many of them were done in time."""
    due = action_items_from(source="review").filter(due_on__gte=since.date(), due_on__lt=until.date())
    kept = [
        item.closed_at is not None and item.due_on is not None and item.closed_at.date() <= item.due_on
        for item in due.exclude(state=ActionItemState.DROPPED)
    ]
    return {"due": len(kept), "kept": sum(kept)}


def _visible(viewer: Principal) -> Q:
    allowed = viewer.teams_where(Capability.OPERATIONS_VIEW)
    return Q() if allowed is None else Q(incident__team__in=allowed) | Q(incident__team__isnull=True)

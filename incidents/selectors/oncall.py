"""Who is on call, and who will be."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet

from accounts.data import Capability, Principal
from accounts.selectors import left_since
from core.clock import database_now
from incidents.data import OnCallPerson
from incidents.domain.oncall import Override, Shift, Version, gaps, resolve, without_leavers
from incidents.domain.rotations import Basis, Layer, Restriction, Rotation, Unit
from incidents.models import Absence, NotificationRule, Schedule, ScheduleOverride, SwapRequest

LONGEST_SHIFT_SEARCH = timedelta(days=35)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def schedules(*, viewer: Principal) -> QuerySet[Schedule]:
    """Return the schedules that the viewer may see."""
    found = Schedule.objects.select_related("team")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    return found if teams is None else found.filter(team__in=teams) | found.filter(team__isnull=True)


def schedule_by_slug(*, slug: str) -> Schedule | None:
    """Return a schedule, or None."""
    return Schedule.objects.select_related("team").filter(slug=slug).first()


def shifts_between(*, schedule: Schedule, start: datetime, end: datetime) -> list[Shift]:
    """Return a schedule's shifts within [start, end); people by user name."""
    years = tuple(range(start.year - 1, end.year + 2))
    versions = [
        _version(schedule, row.number, row.effective_from, row.layers, years) for row in schedule.versions.all()
    ]
    shifts = resolve(versions, _overrides(schedule), start, end)
    left = left_since(usernames={name for shift in shifts for name in shift.people})
    return without_leavers(shifts, left) if left else shifts


def gaps_between(*, schedule: Schedule, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return when nobody is on call within [start, end)."""
    return gaps(shifts_between(schedule=schedule, start=start, end=end), start, end)


def on_call_now_in(*, schedule: Schedule, at: datetime) -> list[OnCallPerson]:
    """Return the people on call at an instant, with the end of their shift (at most five weeks ahead) and why."""
    found = shifts_between(schedule=schedule, start=at, end=at + LONGEST_SHIFT_SEARCH)
    if not found or found[0].starts_at > at:
        return []
    shift = found[0]
    users = _users_by_name(shift.people)
    why = f"on call in {schedule.slug}: {shift.why}"
    return [
        OnCallPerson(
            user_id=users[name].pk,
            username=name,
            name=str(users[name]),
            mail=users[name].email,
            schedule=schedule.slug,
            until=shift.ends_at,
            why=why,
            time_zone=users[name].time_zone,
        )
        for name in shift.people
        if name in users
    ]


def on_call_now(
    *, schedule_slug: str = "", team_id: int | None = None, at: datetime | None = None
) -> list[OnCallPerson]:
    """Return who is on call in one schedule, in a team's schedules, or in all."""
    found = Schedule.objects.prefetch_related("versions", "overrides__user")
    if schedule_slug:
        found = found.filter(slug=schedule_slug)
    if team_id is not None:
        found = found.filter(team_id=team_id)
    instant = at or database_now()
    return [person for schedule in found for person in on_call_now_in(schedule=schedule, at=instant)]


def person_as_on_call(*, user_id: int, why: str) -> OnCallPerson | None:
    """Return an active person as somebody to page, whatever the schedules say."""
    user = get_user_model().objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        return None
    return OnCallPerson(
        user_id=user.pk,
        username=user.get_username(),
        name=str(user),
        mail=user.email,
        schedule="",
        until=None,
        why=why,
        time_zone=user.time_zone,
    )


@dataclass(frozen=True)
class Coverage:
    """How much of a period somebody was on call, as hours of hours."""

    start: datetime
    end: datetime
    covered: timedelta
    gaps: tuple[tuple[datetime, datetime], ...]
    per_person: Mapping[str, timedelta]

    @property
    def ratio(self) -> float:
        """The covered share, 0 to 1."""
        return self.covered / (self.end - self.start)


def coverage_of(*, schedule: Schedule, start: datetime, end: datetime) -> Coverage:
    """Return the coverage of a period."""
    shifts = shifts_between(schedule=schedule, start=start, end=end)
    per_person: dict[str, timedelta] = {}
    covered = timedelta(0)
    for shift in shifts:
        length = shift.ends_at - shift.starts_at
        covered += length
        for name in shift.people:
            per_person[name] = per_person.get(name, timedelta(0)) + length
    return Coverage(start, end, covered, tuple(gaps(shifts, start, end)), per_person)


def names_of(*, usernames: Iterable[str]) -> Mapping[str, str]:
    """Return how a page calls these people, by user name: by their full names where these tell them apart."""
    wanted = set(usernames)
    known = {user.get_username(): str(user) for user in get_user_model().objects.filter(username__in=wanted)}
    shared = Counter(known.values())
    return {name: f"{known[name]} ({name})" if shared[known[name]] > 1 else known[name] for name in known} | {
        name: name for name in wanted - known.keys()
    }


def people_in(schedule: Schedule) -> set[str]:
    """Return everybody whom a schedule names, by user name; its versions and overrides may be fetched ahead."""
    found = {override.user.get_username() for override in schedule.overrides.all()}
    return found.union(*(names_in(version.layers) for version in schedule.versions.all()))


def names_in(layers: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return everybody whom the layers of a schedule name."""
    return {name for layer in layers for group in layer["participants"] for name in group}


def _users_by_name(names: Iterable[str]) -> dict[str, Any]:
    users = get_user_model().objects.filter(username__in=list(names), is_active=True)
    return {user.get_username(): user for user in users}


def _overrides(schedule: Schedule) -> list[Override]:
    rows: Iterable[ScheduleOverride] = schedule.overrides.select_related("user").all()
    return [Override(row.reference, row.starts_at, row.ends_at, (row.user.get_username(),)) for row in rows]


def _version(
    schedule: Schedule, number: int, effective_from: datetime, layers: list[dict[str, Any]], years: tuple[int, ...]
) -> Version:
    return Version(number, effective_from, tuple(layer_from(item, schedule.time_zone, years) for item in layers))


@lru_cache(maxsize=256)
def public_holidays(country: str, subdivision: str, years: tuple[int, ...]) -> frozenset[date]:
    """Return the public holidays of a country and part of it; raises NotImplementedError for an unknown one."""
    from holidays import country_holidays  # noqa: PLC0415 slow to import, and needed only where holidays count

    return frozenset(country_holidays(country, subdiv=subdivision or None, years=years))


def is_absent(*, user_id: int, at: datetime) -> bool:
    """Say whether a person is away at an instant."""
    return Absence.objects.filter(user_id=user_id, starts_at__lte=at, ends_at__gt=at).exists()


def absences_between(*, usernames: Iterable[str], start: datetime, end: datetime) -> QuerySet[Absence]:
    """Return when these people are away within a period."""
    found = Absence.objects.select_related("user").filter(starts_at__lt=end, ends_at__gt=start)
    return found.filter(user__username__in=list(usernames))


def conflicts_of(*, shifts: Iterable[Shift]) -> list[tuple[Shift, Absence]]:
    """Return the shifts during which somebody on call is away."""
    shifts = list(shifts)
    if not shifts:
        return []
    names = {name for shift in shifts for name in shift.people}
    away = list(absences_between(usernames=names, start=shifts[0].starts_at, end=shifts[-1].ends_at))
    return [
        (shift, absence)
        for shift in shifts
        for absence in away
        if absence.user.get_username() in shift.people
        and absence.starts_at < shift.ends_at
        and absence.ends_at > shift.starts_at
    ]


def swap_requests_open(*, schedule: Schedule) -> QuerySet[SwapRequest]:
    """Return the requests for a stand-in that nobody has taken yet."""
    open_ones = SwapRequest.objects.filter(schedule=schedule, state=SwapRequest.State.OPEN)
    return open_ones.select_related("requester").order_by("starts_at")


def layer_from(item: Mapping[str, Any], zone: str, years: tuple[int, ...] = ()) -> Layer:
    """Return the layer that a stored version describes."""
    rotation = item["rotation"]
    off: Mapping[str, Any] | None
    anchor = datetime.combine(
        datetime.fromisoformat(rotation["anchor_date"]).date(), time.fromisoformat(rotation["handoff_time"])
    )
    return Layer(
        name=item["name"],
        priority=item["priority"],
        zone=item.get("time_zone") or zone,
        rotation=Rotation(Unit(rotation["unit"]), rotation["length"], anchor, Basis(rotation["basis"])),
        groups=tuple(tuple(group) for group in item["participants"]),
        starts_at=datetime(1, 1, 2, tzinfo=UTC),
        restrictions=tuple(
            Restriction(
                frozenset(WEEKDAYS.index(day) for day in rule["weekdays"]),
                time.fromisoformat(rule["from"]),
                time.fromisoformat(rule["to"]),
            )
            for rule in item.get("restrictions", ())
        ),
        holidays=(
            public_holidays(off["country"], off.get("subdivision") or "", years)
            if (off := item.get("holidays"))
            else frozenset()
        ),
        on_holidays=off is not None and off.get("mode") == "only",
    )


def rules_of(*, user_id: int | None) -> QuerySet[NotificationRule]:
    """Return by which ways, and when, a person wants to be paged."""
    found = NotificationRule.objects.select_related("method")
    return found.none() if user_id is None else found.filter(method__user_id=user_id)

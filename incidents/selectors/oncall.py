"""Who is on call, and who will be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet

from accounts.data import Capability, Principal
from core.clock import database_now
from incidents.data import OnCallPerson
from incidents.domain.oncall import Override, Shift, Version, gaps, resolve
from incidents.domain.rotations import Basis, Layer, Restriction, Rotation, Unit
from incidents.models import Schedule, ScheduleOverride

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
    versions = [_version(schedule, row.number, row.effective_from, row.layers) for row in schedule.versions.all()]
    return resolve(versions, _overrides(schedule), start, end)


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


def _users_by_name(names: Iterable[str]) -> dict[str, Any]:
    users = get_user_model().objects.filter(username__in=list(names), is_active=True)
    return {user.get_username(): user for user in users}


def _overrides(schedule: Schedule) -> list[Override]:
    rows: Iterable[ScheduleOverride] = schedule.overrides.select_related("user").all()
    return [Override(row.reference, row.starts_at, row.ends_at, (row.user.get_username(),)) for row in rows]


def _version(schedule: Schedule, number: int, effective_from: datetime, layers: list[dict[str, Any]]) -> Version:
    return Version(number, effective_from, tuple(layer_from(item, schedule.time_zone) for item in layers))


def layer_from(item: Mapping[str, Any], zone: str) -> Layer:
    """Return the layer that a stored version describes."""
    rotation = item["rotation"]
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
    )

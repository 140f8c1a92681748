"""Who is on call now, next and in the coming weeks; where nobody is, in red."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from itertools import pairwise
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from accounts.data import Capability
from core.clock import database_now
from core.drawings import Interval, Lane, TimeAxis
from core.parsing import InputRefusedError
from core.states import Tone
from incidents.data import OnCallPerson
from incidents.domain.oncall import Shift, gaps
from incidents.forms import CalendarForm, OverrideForm, SpanForm
from incidents.models import Absence, Schedule, ScheduleOverride, SwapRequest
from incidents.selectors import coverage_of, schedule_by_slug, schedules, shifts_between
from incidents.selectors.oncall import conflicts_of, names_of, on_call_now_in, people_in, swap_requests_open
from incidents.services import add_override
from incidents.views.access import RoomView

WEEKS = 4


@dataclass(frozen=True)
class Week:
    """A week of a schedule: the drawing and the lines behind it."""

    starts_at: datetime
    axis: TimeAxis
    lines: list[dict[str, Any]]
    has_gap: bool


@dataclass(frozen=True)
class Card:
    """A schedule as its page shows it."""

    schedule: Schedule
    now: list[OnCallPerson]
    next: Shift | None
    next_people: str
    weeks: list[Week]
    gap_total: timedelta
    may_edit: bool
    form: OverrideForm
    drag_form: OverrideForm
    load: list[tuple[str, timedelta]]
    conflicts: list[tuple[Shift, Absence]]
    swaps: list[SwapRequest]
    overrides: list[ScheduleOverride]
    may_schedule: bool


class OnCallView(RoomView):
    """All schedules, or one."""

    def get(self, request: HttpRequest, slug: str = "") -> HttpResponse:
        now = database_now()
        shown = list(schedules(viewer=self.principal).prefetch_related("versions", "overrides__user"))
        if slug:
            shown = [one for one in shown if one.slug == slug]
            if not shown:
                raise Http404(f"There is no schedule {slug}, or not for you.")
        weeks = WEEKS if slug else 1
        # One question for the whole page.
        names = names_of(usernames={name for one in shown for name in people_in(one)})
        context = {
            "title": shown[0].name if slug else "On-call",
            "intro": f"Who is on call now and next. Times are in {timezone.get_current_timezone_name()}.",
            "cards": [self._card(one, now, weeks, names) for one in shown],
            "one": bool(slug),
            "now": now,
            "swap_form": SpanForm(auto_id="swap_%s"),
            "calendar_form": CalendarForm(),
            "weeks": weeks,
        }
        return render(request, "incidents/oncall.html", context)

    def post(self, request: HttpRequest, slug: str) -> HttpResponse:
        schedule = schedule_by_slug(slug=slug)
        if schedule is None or not schedules(viewer=self.principal).filter(pk=schedule.pk).exists():
            raise Http404(f"There is no schedule {slug}, or not for you.")
        form = OverrideForm(request.POST)
        if not form.is_valid():
            messages.error(request, "Nothing was changed: choose a person, a start and an end.")
            return redirect("incidents:oncall_detail", slug)
        data = form.cleaned_data
        try:
            override = add_override(
                principal=self.principal,
                schedule=schedule,
                user_id=data["person"].pk,
                starts_at=data["starts_at"],
                ends_at=data["ends_at"],
                reason=data["reason"],
            )
        except InputRefusedError as error:
            messages.error(request, f"Nothing was changed: {error}")
        else:
            messages.success(request, f"{data['person']} stands in ({override.reference}).")
        return redirect("incidents:oncall_detail", slug)

    def _card(self, schedule: Schedule, now: datetime, weeks: int, names: Mapping[str, str]) -> Card:
        mondays = [_monday(now, n) for n in range(weeks + 1)]
        end = mondays[-1]
        upcoming = shifts_between(schedule=schedule, start=now, end=now + timedelta(weeks=5))
        current = upcoming[0] if upcoming and upcoming[0].starts_at <= now else None
        # A turn that goes on to the same people is no change.
        following = [
            shift for shift in upcoming if shift.starts_at > now and (current is None or shift.people != current.people)
        ]
        may_edit = self.principal.may(Capability.INCIDENT_RESPOND, team_id=schedule.team_id)
        # Only the page of one schedule has the dialog.
        chooses = "stand-in" if may_edit and weeks > 1 else ""
        built = [_week(schedule, span, now, names, chooses) for span in pairwise(mondays)]
        missing = gaps([s for s in upcoming if s.starts_at < end], now, end)
        return Card(
            schedule=schedule,
            now=on_call_now_in(schedule=schedule, at=now),
            next=following[0] if following else None,
            next_people=_called(following[0], names) if following else "",
            weeks=built,
            gap_total=sum((until - from_ for from_, until in missing), timedelta(0)),
            may_edit=may_edit,
            form=OverrideForm(),
            drag_form=OverrideForm(auto_id="drag_%s"),
            load=sorted(
                (
                    (names.get(name, name), length)
                    for name, length in coverage_of(schedule=schedule, start=now, end=end).per_person.items()
                ),
                key=lambda one: (-one[1], one[0]),
            ),
            conflicts=conflicts_of(shifts=[one for one in upcoming if one.starts_at < end]),
            swaps=list(swap_requests_open(schedule=schedule)),
            overrides=sorted(
                (one for one in schedule.overrides.all() if one.ends_at > now), key=lambda one: one.starts_at
            ),
            may_schedule=self.principal.may(Capability.ONCALL_EDIT, team_id=schedule.team_id),
        )


def _stretches(shifts: Iterable[Shift]) -> list[tuple[Shift, datetime]]:
    """Return the shifts of one person with their ends; turns of one layer that follow each other are one."""
    found: list[tuple[Shift, datetime]] = []
    for shift in shifts:
        first, until = found[-1] if found else (shift, None)
        same = (shift.why.layer, shift.why.override) == (first.why.layer, first.why.override)
        if until == shift.starts_at and same:
            found[-1] = (first, shift.ends_at)
        else:
            found.append((shift, shift.ends_at))
    return found


def _bar_text(shift: Shift, until: datetime, week_ends_at: datetime) -> str:
    """Return what stands in the bar of a shift: by what it is theirs, and when they hand over."""
    end = "" if until >= week_ends_at else f"until {timezone.localtime(until):%a %H:%M}"
    how = "stands in" if shift.why.override else shift.why.layer
    return ", ".join(filter(None, (how, end)))


def _called(shift: Shift, names: Mapping[str, str]) -> str:
    return ", ".join(names.get(name, name) for name in shift.people)


def _monday(now: datetime, weeks: int) -> datetime:
    """Return the reader's midnight that begins a week: this one, or so many later."""
    day = timezone.localtime(now).date()
    day += timedelta(weeks=weeks, days=-day.weekday())
    return datetime.combine(day, time(), tzinfo=timezone.get_current_timezone())


def _week(
    schedule: Schedule, span: tuple[datetime, datetime], now: datetime, names: Mapping[str, str], chooses: str
) -> Week:
    start, end = span
    shifts = shifts_between(schedule=schedule, start=start, end=end)
    # Before the first version nobody could be on call; that is no gap.
    first = min((version.effective_from for version in schedule.versions.all()), default=end)
    missing = gaps(shifts, min(max(start, first), end), end)
    people = sorted({name for shift in shifts for name in shift.people}, key=lambda name: names.get(name, name))
    lanes = [
        Lane(
            names.get(name, name),
            [
                Interval(
                    f"{names.get(name, name)}: {first.why}",
                    first.starts_at,
                    until,
                    tone=Tone.ACTIVE,
                    text=_bar_text(first, until, end),
                )
                for first, until in _stretches(shift for shift in shifts if name in shift.people)
            ],
        )
        for name in people
    ]
    if missing:
        lanes.append(
            Lane("nobody", [Interval("nobody is on call", from_, until, tone=Tone.BAD) for from_, until in missing])
        )
    lines: list[dict[str, Any]] = [
        {"at": s.starts_at, "until": s.ends_at, "people": _called(s, names), "why": str(s.why)} for s in shifts
    ]
    lines += [{"at": from_, "until": until, "people": "", "why": "no layer covers it"} for from_, until in missing]
    return Week(
        starts_at=start,
        axis=TimeAxis(
            f"{schedule.name}, week of {start:%Y-%m-%d}", start, end, lanes, now=now, width=960, chooses=chooses
        ),
        lines=sorted(lines, key=lambda line: line["at"]),
        has_gap=bool(missing),
    )

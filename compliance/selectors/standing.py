"""How controls and requirements stand over a window, computed from occurrences each time it is asked."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum

from compliance.data import (
    Cadence,
    CheckStanding,
    ControlStanding,
    Judgement,
    Outcome,
    RequirementStanding,
    Standing,
    Strength,
    Window,
)
from compliance.domain.effectiveness import Due, Tally, excused_at, judge_tally, judge_whole, tally
from compliance.domain.periods import periods_between
from compliance.domain.rules import Rule
from compliance.models import (
    Check,
    Control,
    ControlException,
    ControlRequirement,
    Framework,
    Occurrence,
    OccurrenceDay,
    Requirement,
)
from compliance.selectors.life import Life, alive_throughout

NO_DIRECT_CHECK = "no check proves this control by itself; supporting evidence alone is not enough"
NO_CONTROL = "no control serves this requirement directly; supporting evidence alone is not enough"
DEFAULT_DAYS = 90
Span = tuple[datetime, datetime]
DUE = ~Q(outcome=Outcome.PENDING.value)
GOOD = Q(outcome=Outcome.PASSED.value, verified=True)


def window_to(now: datetime, *, days: int = DEFAULT_DAYS) -> Window:
    """Return the window of the last days."""
    return Window(now - timedelta(days=days), now)


def control_standings(controls: Iterable[Control], *, window: Window, now: datetime) -> dict[int, ControlStanding]:
    """Return how each control stands, by its key, in a few queries."""
    return _Records(controls, windows=[window]).standings(window, now=now)


class _Records:
    """What the standing of controls is judged from, read once for any number of windows."""

    def __init__(self, controls: Iterable[Control], *, windows: Sequence[Window]) -> None:
        self._controls = list(controls)
        checks = list(Check.objects.filter(control__in=self._controls, retired_at__isnull=True))
        self._checks: dict[int, list[tuple[Check, Rule]]] = defaultdict(list)
        for check in checks:
            self._checks[check.control_id].append((check, Rule.model_validate(check.rule)))
        start, end = min(window.start for window in windows), max(window.end for window in windows)
        self._excused = approved_exceptions(self._controls)
        scheduled = [check for check in checks if check.cadence != Cadence.EVENT]
        control_of = {check.pk: check.control_id for check in checks}
        self._rows: dict[int, list[Due]] = defaultdict(list)
        # A period that began in the window and ends after it has its due date there too.
        found = Occurrence.objects.filter(
            check_run__in=scheduled, due_at__gt=start, due_at__lt=end + timedelta(days=367)
        )
        fields = ("check_run", "key", "due_at", "outcome", "happened_at", "verified")
        for check, key, due_at, outcome, happened_at, verified in found.order_by().values_list(*fields):
            excused = excused_at(self._excused.get(control_of[check], ()), due_at)
            self._rows[check].append(Due(key, due_at, Outcome(outcome), happened_at, verified, excused))
        self._events = _event_tallies([one for one in checks if one.cadence == Cadence.EVENT], windows=windows)
        alive = [rule.alive for found in self._checks.values() for _, rule in found if rule.alive]
        reach = timedelta(days=max((one.within_days for one in alive), default=0))
        self._life = Life({name for one in alive for name in one.entries}, start=start - reach, end=end)
        self._signs: dict[tuple[str, ...], list[datetime]] = {}

    def standings(self, window: Window, *, now: datetime) -> dict[int, ControlStanding]:
        """Return how each control stands in one of the windows, by its key."""
        found = {}
        for control in self._controls:
            spans = self._excused.get(control.pk, ())
            checks = [self._check(check, rule, spans, window, now) for check, rule in self._checks[control.pk]]
            whole = judge_whole([(one.strength, one.judgement) for one in checks], nothing=NO_DIRECT_CHECK)
            found[control.pk] = ControlStanding(control.pk, control.slug, control.title, control.owner, whole, checks)
        return found

    def _check(self, check: Check, rule: Rule, spans: Sequence[Span], window: Window, now: datetime) -> CheckStanding:
        events = rule.cadence is Cadence.EVENT
        counted = self._event_tally(check, spans, window) if events else self._scheduled_tally(check, window)
        if not counted.due and window.end <= check.started_at:
            early = Judgement(Standing.NOT_TESTED, reason="the check did not exist yet")
            return CheckStanding(check.pk, check.title, Strength(check.strength), rule.cadence, early)
        judgement = judge_tally(
            counted,
            now=min(now, window.end),
            events=events,
            operating_from_percent=rule.operating_from_percent,
            fresh_for=timedelta(days=rule.fresh_days) if rule.fresh_days else None,
            collector_alive=None if counted.due or not events else self._alive(check, rule, window, now),
        )
        return CheckStanding(check.pk, check.title, Strength(check.strength), rule.cadence, judgement)

    def _scheduled_tally(self, check: Check, window: Window) -> Tally:
        # A period falls due at the instant after its end: what September asks for, on the first of October.
        return tally(
            row
            for row in self._rows[check.pk]
            if window.start < row.due_at
            and (
                row.due_at <= window.end
                or (row.happened_at is not None and window.start <= row.happened_at < window.end)
            )
        )

    def _event_tally(self, check: Check, spans: Sequence[Span], window: Window) -> Tally:
        due, passed = self._events.get((check.pk, window.start, window.end), (0, 0))
        excepted = 0
        if due > passed and spans:
            covered = Q()
            for start, end in spans:
                covered |= Q(due_at__gte=start, due_at__lt=end)
            rows = Occurrence.objects.filter(DUE, covered, check_run=check).exclude(GOOD)
            excepted = rows.filter(due_at__gte=window.start, due_at__lt=window.end).count()
        return Tally(due, passed, excepted)

    def _alive(self, check: Check, rule: Rule, window: Window, now: datetime) -> bool | None:
        """Say whether the collector is known to have worked all through what the window shares with the check's life.

        Between any two signs of life, and at both ends, at most `within_days` may lie.
        """
        if rule.alive is None:
            return None
        reach = timedelta(days=rule.alive.within_days)
        start, end = max(window.start, check.started_at), min(window.end, now)
        signs = self._signs_of_life(rule.alive.entries, window.start - reach, end)
        alive = alive_throughout(signs, start=start, end=end, reach=reach)
        # A collector that is younger than its own rhythm has not had the time to be silent.
        return None if not alive and end - start < reach else alive

    def _signs_of_life(self, types: Sequence[str], start: datetime, end: datetime) -> list[datetime]:
        key = (*types, start.isoformat(), end.isoformat())
        if key not in self._signs:
            self._signs[key] = self._life.signs(types, start=start, end=end)
        return self._signs[key]


def _event_tallies(
    checks: Sequence[Check], *, windows: Sequence[Window]
) -> dict[tuple[int, datetime, datetime], tuple[int, int]]:
    """Return due and passed of checks by event, by check and window: whole days by sums, their edges by rows."""
    counts: dict[tuple[int, datetime, datetime], list[int]] = defaultdict(lambda: [0, 0])
    # `day` holds the UTC date; whole days lie between the first midnight in the window and the last.
    whole = [(one, one.start.date() + timedelta(days=one.start.time() != time.min), one.end.date()) for one in windows]
    sums: dict[str, Sum] = {}
    for number, (_, first, last) in enumerate(whole):
        inside = Q(day__gte=first, day__lt=last)
        sums |= {f"due_{number}": Sum("due", filter=inside), f"passed_{number}": Sum("passed", filter=inside)}
    days = OccurrenceDay.objects.filter(
        check_run__in=checks, day__gte=min(first for _, first, _ in whole), day__lt=max(last for _, _, last in whole)
    )
    found: Iterable[Mapping[str, Any]] = days.order_by().values("check_run").annotate(**sums)
    for row in found:
        for number, (window, _, _) in enumerate(whole):
            count = counts[row["check_run"], window.start, window.end]
            count[0] += row[f"due_{number}"] or 0
            count[1] += row[f"passed_{number}"] or 0
    for window, first, last in whole:
        for start, end in _edges(window, first, last):
            rows = Occurrence.objects.filter(DUE, check_run__in=checks, due_at__gte=start, due_at__lt=end).order_by()
            for key, due, passed in rows.values_list("check_run").annotate(
                n=Count("pk"), good=Count("pk", filter=GOOD)
            ):
                count = counts[key, window.start, window.end]
                count[0] += due
                count[1] += passed
    return {key: (due, passed) for key, (due, passed) in counts.items()}


def _edges(window: Window, first: object, last: object) -> list[Span]:
    """Return the parts of a window that are no whole days."""
    midnight = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
    start_of_last = window.end.replace(**midnight)  # type: ignore[arg-type]  # whole numbers
    if first > last:  # type: ignore[operator]  # dates
        return [(window.start, window.end)]
    end_of_first = window.start.replace(**midnight) + timedelta(days=1)  # type: ignore[arg-type]  # whole numbers
    edges = []
    if window.start.time() != time.min:
        edges.append((window.start, min(end_of_first, window.end)))
    if window.end.time() != time.min and start_of_last >= window.start:
        edges.append((start_of_last, window.end))
    return edges


def approved_exceptions(controls: Sequence[Control]) -> Mapping[int, list[Span]]:
    """Return from when to when approved exceptions excuse what fails, by control."""
    found: dict[int, list[Span]] = defaultdict(list)
    for one in ControlException.objects.filter(control__in=controls, approved_at__isnull=False):
        found[one.control_id].append((one.starts_at, one.expires_at))
    return found


def requirement_standings(framework: Framework, *, window: Window, now: datetime) -> list[RequirementStanding]:
    """Return how each requirement of a framework stands, computed live from the links to controls."""
    return requirement_standings_over(framework, windows=[window], now=now)[0]


def requirement_standings_over(
    framework: Framework, *, windows: Sequence[Window], now: datetime
) -> list[list[RequirementStanding]]:
    """Return the same for several windows, in the same few queries: a list for each window."""
    requirements = list(framework.requirements.filter(retired_at__isnull=True))
    links = _links(requirements, since=min(window.start for window in windows))
    controls = {link.control_id: link.control for found in links.values() for link in found}
    records = _Records(controls.values(), windows=windows)
    return [
        [_requirement(one, _in_force(links[one.pk], window), standings) for one in requirements]
        for window, standings in ((window, records.standings(window, now=now)) for window in windows)
    ]


def _links(requirements: Sequence[Requirement], *, since: datetime) -> dict[int, list[ControlRequirement]]:
    """Return what serves each requirement: controls in force, and those retired since of which something had been due.

    A control of which nothing had fallen due when it was retired has proven nothing and failed at nothing.
    """
    found: dict[int, list[ControlRequirement]] = {one.pk: [] for one in requirements}
    was_due = Occurrence.objects.filter(check_run__control=OuterRef("control"), due_at__gt=since)
    rows = ControlRequirement.objects.filter(
        Q(control__retired_at__isnull=True) | (Q(control__retired_at__gt=since) & Exists(was_due)),
        requirement__in=requirements,
    )
    for link in rows.select_related("control"):
        found[link.requirement_id].append(link)
    return found


def controls_judged(frameworks: Iterable[Framework], *, since: datetime) -> QuerySet[Control]:
    """Return the controls that a window from `since` on judges of these frameworks: those in force, and those retired
    since of which something had been due.
    """
    was_due = Occurrence.objects.filter(check_run__control=OuterRef("pk"), due_at__gt=since)
    found = Control.objects.filter(Q(retired_at__isnull=True) | (Q(retired_at__gt=since) & Exists(was_due)))
    return found.filter(links__requirement__framework__in=frameworks).distinct()


def _in_force(links: Sequence[ControlRequirement], window: Window) -> list[ControlRequirement]:
    return [one for one in links if one.control.retired_at is None or one.control.retired_at > window.start]


def _requirement(
    requirement: Requirement, links: Sequence[ControlRequirement], standings: Mapping[int, ControlStanding]
) -> RequirementStanding:
    parts: list[tuple[Strength, Judgement]] = [
        (Strength(link.strength), standings[link.control_id].judgement) for link in links
    ]
    return RequirementStanding(
        requirement.pk,
        requirement.ref,
        requirement.label,
        requirement.category,
        requirement.level,
        judge_whole(parts, nothing=NO_CONTROL),
        [standings[link.control_id] for link in links],
    )


def months_before(now: datetime, *, count: int) -> list[Window]:
    """Return the last calendar months, oldest first; the present one ends now."""
    months = list(periods_between(Cadence.MONTHLY, now - timedelta(days=31 * count), now))[-count:]
    return [Window(one.start, min(one.end, now)) for one in months]

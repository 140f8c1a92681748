"""How controls and requirements stand over a window, computed from occurrences each time it is asked."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from compliance.data import (
    Cadence,
    CheckStanding,
    ComingDue,
    ControlStanding,
    Judgement,
    Outcome,
    RequirementStanding,
    Standing,
    Strength,
    Window,
)
from compliance.domain.effectiveness import Due, judge_check, judge_whole
from compliance.domain.periods import period_at, periods_between
from compliance.domain.rules import Rule
from compliance.models import Check, Control, ControlException, ControlRequirement, Framework, Occurrence, Requirement
from ledger.selectors import entries

NO_DIRECT_CHECK = "no check proves this control by itself; supporting evidence alone is not enough"
NO_CONTROL = "no control serves this requirement directly; supporting evidence alone is not enough"
DEFAULT_DAYS = 90


def window_to(now: datetime, *, days: int = DEFAULT_DAYS) -> Window:
    """Return the window of the last days."""
    return Window(now - timedelta(days=days), now)


def control_standings(controls: Iterable[Control], *, window: Window, now: datetime) -> dict[int, ControlStanding]:
    """Return how each control stands, by its key, in four queries."""
    return _Records(controls, windows=[window]).standings(window, now=now)


class _Records:
    """What the standing of controls is judged from, read once for any number of windows."""

    def __init__(self, controls: Iterable[Control], *, windows: Sequence[Window]) -> None:
        self._controls = list(controls)
        checks = list(Check.objects.filter(control__in=self._controls, retired_at__isnull=True))
        self._checks: dict[int, list[tuple[Check, Rule]]] = defaultdict(list)
        for check in checks:
            self._checks[check.control_id].append((check, Rule.model_validate(check.rule)))
        self._rows: dict[int, list[Occurrence]] = defaultdict(list)
        # A period that began in the window and ends after it has its due date there too.
        found = Occurrence.objects.filter(
            check_run__in=checks,
            due_at__gte=min(window.start for window in windows),
            due_at__lt=max(window.end for window in windows) + timedelta(days=367),
        )
        for row in found.defer("reason", "entries"):
            self._rows[row.check_run_id].append(row)
        self._excused = _approved_exceptions(self._controls)

    def standings(self, window: Window, *, now: datetime) -> dict[int, ControlStanding]:
        """Return how each control stands in one of the windows, by its key."""
        found = {}
        for control in self._controls:
            excused = self._excused.get(control.pk, ())
            checks = [
                _check_standing(check, rule, self._rows[check.pk], excused, window=window, now=now)
                for check, rule in self._checks[control.pk]
            ]
            whole = judge_whole([(one.strength, one.judgement) for one in checks], nothing=NO_DIRECT_CHECK)
            found[control.pk] = ControlStanding(control.pk, control.slug, control.title, control.owner, whole, checks)
        return found


def _check_standing(
    check: Check,
    rule: Rule,
    rows: Sequence[Occurrence],
    excused: Sequence[ControlException],
    *,
    window: Window,
    now: datetime,
) -> CheckStanding:
    events = rule.cadence is Cadence.EVENT
    occurrences = [
        Due(
            row.key,
            row.due_at,
            Outcome(row.outcome),
            row.happened_at,
            row.verified,
            any(one.starts_at <= row.due_at < one.expires_at for one in excused),
        )
        for row in rows
        if window.start <= row.due_at
        and (row.due_at < window.end or (row.happened_at is not None and window.start <= row.happened_at < window.end))
    ]
    if not occurrences and window.end <= check.started_at:
        early = Judgement(Standing.NOT_TESTED, reason="the check did not exist yet")
        return CheckStanding(check.pk, check.title, Strength(check.strength), rule.cadence, early)
    alive = _collector_alive(check, rule, window=window, now=now) if not occurrences else None
    judgement = judge_check(
        occurrences,
        now=min(now, window.end),
        events=events,
        operating_from_percent=rule.operating_from_percent,
        fresh_for=timedelta(days=rule.fresh_days) if rule.fresh_days else None,
        collector_alive=alive,
    )
    return CheckStanding(check.pk, check.title, Strength(check.strength), rule.cadence, judgement)


def _collector_alive(check: Check, rule: Rule, *, window: Window, now: datetime) -> bool | None:
    """Say whether the collector is known to have worked; of a window that is over, the ledger says it."""
    if rule.alive is None:
        return None
    reach = timedelta(days=rule.alive.within_days)
    if now - window.end < timedelta(days=1):
        return check.alive_at is not None and now - check.alive_at <= reach
    return entries(types=rule.alive.entries, since=window.end - reach, until=window.end).exists()


def _approved_exceptions(controls: Sequence[Control]) -> Mapping[int, list[ControlException]]:
    found: dict[int, list[ControlException]] = defaultdict(list)
    for one in ControlException.objects.filter(control__in=controls, approved_at__isnull=False):
        found[one.control_id].append(one)
    return found


def requirement_standings(framework: Framework, *, window: Window, now: datetime) -> list[RequirementStanding]:
    """Return how each requirement of a framework stands, computed live from the links to controls."""
    return requirement_standings_over(framework, windows=[window], now=now)[0]


def requirement_standings_over(
    framework: Framework, *, windows: Sequence[Window], now: datetime
) -> list[list[RequirementStanding]]:
    """Return the same for several windows, in the same few queries: a list for each window."""
    requirements = list(framework.requirements.filter(retired_at__isnull=True))
    links = _links(requirements)
    controls = {link.control_id: link.control for found in links.values() for link in found}
    records = _Records(controls.values(), windows=windows)
    return [
        [_requirement(one, links[one.pk], standings) for one in requirements]
        for standings in (records.standings(window, now=now) for window in windows)
    ]


def _links(requirements: Sequence[Requirement]) -> dict[int, list[ControlRequirement]]:
    found: dict[int, list[ControlRequirement]] = {one.pk: [] for one in requirements}
    rows = ControlRequirement.objects.filter(requirement__in=requirements, control__retired_at__isnull=True)
    for link in rows.select_related("control"):
        found[link.requirement_id].append(link)
    return found


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


def coming_due(controls: Iterable[Control], *, now: datetime, days: int = 30) -> list[ComingDue]:
    """Return what falls due within the days and has not happened yet, the next first."""
    by_key = {control.pk: control for control in controls}
    checks = Check.objects.filter(control__in=by_key, retired_at__isnull=True).exclude(
        cadence__in=(Cadence.EVENT, Cadence.DAILY)
    )
    done = set(
        Occurrence.objects.filter(check_run__in=checks, outcome=Outcome.PASSED).values_list("check_run_id", "key")
    )
    served: dict[int, list[str]] = defaultdict(list)
    for link in ControlRequirement.objects.filter(control__in=by_key).select_related("requirement"):
        if link.strength != Strength.SUPPORTING:
            served[link.control_id].append(link.requirement.ref)
    found = []
    for check in checks:
        period = period_at(Cadence(check.cadence), now)
        if (check.pk, period.key) in done or period.end > now + timedelta(days=days):
            continue
        control = by_key[check.control_id]
        found.append(
            ComingDue(control.slug, control.title, control.owner, check.title, period.end, served[check.control_id])
        )
    return sorted(found, key=lambda one: one.due_at)

"""Measures of incidents over a period, by service, team, severity or source, and what they did to people.

Counted from the incidents themselves each time, by the definitions of `incidents.domain.measures`; an incident that was
merged into another one is not counted, and what has not happened is left out, never taken as zero.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Any

from django.db.models import QuerySet

from accounts.data import Principal
from accounts.selectors import teams
from incidents.domain.measures import Instants, measures_of
from incidents.domain.review_templates import factors_in
from incidents.domain.statistics import Summary, summarize
from incidents.models import Incident, Review, TimelineEntry
from incidents.selectors.incidents import incidents_visible

MEASURES = ("time_to_detect", "time_to_acknowledge", "time_to_engage", "time_to_mitigate", "time_to_resolve")
REPEAT_WITHIN = timedelta(days=30)
LONGEST_PERIOD = timedelta(days=800)
NOT_NAMED = "none"


class Cut(StrEnum):
    """By what incidents are counted apart."""

    SERVICE = "service"
    TEAM = "team"
    SEVERITY = "severity"
    SOURCE = "source"
    FACTOR = "factor"
    WEEK = "week"
    HOUR = "hour of week"


@dataclass(frozen=True)
class Fact:
    """One incident as far as it is counted."""

    number: int
    severity: str
    team: str
    source: str
    grouping_key: str
    instants: Instants
    opened_at: datetime
    by_itself: bool
    services: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()

    @cached_property
    def measured(self) -> Mapping[str, timedelta | None]:
        """Its measures: asked for with the whole, with its week and with its part."""
        return measures_of(self.instants)

    @property
    def ended_at(self) -> datetime | None:
        """When the impact was over."""
        return self.instants.mitigated_at or self.instants.resolved_at


@dataclass(frozen=True)
class Row:
    """Incidents of one service, team, severity or source."""

    label: str
    count: int
    still_open: int
    acknowledged: int
    resolved_unseen: int
    told_by_people: int
    repeats: int
    with_runbook: int
    time_between: timedelta | None
    measures: Mapping[str, Summary]

    def ratio(self, part: int) -> float | None:
        """Return a part of the count, None of nothing."""
        return part / self.count if self.count else None


@dataclass(frozen=True)
class Analytics:
    """The whole and its parts; `weeks` are for the charts, oldest first.

    `parts_in_all` says how many parts there are, where only the first were measured.
    """

    since: datetime
    until: datetime
    by: Cut
    whole: Row
    parts: Sequence[Row]
    weeks: Sequence[Row]
    by_week_and_severity: Mapping[str, Counter[str]] = field(default_factory=dict)
    parts_in_all: int = 0


def analytics(
    *,
    viewer: Principal,
    since: datetime,
    until: datetime,
    by: Cut = Cut.SERVICE,
    service: str = "",
    team: str = "",
    severity: str = "",
    source: str = "",
    most_parts: int | None = None,
) -> Analytics:
    """Return the measures of what was opened within [since, until), as far as the viewer may see it.

    With `most_parts`, of services, teams, sources and factors only those with the most incidents are measured.
    """
    until = min(until, since + LONGEST_PERIOD)
    facts = _facts(viewer, since, until, {"service": service, "team": team, "severity": severity, "source": source})
    runs = _with_runbook(facts, since, until)
    repeats = _repeats(viewer, facts, since)

    def row(label: str, found: Sequence[Fact]) -> Row:
        return _row(label, found, runs, repeats)

    weeks = _grouped(facts, Cut.WEEK)
    by_week = {label: Counter(one.severity for one in found) for label, found in weeks.items()}
    grouped = list(weeks.items() if by is Cut.WEEK else _grouped(facts, by).items())
    in_order = by in {Cut.WEEK, Cut.HOUR, Cut.SEVERITY}
    grouped.sort(key=lambda one: (0 if in_order else -len(one[1]), one[0]))
    measured = grouped if in_order else grouped[:most_parts]
    return Analytics(
        since,
        until,
        by,
        row("all", facts),
        [row(label, found) for label, found in measured],
        [row(label, weeks[label]) for label in sorted(weeks)],
        by_week,
        len(grouped),
    )


def facts_of(incidents: Any) -> list[Fact]:
    """Return incidents as far as they are counted, in three queries, whatever their number."""
    names = {team.pk: team.slug for team in teams()}
    rows = list(
        incidents.order_by("pk").values_list(
            "pk",
            "severity",
            "team_id",
            "detected_by",
            "grouping_key",
            "impact_started_at",
            "detected_at",
            "first_notified_at",
            "acknowledged_at",
            "mitigated_at",
            "resolved_at",
            "engaged_at",
            "triggered_at",
            "acknowledged_by_id",
        )
    )
    keys = incidents.order_by().values("pk")
    services: dict[int, list[str]] = defaultdict(list)
    factors: dict[int, list[str]] = {}
    through = Incident.services.through.objects.filter(incident_id__in=keys)
    for key, slug in through.values_list("incident_id", "service__slug"):
        services[key].append(slug)
    written = Review.objects.filter(incident_id__in=keys).exclude(contributing_factors="")
    for key, text in written.values_list("incident_id", "contributing_factors"):
        factors[key] = sorted({kind for kind, _ in factors_in(text)})
    return [
        Fact(
            number=row[0],
            severity=row[1],
            team=names.get(row[2], NOT_NAMED),
            source=row[3] or "person",
            grouping_key=row[4],
            instants=Instants(row[5], row[6], row[7], row[8], row[9], row[10], row[11]),
            opened_at=row[12],
            by_itself=row[10] is not None and row[8] is None,
            services=tuple(services.get(row[0], ())),
            factors=tuple(factors.get(row[0], ())),
        )
        for row in rows
    ]


def time_between(spans: Iterable[tuple[datetime, datetime | None]]) -> timedelta | None:
    """Return the mean time from the end of one impact to the start of the next; None for fewer than two.

    Impacts that overlap are one. An impact without an end has no time after it.
    """
    merged: list[tuple[datetime, datetime | None]] = []
    for start, end in sorted(spans, key=lambda span: span[0]):
        if merged and (merged[-1][1] is None or start <= merged[-1][1]):
            last = merged[-1][1]
            merged[-1] = (merged[-1][0], None if last is None or end is None else max(last, end))
        else:
            merged.append((start, end))
    between = [after[0] - before[1] for before, after in pairwise(merged) if before[1] is not None]
    return sum(between, timedelta(0)) / len(between) if between else None


def _facts(viewer: Principal, since: datetime, until: datetime, wanted: Mapping[str, str]) -> list[Fact]:
    found = incidents_visible(viewer=viewer).filter(
        triggered_at__gte=since, triggered_at__lt=until, merged_into__isnull=True
    )
    # What the database can tell apart by itself is not read at all.
    if wanted["service"]:
        found = found.filter(pk__in=_of_service(wanted["service"]))
    if wanted["severity"]:
        found = found.filter(severity=wanted["severity"])
    return [one for one in facts_of(found) if _fits(one, wanted)]


def _of_service(slug: str) -> QuerySet[Any, Any]:
    through = Incident.services.through.objects.filter(service__slug=slug)
    return through.values("incident_id")


def _fits(fact: Fact, wanted: Mapping[str, str]) -> bool:
    return (
        (not wanted["service"] or wanted["service"] in fact.services)
        and (not wanted["team"] or wanted["team"] == fact.team)
        and (not wanted["severity"] or wanted["severity"] == fact.severity)
        and (not wanted["source"] or wanted["source"] == fact.source)
    )


_LABELS: dict[Cut, Callable[[Fact], Sequence[str]]] = {
    Cut.SERVICE: lambda one: one.services or (NOT_NAMED,),
    Cut.TEAM: lambda one: (one.team,),
    Cut.SEVERITY: lambda one: (one.severity,),
    Cut.SOURCE: lambda one: (one.source,),
    Cut.FACTOR: lambda one: one.factors or (NOT_NAMED,),
    Cut.WEEK: lambda one: (f"{one.opened_at.astimezone(UTC) - timedelta(days=one.opened_at.weekday()):%Y-%m-%d}",),
    Cut.HOUR: lambda one: (f"{one.opened_at.isoweekday()} {one.opened_at:%a %H}:00 UTC",),
}


def _grouped(facts: Sequence[Fact], by: Cut) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        for label in _LABELS[by](fact):
            found[label].append(fact)
    return found


def _row(label: str, facts: Sequence[Fact], runs: frozenset[int], repeats: frozenset[int]) -> Row:
    measured = [one.measured for one in facts]
    return Row(
        label=label,
        count=len(facts),
        still_open=sum(one.instants.resolved_at is None for one in facts),
        acknowledged=sum(one.instants.acknowledged_at is not None for one in facts),
        resolved_unseen=sum(one.by_itself for one in facts),
        told_by_people=sum(one.source == "person" for one in facts),
        repeats=sum(one.number in repeats for one in facts),
        with_runbook=sum(one.number in runs for one in facts),
        time_between=time_between([(one.instants.impact_started_at, one.ended_at) for one in facts]),
        measures={name: summarize(value for one in measured if (value := one[name]) is not None) for name in MEASURES},
    )


def _with_runbook(facts: Sequence[Fact], since: datetime, until: datetime) -> frozenset[int]:
    entries = TimelineEntry.objects.filter(
        kind="runbook", incident__triggered_at__gte=since, incident__triggered_at__lt=until
    )
    found = entries.exclude(link="").order_by().values_list("incident_id", flat=True).distinct()
    return frozenset(found) & {one.number for one in facts}


def _repeats(viewer: Principal, facts: Sequence[Fact], since: datetime) -> frozenset[int]:
    """Return those whose service and route had an incident within the 30 days before."""
    earlier = incidents_visible(viewer=viewer).filter(
        triggered_at__gte=since - REPEAT_WITHIN, triggered_at__lt=since, merged_into__isnull=True
    )
    last: dict[str, datetime] = dict(earlier.order_by("triggered_at").values_list("grouping_key", "triggered_at"))
    found = set()
    for one in sorted(facts, key=lambda fact: fact.opened_at):
        before = last.get(one.grouping_key)
        if before is not None and one.opened_at - before <= REPEAT_WITHIN:
            found.add(one.number)
        last[one.grouping_key] = one.opened_at
    return frozenset(found)

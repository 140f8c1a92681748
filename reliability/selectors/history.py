"""Series for the pages: how a budget went down, how fast it burnt, what spent it, what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from catalog.data import ActivityKind
from catalog.selectors import activities_between
from core.states import Tone
from reliability.domain.attribution import UNEXPLAINED, Span, attribute, edges
from reliability.domain.budgets import burn_rate
from reliability.models import SLO, SLOVersion
from reliability.selectors.reckoning import spans_of, subjects_of
from reliability.selectors.tallies import bucket_sums, minute_of, sums_before

POINTS = 240
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, 1440)
MOST_ACTIVITIES = 40
RANKS = {
    ActivityKind.CHAOS_RUN: 0,
    ActivityKind.DR_TEST: 1,
    ActivityKind.DEPLOYMENT: 2,
    ActivityKind.MAINTENANCE: 3,
    ActivityKind.INCIDENT: 4,
}
TONES = {ActivityKind.INCIDENT: Tone.BAD, ActivityKind.CHAOS_RUN: Tone.RISK, ActivityKind.MAINTENANCE: Tone.FROZEN}
SPARK_HOURS = 24
EXCLUDED = -2


@dataclass(frozen=True)
class Spender:
    """What was going on while budget was spent."""

    title: str
    kind: str
    url: str
    bad: int
    share: float


def burn_sparklines(*, versions: Sequence[SLOVersion], now: datetime) -> dict[int, list[float | None]]:
    """Return the burn rate of each of the last 24 hours by SLO; None where nothing was measured. One query."""
    end = (minute_of(now) // 60 + 1) * 60
    start = end - SPARK_HOURS * 60
    ids = [version.tally_id for version in versions]
    series = bucket_sums(ids, start_minute=start, end_minute=end, step=60)
    before = sums_before(ids, [start])
    sparks: dict[int, list[float | None]] = {}
    for version in versions:
        previous = before[version.tally_id, start]
        line: list[float | None] = []
        for sums in series[version.tally_id]:
            rate = burn_rate(sums - previous, version.target) if sums is not None else None
            line.append(rate.low if rate else None)
            previous = sums or previous
        sparks[version.slo_id] = line
    return sparks


def spenders(*, version: SLOVersion, slo: SLO, now: datetime) -> list[Spender]:
    """Return what the window's bad events were spent during, most first; together they are all bad events.

    Events of approved exclusions come first: they are named as excluded, whatever else was going on.
    """
    subject = subjects_of([version])[version.pk][0]
    start, _ = version.window.bounds(now)
    low, high = minute_of(start), minute_of(now) + 1
    activities = list(activities_between(start, now, service_id=slo.service_id)[:MOST_ACTIVITIES])
    spans = [
        Span(
            one.pk,
            minute_of(one.started_at),
            minute_of(one.ended_at or now) + 1,
            RANKS.get(ActivityKind(one.kind), len(RANKS)),
        )
        for one in activities
    ]
    spans += [Span(EXCLUDED, *span, rank=-1) for span in spans_of([slo], low, high).get(slo.pk, ())]
    cuts = edges(spans, start=low, end=high)
    sums = sums_before(subject.tallies, cuts)
    shares = attribute(
        spans, start=low, end=high, bad_before=lambda minute: sum(sums[one, minute].bad for one in subject.tallies)
    )
    total = sum(shares.values())
    named = {UNEXPLAINED: ("Unexplained", "", ""), EXCLUDED: ("Excluded", "Exclusion", "")}
    named |= {one.pk: (one.title, str(ActivityKind(one.kind).label), one.url) for one in activities}
    found = [Spender(*named[key], bad, bad / total) for key, bad in shares.items()]
    return sorted(found, key=lambda one: -one.bad)

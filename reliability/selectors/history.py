"""Series for the pages: how a budget went down, how fast it burnt, what spent it, what was measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from catalog.data import ActivityKind
from catalog.selectors import activities_between
from core.drawings import Interval as DrawnInterval
from core.drawings import Lane, TimeAxis
from core.states import Tone
from reliability.domain.alerting import BurnTier
from reliability.domain.attribution import UNEXPLAINED, Span, attribute, edges
from reliability.domain.budgets import Counts, budget_remaining_ratio, burn_rate
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


def burn_down(*, version: SLOVersion, now: datetime) -> dict[str, Any]:
    """Return the chart of what was left of the budget over the window, from its lower to its upper bound."""
    start, _ = version.window.bounds(now)
    first, end = max(minute_of(start), minute_of(version.counted_from)), minute_of(now) + 1
    step = _step(end - first)
    length = 0 if version.calendar else version.window_days * 1440 // step
    begin = minute_of(start) if version.calendar else first - version.window_days * 1440
    series = bucket_sums([version.tally_id], start_minute=begin, end_minute=end, step=step)[version.tally_id]
    base = sums_before([version.tally_id], [begin // step * step])[version.tally_id, begin // step * step]
    filled = _filled(series, base)
    offset = first // step - begin // step
    times, lows, highs = [], [], []
    for position in range(offset, len(series)):
        sums = filled[position]
        before = (filled[position - length] if position >= length else base) if length else base
        left = budget_remaining_ratio(sums - before, version.target) if series[position] is not None else None
        times.append((begin // step + position + 1) * step * 60)
        lows.append(round(left.low * 100, 3) if left else None)
        highs.append(round(left.high * 100, 3) if left else None)
    return {
        "series": [
            {"label": "Left at least", "tone": "active", "width": 2},
            {"label": "Left at most", "tone": "unknown", "dash": [4, 3]},
        ],
        "rows": [times, lows, highs],
        "unit": "%",
    }


def burn_chart(*, version: SLOVersion, now: datetime) -> dict[str, Any]:
    """Return the chart of the burn rate over the fastest alert tier's windows, with its threshold."""
    tiers = sorted((BurnTier(**values) for values in version.tiers), key=lambda tier: tier.long_minutes)
    tier = tiers[0] if tiers else BurnTier("none", "info", 60, 5, 1.0)
    step = max(tier.short_minutes // 5, 1)
    end = minute_of(now) + 1
    span = min(max(tier.long_minutes * 24, 180), max(end - minute_of(version.counted_from), 30))
    first = (end - span) // step
    begin = first * step - tier.long_minutes - step
    series = bucket_sums([version.tally_id], start_minute=begin, end_minute=end, step=step)[version.tally_id]
    base = sums_before([version.tally_id], [begin // step * step])[version.tally_id, begin // step * step]
    filled = _filled(series, base)
    offset = first - begin // step
    columns: list[list[float | None]] = [[], []]
    times = []
    for position in range(offset, len(series)):
        times.append((begin // step + position + 1) * step * 60)
        for column, minutes in zip(columns, (tier.long_minutes, tier.short_minutes), strict=True):
            back = position - max(minutes // step, 1)
            rate = burn_rate(filled[position] - (filled[back] if back >= 0 else base), version.target)
            column.append(round(rate.low, 3) if rate and series[position] is not None else None)
    return {
        "series": [
            {"label": f"Over {_length(tier.long_minutes)}", "tone": "active", "width": 2},
            {"label": f"Over {_length(tier.short_minutes)}", "tone": "risk"},
            {"label": f"Alert above ({tier.name})", "tone": "bad", "dash": [6, 4]},
        ],
        "rows": [times, *columns, [tier.threshold] * len(times)],
        "unit": "\u00d7",
    }


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
    low, high = max(minute_of(start), minute_of(version.counted_from)), minute_of(now) + 1
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


def measured_axis(*, version: SLOVersion, slo: SLO, now: datetime) -> TimeAxis:
    """Return when events were measured, beside what happened to the service."""
    start = max(now - timedelta(hours=24), version.counted_from, now - version.window.length)
    start = min(start, now - timedelta(minutes=15))
    step = _step(minute_of(now) - minute_of(start))
    series = bucket_sums([version.tally_id], start_minute=minute_of(start), end_minute=minute_of(now) + 1, step=step)
    first = minute_of(start) // step
    measured = list(_runs(first, step, series[version.tally_id], now))
    lanes = [Lane("Measured", measured)]
    activities = list(activities_between(start, now, service_id=slo.service_id)[:MOST_ACTIVITIES])
    for kind in ActivityKind:
        intervals = [
            DrawnInterval(one.title, one.started_at, one.ended_at, one.url, TONES.get(kind, Tone.PLAIN))
            for one in activities
            if one.kind == kind
        ]
        if intervals:
            lanes.append(Lane(str(kind.label), intervals))
    return TimeAxis("When events were measured, and what happened", start, now, lanes, now=now)


def _runs(first: int, step: int, series: Iterable[Counts | None], now: datetime) -> Iterable[DrawnInterval]:
    begun: int | None = None
    position = first
    for position, sums in enumerate([*series, None], start=first):
        if sums is not None and begun is None:
            begun = position
        elif sums is None and begun is not None:
            low = datetime.fromtimestamp(begun * step * 60, UTC)
            high = min(datetime.fromtimestamp(position * step * 60, UTC), now)
            yield DrawnInterval(f"measured for {(high - low) // timedelta(minutes=1)} min", low, high, "", Tone.OK)
            begun = None


def _filled(series: Iterable[Counts | None], base: Counts) -> list[Counts]:
    """Return running sums with each gap filled by what stood before it."""
    filled = []
    for sums in series:
        base = sums or base
        filled.append(base)
    return filled


def _step(minutes: int) -> int:
    return next((step for step in STEPS if minutes / step <= POINTS), STEPS[-1])


def _length(minutes: int) -> str:
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"

"""Alert tiers against stored history: what would have fired, when, for how long, beside the incidents of the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from catalog.data import ActivityKind
from catalog.selectors import activities_between
from reliability.domain.alerting import BurnTier
from reliability.domain.backtest import AnyHistory, Firing, History, JoinedHistory, precision_and_recall, replay
from reliability.domain.budgets import Counts
from reliability.domain.exclusions import Span
from reliability.domain.objectives import ExclusionRule, Method
from reliability.domain.slices import excluded_minutes
from reliability.domain.spreads import judged_by
from reliability.domain.windows import Window
from reliability.models import SLOVersion
from reliability.selectors.reckoning import Subject, minute_after, slices_of, spans_of, subjects_of
from reliability.selectors.spreads import spreads_between
from reliability.selectors.tallies import minute_of, tally_minutes

SLACK = timedelta(minutes=30)


@dataclass(frozen=True)
class TierResult:
    """What one tier would have done."""

    tier: BurnTier
    firings: Sequence[Firing]
    minutes_firing: int
    precision: float | None
    recall: float | None
    incidents: int


def backtest(
    *,
    version: SLOVersion,
    tiers: Sequence[BurnTier],
    since: datetime,
    until: datetime,
    target: Decimal | None = None,
    window: Window | None = None,
    le: float | None = None,
) -> list[TierResult]:
    """Return what each tier would have done, by the SLO's first objective and with its exclusions.

    `target` and `window` are the SLO's own where they are left out, and so is the latency `le`.
    """
    subject = subjects_of([version])[version.pk][0]
    start, end = max(minute_of(since), minute_of(version.counted_from)), minute_after(until)
    minutes_in_window = (window or version.window).length // timedelta(minutes=1)
    target = target if target is not None else subject.objective.target
    reach = max((tier.long_minutes for tier in tiers), default=0) + 1
    if any(tier.budget_share for tier in tiers):
        reach = max(reach, minutes_in_window)
    history = history_of(subject, max(start - reach, minute_of(version.counted_from)), end, le=le)
    return replayed(
        version=version, history=history, tiers=tiers, target=target, window_minutes=minutes_in_window, since=start
    )


def replayed(
    *,
    version: SLOVersion,
    history: AnyHistory,
    tiers: Sequence[BurnTier],
    target: Decimal,
    window_minutes: int,
    since: int,
) -> list[TierResult]:
    """Return what tiers would have done over a history from a minute on, beside the incidents of the service."""
    begin, until = (datetime.fromtimestamp(minute * 60, UTC) for minute in (since, history.end))
    activities = activities_between(begin, until, service_id=version.slo.service_id, kinds=[ActivityKind.INCIDENT])
    incidents = [(minute_of(one.started_at), minute_of(one.ended_at or until)) for one in activities]
    results = []
    for tier in tiers:
        firings = replay(tier, history, target=target, since=since, window_minutes=window_minutes)
        spans = [(one.start, one.end if one.end is not None else history.end) for one in firings]
        precision, recall = precision_and_recall(spans, incidents, slack=SLACK // timedelta(minutes=1))
        minutes = sum(high - low for low, high in spans)
        results.append(TierResult(tier, firings, minutes, precision, recall, len(incidents)))
    return results


def history_of(subject: Subject, start: int, end: int, *, le: float | None = None) -> AnyHistory:
    """Return what a subject's budget is reckoned from, minute by minute, with its exclusions.

    With `le`, as if values up to it were good, where buckets are kept; other minutes are as not measured.
    """
    excluded = spans_of([subject.version.slo], start, end).get(subject.version.slo_id, [])
    read = [tally_minutes(tally, start_minute=start, end_minute=end) for tally in subject.tallies]
    if le is not None:
        spreads = spreads_between(version=subject.version, start=start, end=end)
        judged = ((minute, judged_by(counts, spreads.get(minute), le)) for minute, counts in read[0])
        read = [[(minute, counts) for minute, counts in judged if counts is not None]]
    measured = [{minute for minute, _ in one} for one in read]
    everywhere = set.intersection(*measured) if measured else set()
    if subject.method is not Method.OCCURRENCES:
        return History.of(slices_of(subject, start, end, excluded), everywhere, start, end)
    parts = [
        History.of(dict(_without(one, excluded, subject.rule, start, end)), minutes, start, end)
        for one, minutes in zip(read, measured, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    return JoinedHistory(parts, subject.weights, History.of({}, everywhere, start, end).measured)


def _without(
    minutes: Sequence[tuple[int, Counts]], excluded: Sequence[Span], rule: ExclusionRule, start: int, end: int
) -> list[tuple[int, Counts]]:
    left_out = excluded_minutes(excluded, start, end)
    if not left_out:
        return list(minutes)
    kept = []
    for minute, counts in minutes:
        if minute not in left_out:
            kept.append((minute, counts))
        elif rule is ExclusionRule.COUNT_GOOD:
            kept.append((minute, Counts(counts.total, 0, 0, counts.minutes_measured)))
    return kept


def result_as_json(result: TierResult) -> dict[str, object]:
    """Return a result as the command line says it."""
    return {
        "tier": result.tier.name,
        "severity": result.tier.severity,
        "long_minutes": result.tier.long_minutes,
        "short_minutes": result.tier.short_minutes,
        "threshold": result.tier.threshold,
        "fired": len(result.firings),
        "minutes_firing": result.minutes_firing,
        "incidents": result.incidents,
        "precision": result.precision,
        "recall": result.recall,
        "firings": [
            {
                "fired_at": _instant(one.start + 1),
                "resolved_at": _instant(one.end + 1) if one.end is not None else None,
                "minutes": one.end - one.start if one.end is not None else None,
                "peak_burn_rate": round(one.peak_burn_rate, 4),
                "bad_events": one.bad,
            }
            for one in result.firings
        ],
    }


def _instant(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).isoformat()

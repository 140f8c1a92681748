"""What a tally alone can say: when a budget will be spent, and how another target would have fared."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from reliability.domain.budgets import Counts, Interval, budget_remaining_ratio, known_burn_rate, sli
from reliability.domain.forecast import Forecast, forecast
from reliability.domain.windows import RollingWindow, Window
from reliability.models import SLOVersion
from reliability.selectors.backtesting import TierResult, history_of, replayed
from reliability.selectors.reckoning import minute_after, reckon, subjects_of
from reliability.selectors.spreads import kept_since
from reliability.selectors.tallies import minute_of

SMALLEST_STEP = 60
MOST_STEPS = 2200


def budget_forecast(*, version: SLOVersion, now: datetime) -> Forecast | None:
    """Return how the first objective's budget goes on; None without a day of events."""
    subject = subjects_of([version])[version.pk][0]
    _, period_end = version.window.bounds(now)
    window_hours = max(version.window.length // timedelta(hours=1), 1)
    hours = [one.units for one in reckon([(subject, hour) for hour in hours_seen(version=version, now=now)])]
    rolling = isinstance(version.window, RollingWindow)
    horizon = window_hours if rolling else max((period_end - now) // timedelta(hours=1), 1)
    return forecast(
        hours, target=subject.objective.target, window_hours=window_hours, horizon=min(horizon, 2200), rolling=rolling
    )


def hours_seen(*, version: SLOVersion, now: datetime) -> list[tuple[int, int]]:
    """Return the hours of the window up to now that a forecast judges by, the oldest first."""
    end = minute_after(now)
    first = max(minute_of(version.window.bounds(now)[0]), minute_of(version.counted_from))
    return [(end - (hour + 1) * 60, end - hour * 60) for hour in reversed(range(max((end - first) // 60, 0)))]


def forecast_as_json(found: Forecast | None, *, now: datetime) -> dict[str, Any] | None:
    """Return a forecast as the command line says it: instants, None where the budget lasts the horizon."""
    if found is None:
        return None

    def at(hours: int | None) -> str | None:
        return None if hours is None else (now + timedelta(hours=hours)).isoformat()

    return {
        "earliest": at(found.earliest),
        "likely": at(found.likely),
        "latest": at(found.latest),
        "days_seen": found.days_seen,
    }


@dataclass(frozen=True)
class WhatIf:
    """How a target would have fared over everything that is stored.

    `path` is what was left of the budget at instants (seconds since 1970) over that time.
    """

    target: Decimal
    window: str
    since: datetime
    until: datetime
    counts: Counts
    sli: Interval | None
    worst_remaining: float | None
    worst_at: datetime | None
    spent_ratio: float | None
    now_remaining: Interval | None
    months: list[dict[str, Any]]
    fired: Sequence[TierResult]
    path: list[tuple[int, float]]

    def as_json(self) -> dict[str, Any]:
        """Return what the command line says."""
        return {
            "target": float(self.target),
            "window": self.window,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "good": self.counts.good,
            "bad": self.counts.bad,
            "unknown": self.counts.unknown,
            "sli_low": self.sli.low if self.sli else None,
            "sli_high": self.sli.high if self.sli else None,
            "error_budget_remaining_now": [self.now_remaining.low, self.now_remaining.high]
            if self.now_remaining
            else None,
            "worst_error_budget_remaining": self.worst_remaining,
            "worst_at": self.worst_at.isoformat() if self.worst_at else None,
            "share_of_time_spent": self.spent_ratio,
            "months": self.months,
            "firings": {one.tier.name: len(one.firings) for one in self.fired},
        }


def what_if(
    *,
    version: SLOVersion,
    target: Decimal,
    window: Window,
    tiers: Any,
    since: datetime | None,
    now: datetime,
    le: float | None = None,
) -> WhatIf:
    """Return how a target over a window would have fared, hour by hour where the history is not too long for it.

    `tiers` are replayed against the target; figures are of the SLO's first indicator, with its exclusions. With `le`,
    values up to it are good ones, since buckets are kept.
    """
    subject = subjects_of([version])[version.pk][0]
    end = minute_after(now)
    start = max(minute_of(since), minute_of(version.counted_from)) if since else minute_of(version.counted_from)
    if le is not None:
        start = max(start, kept_since(version=version) or end)
    length = window.length // timedelta(minutes=1)
    read_from = max(start - length, minute_of(version.counted_from))
    history = history_of(subject, read_from, end, le=le)
    # Minutes before the first that was measured say nothing.
    first = max(read_from + bisect_right(history.measured, 0) - 1, start)
    step = max(SMALLEST_STEP, -(-(end - first) // MOST_STEPS))
    worst: tuple[float, int] | None = None
    path: list[tuple[int, float]] = []
    spent = 0
    for minute in range(first + step, end + 1, step):
        begin = minute - length
        if not isinstance(window, RollingWindow):
            begin = minute_of(window.bounds(datetime.fromtimestamp((minute - 1) * 60, UTC))[0])
        rate = known_burn_rate(history.between(begin, minute), target)
        if rate is None:
            continue
        path.append((minute * 60, 1 - rate))
        spent += rate >= 1
        worst = min(worst or (1 - rate, minute), (1 - rate, minute))
    whole = history.between(first, end)
    current = end - length if isinstance(window, RollingWindow) else minute_of(window.bounds(now)[0])
    return WhatIf(
        target=target,
        window=window.label,
        since=datetime.fromtimestamp(first * 60, UTC),
        until=datetime.fromtimestamp(end * 60, UTC),
        counts=history.counted(first, end),
        sli=sli(whole),
        worst_remaining=worst[0] if worst else None,
        worst_at=datetime.fromtimestamp(worst[1] * 60, UTC) if worst else None,
        spent_ratio=spent / len(path) if path else None,
        now_remaining=budget_remaining_ratio(history.between(current, end), target),
        months=_months(history, first, end, target),
        fired=replayed(
            version=version, history=history, tiers=tiers, target=target, window_minutes=length, since=first
        ),
        path=path,
    )


def _months(history: Any, first: int, end: int, target: Decimal) -> list[dict[str, Any]]:
    moment = datetime.fromtimestamp(first * 60, UTC).replace(day=1, hour=0, minute=0)
    months = []
    while minute_of(moment) < end:
        following = (moment + timedelta(days=32)).replace(day=1)
        counts = history.counted(minute_of(moment), minute_of(following))
        figure = sli(history.between(minute_of(moment), minute_of(following)))
        kept = None
        if figure is not None and (figure.low >= float(target) or figure.high < float(target)):
            kept = figure.low >= float(target)
        months.append(
            {
                "month": f"{moment:%Y-%m}",
                "good": counts.good,
                "bad": counts.bad,
                "unknown": counts.unknown,
                "sli_low": figure.low if figure else None,
                "sli_high": figure.high if figure else None,
                "kept": kept,
            }
        )
        moment = following
    return months

"""When a budget will be spent: hour by hour, from how the last days went, with what ages out of a rolling window.

Each scenario lets every coming hour be like an hour of a day at a quantile of the days that were seen: few bad events
(10 %), the median, many (90 %). The interval is of these scenarios; it is no promise about days unlike any seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from reliability.domain.budgets import Counts

HOURS_A_DAY = 24
QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Forecast:
    """Hours until the budget is spent with many, usual and few bad events; None: not within the horizon.

    `path` is what is left after each coming hour as (many, usual, few).
    """

    earliest: int | None
    likely: int | None
    latest: int | None
    path: tuple[tuple[float, float, float], ...]
    days_seen: int


def forecast(
    hours: Sequence[Counts], *, target: Decimal, window_hours: int, horizon: int, rolling: bool
) -> Forecast | None:
    """Return how a budget goes on after `hours`, the oldest first; None without a day of events to judge by.

    In a rolling window old hours leave as new ones come; in a calendar one nothing leaves until the horizon, its end.
    """
    days = [sum(hours[end - HOURS_A_DAY : end], Counts()) for end in range(len(hours), HOURS_A_DAY - 1, -HOURS_A_DAY)]
    seen = [day for day in days if day.total]
    if not seen:
        return None
    total = sum(day.total for day in seen) / len(seen) / HOURS_A_DAY
    scenarios = [_quantile(sorted(day.bad for day in seen), share) / HOURS_A_DAY for share in QUANTILES]
    sums = [one.bad for one in hours], [one.total for one in hours]
    few, usual, many = (
        _path(
            *sums,
            bad=bad,
            total=max(total, bad),
            target=float(target),
            window_hours=window_hours if rolling else None,
            horizon=horizon,
        )
        for bad in scenarios
    )
    return Forecast(
        earliest=_first_spent(many),
        likely=_first_spent(usual),
        latest=_first_spent(few),
        path=tuple(zip(many, usual, few, strict=True)),
        days_seen=len(seen),
    )


def _path(
    bads: Sequence[int],
    totals: Sequence[int],
    *,
    bad: float,
    total: float,
    target: float,
    window_hours: int | None,
    horizon: int,
) -> list[float]:
    """Return what is left after each coming hour; `window_hours` is None where nothing leaves the window."""
    seen = len(bads)
    first = max(seen - window_hours, 0) if window_hours else 0
    window_bad, window_total = float(sum(bads[first:])), float(sum(totals[first:]))
    left = []
    for hour in range(horizon):
        window_bad += bad
        window_total += total
        leaving = seen - window_hours + hour if window_hours else -1
        if first <= leaving < seen:
            window_bad -= bads[leaving]
            window_total -= totals[leaving]
        elif leaving >= seen:
            window_bad -= bad
            window_total -= total
        left.append(1 - window_bad / window_total / (1 - target) if window_total > 0 else 1.0)
    return left


def _first_spent(path: Sequence[float]) -> int | None:
    return next((hour + 1 for hour, left in enumerate(path) if left <= 0), None)


def _quantile(ordered: Sequence[int], share: float) -> float:
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)

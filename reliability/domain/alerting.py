"""When a burn-rate alert fires and resolves: multi-window, multi-burn-rate (Workbook, chapter 5).

Beyond the book: a threshold may follow the traffic (budget share in events, not in hours), and few bad events fire only
when they would be rare at the threshold's own rate.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from reliability.domain.budgets import Counts, burn_rate
from reliability.domain.significance import is_significant

LOWEST_COVERAGE_RATIO = 0.9


class AlertDecision(StrEnum):
    """What an evaluation says."""

    FIRE = "fire"
    RESOLVE = "resolve"
    HOLD = "hold"
    FREEZE = "freeze"


@dataclass(frozen=True)
class BurnTier:
    """One pair of windows: fire when the burn rate exceeds the threshold in both.

    `alpha`: the bad events must be rarer than this if the budget were spent at the threshold's rate. `budget_share`:
    the long window must have spent this share of the window's budget, counted in events. `wait_minutes`: for how long
    it must have been so. `inclusive`: the threshold itself counts. `when_no_data`: not being measured fires
    too; `when_breaching`: the burn rate does; `tell_resolved`: the end is announced.
    """

    name: str
    severity: str
    long_minutes: int
    short_minutes: int
    threshold: float
    minimum_events: int = 1
    alpha: float | None = None
    budget_share: float | None = None
    wait_minutes: int = 0
    inclusive: bool = False
    when_breaching: bool = True
    when_no_data: bool = False
    tell_resolved: bool = True


def effective_threshold(tier: BurnTier, *, long: Counts, events_in_window: float | None) -> float:
    """Return the burn rate that the tier fires above.

    With a budget share p it is p x N_W / N_long (N_W: events of the whole window, N_long: of the long one): at this
    rate the long window has spent p of the budget in events, whatever the traffic does over the day.
    """
    if tier.budget_share is None or not long.total or not events_in_window:
        return tier.threshold
    return tier.budget_share * events_in_window / long.total


def decide(
    tier: BurnTier,
    *,
    long: Counts,
    short: Counts,
    target: Decimal,
    measured: bool,
    short_coverage_ratio: float = 1.0,
    events_in_window: float | None = None,
) -> AlertDecision:
    """Decide from the events of both windows.

    Without a recent measurement, or with too little of the short window measured, the alert freezes: it neither fires
    nor resolves. Events of unknown outcome do not fire an alert, but an alert resolves only when the short window is
    below the threshold even if they were bad.
    """
    if not measured or short_coverage_ratio < LOWEST_COVERAGE_RATIO:
        return AlertDecision.FREEZE
    threshold = effective_threshold(tier, long=long, events_in_window=events_in_window)
    burn_long, burn_short = burn_rate(long, target), burn_rate(short, target)

    def exceeds(rate: float) -> bool:
        return rate >= threshold if tier.inclusive else rate > threshold

    if (
        burn_long is not None
        and burn_short is not None
        and exceeds(burn_long.low)
        and exceeds(burn_short.low)
        and long.total >= tier.minimum_events
        and _proves_it(tier, long, threshold, target)
    ):
        return AlertDecision.FIRE
    if burn_short is None or not exceeds(burn_short.high):
        return AlertDecision.RESOLVE
    return AlertDecision.HOLD


def _proves_it(tier: BurnTier, long: Counts, threshold: float, target: Decimal) -> bool:
    if tier.alpha is None:
        return True
    return is_significant(
        bad=long.bad, events=long.total, burn_rate_threshold=threshold, target=float(target), alpha=tier.alpha
    )

"""When a burn-rate alert fires and resolves: multi-window, multi-burn-rate (Workbook, chapter 5)."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from reliability.domain.budgets import Counts, burn_rate

LOWEST_COVERAGE_RATIO = 0.9


class AlertDecision(StrEnum):
    """What an evaluation says."""

    FIRE = "fire"
    RESOLVE = "resolve"
    HOLD = "hold"
    FREEZE = "freeze"


@dataclass(frozen=True)
class BurnTier:
    """One pair of windows: fire when the burn rate exceeds the threshold in both."""

    name: str
    severity: str
    long_minutes: int
    short_minutes: int
    threshold: float
    minimum_events: int = 1


def decide(
    tier: BurnTier, *, long: Counts, short: Counts, target: Decimal, measured: bool, short_coverage_ratio: float = 1.0
) -> AlertDecision:
    """Decide from the events of both windows.

    Without a recent measurement, or with too little of the short window measured, the alert freezes: it neither fires
    nor resolves. Events of unknown outcome do not fire an alert, but an alert resolves only when the short window is
    below the threshold even if they were bad.
    """
    if not measured or short_coverage_ratio < LOWEST_COVERAGE_RATIO:
        return AlertDecision.FREEZE
    burn_long, burn_short = burn_rate(long, target), burn_rate(short, target)
    if (
        burn_long is not None
        and burn_short is not None
        and burn_long.low > tier.threshold
        and burn_short.low > tier.threshold
        and long.total >= tier.minimum_events
    ):
        return AlertDecision.FIRE
    if burn_short is None or burn_short.high <= tier.threshold:
        return AlertDecision.RESOLVE
    return AlertDecision.HOLD

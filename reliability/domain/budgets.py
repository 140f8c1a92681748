"""Error budgets and burn rates from counts of events.

Formulas: Google, The Site Reliability Workbook, chapter 5. burn rate = error ratio / (1 - target); a burn rate of 1
spends the budget exactly over the window. Counts whose outcome is not known make every figure an interval.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal


@dataclass(frozen=True)
class Counts:
    """Events of a window: good, bad, of unknown outcome; and how many of its minutes were measured.

    `unknown` is the most that there may have been, `unknown_low` the least: the first value of a newly found counter
    is from none to all of them, the values of a histogram bucket around the threshold are certain in number.
    """

    good: int = 0
    bad: int = 0
    unknown: int = 0
    minutes_measured: int = 0
    unknown_low: int = 0

    @property
    def total(self) -> int:
        """All events."""
        return self.good + self.bad + self.unknown

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.good + other.good,
            self.bad + other.bad,
            self.unknown + other.unknown,
            self.minutes_measured + other.minutes_measured,
            self.unknown_low + other.unknown_low,
        )

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.good - other.good,
            self.bad - other.bad,
            self.unknown - other.unknown,
            self.minutes_measured - other.minutes_measured,
            self.unknown_low - other.unknown_low,
        )


@dataclass(frozen=True)
class Interval:
    """A figure that is known to lie between two bounds; equal bounds are an exact figure."""

    low: float
    high: float

    @property
    def exact(self) -> bool:
        """Say whether the figure is known exactly."""
        return self.low == self.high


def sli(counts: Counts) -> Interval | None:
    """Return good events over all events, 0 to 1, or None without events (which is not 100 %)."""
    if not counts.total:
        return None
    return Interval(counts.good / counts.total, (counts.good + counts.unknown) / counts.total)


def known_sli(counts: Counts) -> float | None:
    """Return good events over those of known outcome, for where one number is wanted; None without any.

    It lies within `sli`, whose bounds say what the unknown ones may change.
    """
    known = counts.good + counts.bad
    return counts.good / known if known else None


def known_burn_rate(counts: Counts, target: Decimal) -> float | None:
    """Return the burn rate of the events of known outcome, or None without any."""
    ratio = known_sli(counts)
    return None if ratio is None else (1 - ratio) / (1 - float(target))


def burn_rate(counts: Counts, target: Decimal) -> Interval | None:
    """Return how many times faster than allowed the budget is spent, or None without events."""
    allowed = 1 - float(target)
    if not counts.total:
        return None
    return Interval(counts.bad / counts.total / allowed, (counts.bad + counts.unknown) / counts.total / allowed)


def budget_remaining_ratio(counts: Counts, target: Decimal) -> Interval | None:
    """Return the share of the error budget that is left: 1 untouched, 0 spent, negative overspent."""
    burnt = burn_rate(counts, target)
    return None if burnt is None else Interval(1 - burnt.high, 1 - burnt.low)


def burn_rate_threshold(*, budget_share: float, window: timedelta, long_window: timedelta) -> float:
    """Return the burn rate that spends `budget_share` of a window's budget within `long_window`.

    2 % of a 30-day budget in one hour is 14.4 (chapter 5, table 5-8).
    """
    return budget_share * (window / long_window)


def highest_burn_rate(target: Decimal) -> float:
    """Return the burn rate when every event is bad; a threshold at or above it can never fire."""
    return 1 / (1 - float(target))


def time_to_exhaustion(*, remaining: float, burn: float, window: timedelta) -> timedelta | None:
    """Return how long the rest of the budget lasts at this burn rate; None when it is not being spent."""
    if burn <= 0:
        return None
    return max(remaining, 0.0) * window / burn

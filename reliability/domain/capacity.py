"""When something runs full: a trend that outliers do not bend, and when it reaches a limit.

Theil-Sen: the slope is the median of the slopes between all pairs of points; its 90 % interval are the slopes at ranks
(N -/+ C) / 2 of the N ordered ones, C = z sqrt(n (n - 1) (2 n + 5) / 18) (Sen 1968, from the variance of Kendall's S).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

FEWEST_POINTS = 7
Z_90 = 1.645
Point = tuple[float, float]


@dataclass(frozen=True)
class Trend:
    """A line through points; `low` and `high` bound its slope. `level` is where it stands at the last point."""

    slope: float
    low: float
    high: float
    level: float

    @property
    def is_told(self) -> bool:
        """Say whether it is certain that there is a trend at all."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Reach:
    """How long until a limit is reached, in the unit of time of the points; None: not at this slope."""

    earliest: float | None
    likely: float | None
    latest: float | None


def trend(points: Sequence[Point]) -> Trend | None:
    """Return the trend of points (time, value); None with fewer than seven."""
    count = len(points)
    if count < FEWEST_POINTS:
        return None
    slopes = sorted((b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.combinations(points, 2) if b[0] != a[0])
    if not slopes:
        return None
    slope = median(slopes)
    reach = Z_90 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = slopes[max(math.floor((len(slopes) - reach) / 2), 0)]
    high = slopes[min(math.ceil((len(slopes) + reach) / 2), len(slopes) - 1)]
    level = median(value - slope * time for time, value in points) + slope * points[-1][0]
    return Trend(slope, low, high, level)


def reach(found: Trend, limit: float, *, rising: bool) -> Reach:
    """Return when a trend reaches a limit from below (`rising`) or from above; 0 where it has."""
    sign = 1.0 if rising else -1.0
    room = sign * (limit - found.level)
    if room <= 0:
        return Reach(0.0, 0.0, 0.0)

    def after(slope: float) -> float | None:
        return room / (sign * slope) if sign * slope > 0 else None

    steep, flat = (found.high, found.low) if rising else (found.low, found.high)
    return Reach(after(steep), after(found.slope), after(flat))

"""Medians and percentiles of few and heavy-tailed values, with how far the median can be believed.

Percentiles are by nearest rank, so that each is a value that happened. The interval of the median is the distribution-
free one from order statistics (binomial with p = 1/2): it needs six values for 95 %.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil, comb
from statistics import fmean

CONFIDENCE = 0.95
FEW = 20


@dataclass(frozen=True)
class Summary:
    """What some durations have in common. All but `n` are None where there is none."""

    n: int
    median: timedelta | None = None
    p90: timedelta | None = None
    mean: timedelta | None = None
    median_between: tuple[timedelta, timedelta] | None = None

    @property
    def hint(self) -> str:
        """How far the median can be believed, in words."""
        if self.n == 0:
            return "nothing to count"
        if self.median_between is None:
            return "too few to tell"
        return "few" if self.n < FEW else ""


def summarize(values: Iterable[timedelta]) -> Summary:
    """Return n, median, 90th percentile, mean, and the 95 % interval of the median where there are six values."""
    ordered = sorted(values)
    if not ordered:
        return Summary(0)
    ranks = median_ranks(len(ordered))
    return Summary(
        n=len(ordered),
        median=_nearest_rank(ordered, 0.5),
        p90=_nearest_rank(ordered, 0.9),
        mean=timedelta(seconds=fmean([value.total_seconds() for value in ordered])),
        median_between=(ordered[ranks[0] - 1], ordered[ranks[1] - 1]) if ranks else None,
    )


def median_ranks(n: int) -> tuple[int, int] | None:
    """Return the ranks (from 1) between which the median lies with at least 95 %, None for fewer than six values."""
    if n > 1000:
        half = ceil(0.98 * n**0.5)
        return n // 2 - half, n // 2 + half + 1
    tail, low = 0.0, 0
    while True:
        tail += comb(n, low) / 2**n
        if 2 * tail > 1 - CONFIDENCE:
            break
        low += 1
    return (low, n - low + 1) if low else None


def evenness(shares: Iterable[float]) -> float | None:
    """Return how evenly something is spread, by Jain's index: 1 when all have the same, 1/n when one has all."""
    values = [value for value in shares if value >= 0]
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else None


def _nearest_rank(ordered: Sequence[timedelta], share: float) -> timedelta:
    return ordered[max(ceil(share * len(ordered)), 1) - 1]

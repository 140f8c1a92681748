"""Whether recovery takes longer than it did: the newest recovery time against the median of those before.

Two measurements each carry an error bar, so that a difference counts only when it is wider than both bars together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

AT_LEAST = 3
FACTOR = 1.5


@dataclass(frozen=True)
class Worsening:
    """A recovery time that is longer than usual, in seconds."""

    seconds: float
    usual: float
    runs: int

    def __str__(self) -> str:
        return (
            f"recovery took {self.seconds:.2f} s, {self.seconds / self.usual:.1f} times the usual {self.usual:.2f} s "
            f"(median of {self.runs} runs)"
        )


def worsened(earlier: Sequence[float], now: float, *, resolution: float) -> Worsening | None:
    """Return how much worse the newest is; None when it is not, or when fewer than three runs came before."""
    if len(earlier) < AT_LEAST:
        return None
    usual = median(earlier)
    if now <= usual * FACTOR or now - usual <= 2 * resolution:
        return None
    return Worsening(now, usual, len(earlier))

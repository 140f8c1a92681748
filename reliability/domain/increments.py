"""What a counter has grown by between two readings (OpenTelemetry data model; facts of Prometheus counters)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class HistogramReading:
    """Counts by bucket: `counts[i]` values in (bounds[i-1], bounds[i]], the last above every bound."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All values."""
        return sum(self.counts)


def counter_increment(previous: float | None, current: float) -> float:
    """Return what a monotonic counter has grown by; a smaller value is a reset and counts in full."""
    if previous is None or current < previous:
        return current
    return current - previous


def histogram_increment(previous: HistogramReading | None, current: HistogramReading) -> HistogramReading:
    """Return what a cumulative histogram has grown by; a changed layout or a smaller bucket is a reset."""
    if previous is None or previous.bounds != current.bounds:
        return current
    if any(new < old for new, old in zip(current.counts, previous.counts, strict=True)):
        return current
    return HistogramReading(
        current.bounds, tuple(new - old for new, old in zip(current.counts, previous.counts, strict=True))
    )


def split_at(reading: HistogramReading, threshold: float) -> tuple[int, int, int]:
    """Return how many values are at most `threshold`, how many are above, and how many may be either.

    Bounds are upper-inclusive, so a threshold that is a bound splits exactly; otherwise its bucket is unknown.
    """
    good = unknown = 0
    lower = float("-inf")
    for position, count in enumerate(reading.counts):
        upper = reading.bounds[position] if position < len(reading.bounds) else float("inf")
        if upper <= threshold:
            good += count
        elif lower < threshold:
            unknown += count
        lower = upper
    return good, reading.total - good - unknown, unknown


def exponential_reading(
    *, scale: int, zero_count: int, offset: int, counts: Sequence[int], negative_count: int = 0
) -> HistogramReading:
    """Turn an exponential histogram into explicit buckets: i covers (base^i, base^(i+1)], base = 2^(2^-scale)."""
    bounds = [0.0]
    values = [zero_count + negative_count]
    base = 2.0 ** (2.0**-scale)
    first = base**offset
    bounds.append(first)
    values.append(0)
    for position, count in enumerate(counts):
        bounds.append(base ** (offset + position + 1))
        values.append(count)
    return HistogramReading(tuple(bounds), (*values, 0))

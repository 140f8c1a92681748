"""What a counter or histogram says at one instant, and what it has grown by since another (OpenTelemetry data model).

Explicit bounds are upper-inclusive. Exponential bucket i of a scale covers (base^i, base^(i+1)], base = 2^(2^-scale). A
higher scale merges into a lower one without error (perfect subsetting): readings of two scales compare at the lower.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class HistogramReading:
    """Counts by bucket: `counts[i]` values in (bounds[i-1], bounds[i]], the last above every bound.

    A plain counter is one bucket without a bound.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All values."""
        return sum(self.counts)

    def since(self, previous: "Reading") -> "HistogramReading":
        """Return what it has grown by; a changed layout or a smaller bucket is a reset and counts in full."""
        if not isinstance(previous, HistogramReading) or previous.bounds != self.bounds:
            return self
        grown = tuple(new - old for new, old in zip(self.counts, previous.counts, strict=True))
        return self if any(count < 0 for count in grown) else HistogramReading(self.bounds, grown)

    def bounded(self) -> list[tuple[float, float, int]]:
        """Return the buckets that hold anything: above which value, up to which, how many."""
        edges = [-math.inf, *self.bounds, math.inf]
        return [(edges[place], edges[place + 1], count) for place, count in enumerate(self.counts) if count]

    def split_at(self, threshold: float) -> tuple[int, int, int]:
        """Return how many values are at most `threshold`, how many are above, and how many may be either."""
        good = unknown = 0
        lower = float("-inf")
        for position, count in enumerate(self.counts):
            upper = self.bounds[position] if position < len(self.bounds) else float("inf")
            if upper <= threshold:
                good += count
            elif lower < threshold:
                unknown += count
            lower = upper
        return good, self.total - good - unknown, unknown

    def as_json(self) -> dict[str, Any]:
        """Return what `reading_from_json` reads."""
        return {"bounds": self.bounds, "counts": self.counts}


@dataclass(frozen=True)
class ExponentialReading:
    """An exponential histogram: values around zero (|v| <= zero_threshold), below it, and positive buckets by index."""

    scale: int
    zero: int
    negative: int
    buckets: Mapping[int, int]
    zero_threshold: float = 0.0

    @property
    def total(self) -> int:
        """All values."""
        return self.zero + self.negative + sum(self.buckets.values())

    def at_scale(self, scale: int) -> "ExponentialReading":
        """Return the same values in wider buckets; `scale` is at most its own."""
        shift = self.scale - scale
        merged: dict[int, int] = {}
        for index, count in self.buckets.items():
            merged[index >> shift] = merged.get(index >> shift, 0) + count
        return ExponentialReading(scale, self.zero, self.negative, merged, self.zero_threshold)

    def since(self, previous: "Reading") -> "ExponentialReading":
        """Return what it has grown by, at the lower scale of the two; a smaller bucket is a reset, in full."""
        if not isinstance(previous, ExponentialReading) or self.zero_threshold != previous.zero_threshold:
            return self
        scale = min(self.scale, previous.scale)
        new, old = self.at_scale(scale), previous.at_scale(scale)
        grown = {index: count - old.buckets.get(index, 0) for index, count in new.buckets.items()}
        vanished = any(count and index not in new.buckets for index, count in old.buckets.items())
        zero, negative = new.zero - old.zero, new.negative - old.negative
        if vanished or zero < 0 or negative < 0 or any(count < 0 for count in grown.values()):
            return self
        return ExponentialReading(
            scale, zero, negative, {index: count for index, count in grown.items() if count}, self.zero_threshold
        )

    def bounded(self) -> list[tuple[float, float, int]]:
        """Return the buckets that hold anything: above which value, up to which, how many."""
        parts = [
            (-math.inf, -self.zero_threshold, self.negative),
            (-self.zero_threshold, self.zero_threshold, self.zero),
            *(
                (exponential_bound(self.scale, index), exponential_bound(self.scale, index + 1), count)
                for index, count in self.buckets.items()
            ),
        ]
        return [part for part in parts if part[2]]

    def split_at(self, threshold: float) -> tuple[int, int, int]:
        """Return how many values are at most `threshold`, how many are above, and how many may be either."""
        good, unknown = 0, 0
        for low, high, count in self.bounded():
            if high <= threshold:
                good += count
            elif low < threshold:
                unknown += count
        return good, self.total - good - unknown, unknown

    def as_json(self) -> dict[str, Any]:
        """Return what `reading_from_json` reads."""
        return {
            "scale": self.scale,
            "zero": self.zero,
            "negative": self.negative,
            "zero_threshold": self.zero_threshold,
            "buckets": [[index, count] for index, count in self.buckets.items()],
        }


Reading = HistogramReading | ExponentialReading


def exponential_bound(scale: int, index: int) -> float:
    """Return base^index, the lower bound of a bucket.

    The exponent index / 2^scale is exact in binary, so powers of two come out exactly and an edge is never off by one.
    """
    try:
        return math.exp2(math.ldexp(index, -scale))
    except OverflowError:
        return float("inf") if index > 0 else 0.0


def reading_from_json(data: Mapping[str, Any]) -> Reading:
    """Read what `as_json` wrote."""
    if "scale" in data:
        return ExponentialReading(
            data["scale"], data["zero"], data["negative"], dict(data["buckets"]), data["zero_threshold"]
        )
    return HistogramReading(tuple(data["bounds"]), tuple(data["counts"]))

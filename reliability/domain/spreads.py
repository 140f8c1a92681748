"""How values are spread over buckets, minute by minute of an hour: what another latency bound is judged by.

A bucket is named by its two bounds, upper-inclusive: layouts may change from one process to the next.
"""

import math
import zlib
from collections.abc import Iterable, Mapping

import orjson

from reliability.domain.budgets import Counts

Bounds = tuple[float, float]
Spread = dict[Bounds, int]


def add_to_spread(spread: Spread, buckets: Iterable[tuple[float, float, int]]) -> None:
    """Add buckets (above which value, up to which, how many) to a spread, in place."""
    for lower, upper, count in buckets:
        spread[lower, upper] = spread.get((lower, upper), 0) + count


def packed_spreads(minutes: Mapping[int, Spread]) -> bytes:
    """Return the spreads of minutes in few bytes."""
    bounds = sorted({one for spread in minutes.values() for one in spread})
    places = {one: place for place, one in enumerate(bounds)}
    body = {
        "bounds": [[_finite(lower), _finite(upper)] for lower, upper in bounds],
        "minutes": [
            [minute, [[places[one], count] for one, count in sorted(spread.items())]]
            for minute, spread in sorted(minutes.items())
        ],
    }
    return zlib.compress(orjson.dumps(body), 6)


def unpacked_spreads(body: bytes | memoryview) -> dict[int, Spread]:
    """Return what `packed_spreads` was given."""
    data = orjson.loads(zlib.decompress(body))
    bounds = [
        (-math.inf if lower is None else lower, math.inf if upper is None else upper) for lower, upper in data["bounds"]
    ]
    return {minute: {bounds[place]: count for place, count in cells} for minute, cells in data["minutes"]}


def judged_by(counts: Counts, spread: Spread | None, le: float) -> Counts | None:
    """Return a minute's events when values up to `le` are good; None where their spread was not kept.

    `counts` are all its events by the SLO's own bound; those outside of the spread (a failed request has no good
    latency) stay bad.
    """
    if spread is None:
        return counts if not counts.total else None
    good = sum(count for (_, upper), count in spread.items() if upper <= le)
    unknown = sum(count for (lower, upper), count in spread.items() if lower < le < upper)
    total = max(counts.total, sum(spread.values()))
    return Counts(good, total - good - unknown, unknown, counts.minutes_measured, unknown)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

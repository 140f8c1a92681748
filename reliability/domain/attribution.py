"""Who spent the budget: bad events of an interval shared out to what was going on, summing to the total."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

UNEXPLAINED = -1


@dataclass(frozen=True)
class Span:
    """Something that went on from `start` to before `end` (minutes); `rank` says who answers for an overlap: lowest."""

    key: int
    start: int
    end: int
    rank: int


def edges(spans: Sequence[Span], *, start: int, end: int) -> list[int]:
    """Return the minutes at which the answer may change, ascending, both ends included."""
    inner = {edge for span in spans for edge in (span.start, span.end) if start < edge < end}
    return [start, *sorted(inner), end]


def attribute(spans: Sequence[Span], *, start: int, end: int, bad_before: Callable[[int], int]) -> dict[int, int]:
    """Return bad events by the key of what was going on, the rest under UNEXPLAINED.

    `bad_before(minute)` is the running sum of bad events before a minute, known at each of `edges`.
    """
    shares: dict[int, int] = {}
    cuts = edges(spans, start=start, end=end)
    for low, high in itertools.pairwise(cuts):
        events = bad_before(high) - bad_before(low)
        if not events:
            continue
        present = [span for span in spans if span.start <= low and high <= span.end]
        key = min(present, key=lambda span: (span.rank, -span.start)).key if present else UNEXPLAINED
        shares[key] = shares.get(key, 0) + events
    return shares

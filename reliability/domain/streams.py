"""Credit each event of a metric stream once, whatever is repeated, late or out of order (OpenTelemetry data model).

Delivery is at least once, so a point is known by its stream, start and time. Times are nanoseconds since 1970 UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reliability.domain.readings import Reading, reading_from_json

ENDS_BEFORE_IT_STARTS = "a point that ends before it starts"
BEFORE_WHAT_IS_REMEMBERED = "a point of a counter that began before what is remembered"
TOO_LATE = "a point too late to tell whether it was counted"
TWO_WRITERS = "two writers share a stream: their counters overlap in time"
ANOTHER_VALUE = "a repeated point with another value"
OVERLAP = "an interval that overlaps one that was counted"
GENERATIONS_KEPT = 8
INTERVALS_KEPT = 64


@dataclass(frozen=True)
class Credit:
    """What a point adds: `increment` counts events of (`since`, time]. Without it, nothing; `refused` says why.

    `since` is 0 when it is not known when the first of these events happened.
    """

    increment: Reading | None = None
    since: int = 0
    refused: str = ""


NOTHING = Credit()


@dataclass(frozen=True)
class Generation:
    """A counter's life between two resets: since `start`, with `reading` at `time`."""

    start: int
    time: int
    reading: Reading


@dataclass(frozen=True)
class CumulativeStream:
    """A stream of running totals: its latest generations, oldest first. What began before `floor` is forgotten."""

    generations: tuple[Generation, ...] = ()
    floor: int = 0

    def credit(self, *, start: int, time: int, reading: Reading) -> tuple["CumulativeStream", Credit]:
        """Return the stream after a point, and what the point adds.

        A point without a start, or whose start is its own time, says only where a counter stands: what it counted
        before is not known and is not credited.
        """
        if start > time:
            return self, Credit(refused=ENDS_BEFORE_IT_STARTS)
        known = next((one for one in self.generations if one.start == start), None)
        if known is None and not start and self.generations:
            known = self.generations[-1]
        if known is not None:
            return self._grow(known, time, reading)
        if start and start < self.floor:
            return self, Credit(refused=BEFORE_WHAT_IS_REMEMBERED)
        if any(start < one.time and max(one.start, 1) < time for one in self.generations if start):
            baseline = self.generations[0]
            if len(self.generations) == 1 and baseline.start == 0 and start <= baseline.time < time:
                # The same counter, whose first point lacked a start: the reading then is where it stood.
                return self._grow(baseline, time, reading)
            return self, Credit(refused=TWO_WRITERS)
        generations = tuple(sorted((*self.generations, Generation(start, time, reading)), key=lambda one: one.time))
        forgotten, kept = generations[:-GENERATIONS_KEPT], generations[-GENERATIONS_KEPT:]
        stream = CumulativeStream(kept, max((self.floor, *(one.time for one in forgotten))))
        return stream, Credit(reading, start) if 0 < start < time else NOTHING

    def _grow(self, known: Generation, time: int, reading: Reading) -> tuple["CumulativeStream", Credit]:
        if time < known.time:
            return self, NOTHING
        if time == known.time:
            same = reading.as_json() == known.reading.as_json()
            return self, NOTHING if same else Credit(refused=ANOTHER_VALUE)
        grown = replace(known, time=time, reading=reading)
        generations = tuple(grown if one is known else one for one in self.generations)
        return replace(self, generations=generations), Credit(reading.since(known.reading), known.time)

    def as_json(self) -> dict[str, Any]:
        """Return what `stream_from_json` reads."""
        return {
            "floor": self.floor,
            "generations": [[one.start, one.time, one.reading.as_json()] for one in self.generations],
        }


@dataclass(frozen=True)
class DeltaStream:
    """A stream of increments: the intervals that were counted, joined and ascending, from `floor` on."""

    intervals: tuple[tuple[int, int], ...] = ()
    floor: int = 0

    def credit(self, *, start: int, time: int, reading: Reading) -> tuple["DeltaStream", Credit]:
        """Return the stream after a point, and what the point adds; an interval counts once."""
        if not 0 < start < time:
            start = time - 1
        if start < self.floor:
            return self, Credit(refused=TOO_LATE)
        for low, high in self.intervals:
            if low <= start and time <= high:
                return self, NOTHING
            if start < high and low < time:
                return self, Credit(refused=OVERLAP)
        joined: list[tuple[int, int]] = []
        for low, high in sorted((*self.intervals, (start, time))):
            if joined and joined[-1][1] == low:
                joined[-1] = (joined[-1][0], high)
            else:
                joined.append((low, high))
        forgotten, kept = joined[:-INTERVALS_KEPT], joined[-INTERVALS_KEPT:]
        floor = forgotten[-1][1] if forgotten else self.floor
        return DeltaStream(tuple(kept), floor), Credit(reading, start)

    def as_json(self) -> dict[str, Any]:
        """Return what `stream_from_json` reads."""
        return {"floor": self.floor, "intervals": self.intervals}


Stream = CumulativeStream | DeltaStream


def stream_from_json(data: Mapping[str, Any]) -> Stream:
    """Read what `as_json` wrote."""
    if "intervals" in data:
        return DeltaStream(tuple((low, high) for low, high in data["intervals"]), data["floor"])
    generations = tuple(
        Generation(start, time, reading_from_json(reading)) for start, time, reading in data["generations"]
    )
    return CumulativeStream(generations, data["floor"])

"""What single OTLP data points say, with what cannot be counted refused and named."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from reliability.data import DataState
from reliability.domain.readings import ExponentialReading, HistogramReading, Reading
from reliability.domain.streams import (
    ANOTHER_VALUE,
    BEFORE_WHAT_IS_REMEMBERED,
    ENDS_BEFORE_IT_STARTS,
    OVERLAP,
    TOO_LATE,
    TWO_WRITERS,
)

NO_RECORDED_VALUE = 1
HIGHEST_COUNT = 10**15
MAX_BUCKETS = 10_000
MAX_REASONS = 10
AHEAD = timedelta(minutes=10)
REMEMBERED = timedelta(days=2)
CLOCK_TOLERANCE = timedelta(minutes=5)
TIME_AHEAD = f"a time more than {AHEAD.seconds // 60} minutes ahead of this site's clock"
TIME_PAST = f"a time more than {REMEMBERED.days} days ago, for which repeats can no longer be told"


STATES = {
    ENDS_BEFORE_IT_STARTS: DataState.NOT_COUNTABLE,
    BEFORE_WHAT_IS_REMEMBERED: DataState.TOO_LATE,
    TOO_LATE: DataState.TOO_LATE,
    TWO_WRITERS: DataState.TWO_WRITERS,
    ANOTHER_VALUE: DataState.CONFLICT,
    OVERLAP: DataState.CONFLICT,
    TIME_AHEAD: DataState.CLOCK_SKEW,
    TIME_PAST: DataState.TOO_LATE,
}
"""What an SLO's page says of points that were refused for a reason; for any other, that they cannot be counted."""


@dataclass
class Problem:
    """What was refused of one SLO's events for one kind of reason, in one request."""

    note: str
    refused: int = 0


@dataclass
class Received:
    """What became of a request: how many points or spans were refused, why, and which tallies miss them."""

    now: datetime
    rejected: int = 0
    reasons: list[str] = field(default_factory=list)
    problems: dict[tuple[int, DataState], Problem] = field(default_factory=dict)

    def reject(
        self, count: int, name: str, reason: str, *, tallies: Iterable[int], state: DataState | None = None
    ) -> None:
        """Count refused points of a metric or span."""
        self.rejected += count
        text = f"{name}: {reason}"
        if text not in self.reasons and len(self.reasons) < MAX_REASONS:
            self.reasons.append(text)
        self.note(text, state or STATES.get(reason, DataState.NOT_COUNTABLE), tallies=tallies, refused=count)

    def note(self, text: str, state: DataState, *, tallies: Iterable[int], refused: int = 0) -> None:
        """Tell something about the events of tallies."""
        for tally_id in tallies:
            self.problems.setdefault((tally_id, state), Problem(text)).refused += refused

    def time_problem(self, nano: int) -> str:
        """Return why a time cannot be used, or nothing."""
        if nano > (self.now + AHEAD).timestamp() * 1e9:
            return TIME_AHEAD
        if nano < (self.now - REMEMBERED).timestamp() * 1e9:
            return TIME_PAST
        return ""


def reading_of(kind: str, point: Any) -> Reading | str:
    """Return what a point says, or why it says nothing."""
    return _READERS[kind](point)


def attributes_of(pairs: Sequence[KeyValue]) -> dict[str, str]:
    """Return attributes as text."""
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    return str(getattr(value, kind))


def _read_sum(point: Any) -> Reading | str:
    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
    if not math.isfinite(value) or not 0 <= value <= HIGHEST_COUNT:
        return f"the value {value} is not a count"
    return HistogramReading((), (round(value),))


def _read_histogram(point: Any) -> Reading | str:
    bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    if not counts and not bounds:
        counts = (point.count,)
    if len(counts) != len(bounds) + 1 or sum(counts) != point.count or point.count > HIGHEST_COUNT:
        return "the buckets do not add up to the count"
    if any(not low < high for low, high in itertools.pairwise(bounds)):
        return "the bounds do not ascend"
    return HistogramReading(bounds, counts)


def _read_exponential(point: Any) -> Reading | str:
    counts = point.positive.bucket_counts
    if len(counts) > MAX_BUCKETS or not -10 <= point.scale <= 20:
        return "the scale or the number of buckets is out of range"
    reading = ExponentialReading(
        scale=point.scale,
        zero=point.zero_count,
        negative=sum(point.negative.bucket_counts),
        buckets={point.positive.offset + position: count for position, count in enumerate(counts) if count},
        zero_threshold=point.zero_threshold,
    )
    if reading.total != point.count or point.count > HIGHEST_COUNT:
        return "the buckets do not add up to the count"
    return reading


_READERS = {"sum": _read_sum, "histogram": _read_histogram, "exponential_histogram": _read_exponential}

"""The data points of OTLP metrics in one shape, with what cannot be counted refused and named."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from reliability.domain.readings import ExponentialReading, HistogramReading, Reading

NO_RECORDED_VALUE = 1
HIGHEST_COUNT = 10**15
MAX_BUCKETS = 10_000
MAX_REASONS = 10
AHEAD = timedelta(minutes=10)
REMEMBERED = timedelta(days=2)
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


@dataclass
class Received:
    """What became of a request: how many points or spans were refused, and why."""

    now: datetime
    rejected: int = 0
    reasons: list[str] = field(default_factory=list)

    def reject(self, count: int, reason: str) -> None:
        """Count refused points."""
        self.rejected += count
        if reason not in self.reasons and len(self.reasons) < MAX_REASONS:
            self.reasons.append(reason)

    def time_problem(self, nano: int) -> str:
        """Return why a time cannot be used, or nothing."""
        if nano > (self.now + AHEAD).timestamp() * 1e9:
            return f"a time more than {AHEAD.seconds // 60} minutes ahead of this site's clock"
        if nano < (self.now - REMEMBERED).timestamp() * 1e9:
            return f"a time more than {REMEMBERED.days} days ago, for which repeats can no longer be told"
        return ""


@dataclass(frozen=True)
class Point:
    """A data point; times in nanoseconds since 1970 UTC."""

    attributes: dict[str, str]
    start: int
    time: int
    reading: Reading


def countable_points(metric: Metric, received: Received) -> Iterator[Point]:
    """Return the metric's points that count events; the others are refused in `received`."""
    kind = metric.WhichOneof("data")
    data: Any = getattr(metric, kind) if kind else None
    refusal = _metric_problem(kind, data)
    if refusal:
        received.reject(point_count(metric), f"{metric.name}: {refusal}")
        return
    for point in data.data_points:
        if point.flags & NO_RECORDED_VALUE:
            continue
        reading = _READERS[str(kind)](point)
        problem = received.time_problem(point.time_unix_nano) if not isinstance(reading, str) else reading
        if problem or isinstance(reading, str):
            received.reject(1, f"{metric.name}: {problem}")
            continue
        yield Point(attributes_of(point.attributes), point.start_time_unix_nano, point.time_unix_nano, reading)


def point_count(metric: Metric) -> int:
    """Return how many data points a metric has."""
    kind = metric.WhichOneof("data")
    return len(getattr(metric, kind).data_points) if kind else 0


def is_cumulative(metric: Metric) -> bool:
    """Say whether a metric's points are running totals."""
    return bool(getattr(metric, str(metric.WhichOneof("data"))).aggregation_temporality == CUMULATIVE)


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


def _metric_problem(kind: str | None, data: Any) -> str:
    if kind not in _READERS:
        return f"a {kind or 'metric without data'} does not count events"
    if kind == "sum" and not data.is_monotonic:
        return "a sum that is not monotonic does not count events"
    if data.aggregation_temporality not in {DELTA, CUMULATIVE}:
        return "the aggregation temporality is not given"
    return ""


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

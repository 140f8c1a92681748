"""Receive OpenTelemetry metrics and spans and reduce what SLOs match to counts (OTLP 1.x, data model for metrics).

Delivery is at least once: a repeated point or span is counted once. Everything is committed before the answer.
"""

import base64
import gzip
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.db import transaction
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from core.clock import database_now
from core.parsing import refuse
from reliability.domain.budgets import Counts
from reliability.domain.increments import HistogramReading, exponential_reading, histogram_increment, split_at
from reliability.models import SeenSpan, SLOVersion, StreamState
from reliability.services.tallying import Increments, add_to_tallies, merge

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_POINTS = 100_000
CLOCK_TOLERANCE = timedelta(minutes=5)
FORGET_STREAMS_AFTER = timedelta(days=2)
NO_RECORDED_VALUE = 1
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


@dataclass
class Received:
    """What became of a request: how many points or spans were refused, and why."""

    rejected: int = 0
    reasons: list[str] = field(default_factory=list)

    def reject(self, count: int, reason: str) -> None:
        """Count refused points."""
        self.rejected += count
        if reason not in self.reasons and len(self.reasons) < 10:
            self.reasons.append(reason)


@dataclass(frozen=True)
class _Point:
    """A data point in one shape: a counter has one bucket without a bound."""

    attributes: dict[str, str]
    start: int
    time: int
    reading: HistogramReading
    flags: int


def decode(body: bytes, *, encoding: str, content_type: str, request: Message) -> None:
    """Fill `request` from a request's body. Raises InputRefusedError for what is not well formed or too large."""
    if encoding == "gzip":
        body = _inflate(body)
    elif encoding not in {"", "identity"}:
        raise refuse("Content-Encoding", found=encoding, allowed="gzip or identity is allowed")
    if len(body) > MAX_BODY_BYTES:
        raise refuse("body", found=f"{len(body)} bytes", allowed=f"at most {MAX_BODY_BYTES} bytes are allowed")
    if content_type == "application/x-protobuf":
        try:
            request.ParseFromString(body)
        except DecodeError:
            raise refuse(
                "body", found="bytes that are not the message", allowed="an OTLP export request is allowed"
            ) from None
    elif content_type == "application/json":
        try:
            ParseDict(_with_base64_ids(orjson.loads(body)), request, ignore_unknown_fields=True)
        except (orjson.JSONDecodeError, ParseError, ValueError, AttributeError) as error:
            raise refuse("body", found=str(error)[:200], allowed="an OTLP export request in JSON is allowed") from None
    else:
        raise refuse(
            "Content-Type", found=content_type, allowed="application/x-protobuf or application/json is allowed"
        )


@transaction.atomic
def receive_metrics(request: ExportMetricsServiceRequest) -> Received:
    """Count the points that SLOs match."""
    received = Received()
    versions = _versions("metric")
    increments: Increments = {}
    points = 0
    for resource_metrics in request.resource_metrics:
        resource = _attributes(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                points += _point_count(metric)
                if points > MAX_POINTS:
                    raise refuse("body", found=f"more than {MAX_POINTS} points", allowed="send smaller batches")
                matching = [v for v in versions.get(metric.name, []) if _resource_matches(v, resource)]
                if matching:
                    identity = [sorted(resource.items()), scope_metrics.scope.name, metric.name, metric.unit]
                    _receive_metric(metric, matching, identity, increments, received)
    add_to_tallies(increments)
    return received


@transaction.atomic
def receive_spans(request: ExportTraceServiceRequest) -> Received:
    """Count the spans that SLOs match; each span once."""
    received = Received()
    versions = _versions("span")
    increments: Increments = {}
    now = database_now()
    for resource_spans in request.resource_spans:
        resource = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                matching = [v for v in versions.get(span.name, []) if _resource_matches(v, resource)]
                if not matching:
                    continue
                if len(span.trace_id) != 16 or len(span.span_id) != 8 or not span.end_time_unix_nano:
                    received.reject(1, "a span needs a 16-byte trace id, an 8-byte span id and an end time")
                    continue
                digest = hashlib.sha256(span.trace_id + span.span_id).hexdigest()
                _, fresh = SeenSpan.objects.get_or_create(digest=digest, defaults={"seen_at": now})
                if fresh:
                    attributes = {
                        **_attributes(span.attributes),
                        "span.kind": str(span.kind),
                        "status": {0: "unset", 1: "ok", 2: "error"}[span.status.code],
                    }
                    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
                    for version in matching:
                        _count_span(version, attributes, seconds, span.end_time_unix_nano, increments)
    add_to_tallies(increments)
    return received


def forget_old_streams() -> None:
    """Drop the state of streams and spans that were not seen for days."""
    horizon = database_now() - FORGET_STREAMS_AFTER
    StreamState.objects.filter(seen_at__lt=horizon).delete()
    SeenSpan.objects.filter(seen_at__lt=horizon).delete()


def _versions(signal: str) -> dict[str, list[SLOVersion]]:
    found: dict[str, list[SLOVersion]] = {}
    for version in SLOVersion.objects.filter(retired_at__isnull=True, source_type="otlp"):
        if name := version.indicator["total"][signal]:
            found.setdefault(name, []).append(version)
    return found


def _resource_matches(version: SLOVersion, resource: dict[str, str]) -> bool:
    wanted = version.indicator["total"]["resource"]
    return all(resource.get(key) == value for key, value in wanted.items())


def _receive_metric(
    metric: Metric, versions: list[SLOVersion], stream: list[Any], increments: Increments, received: Received
) -> None:
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind) if kind else None
    if kind not in {"sum", "histogram", "exponential_histogram"} or data is None:
        received.reject(_point_count(metric), f"{metric.name}: a {kind or 'metric without data'} does not count events")
        return
    if kind == "sum" and not data.is_monotonic:
        received.reject(_point_count(metric), f"{metric.name}: a sum that is not monotonic does not count events")
        return
    if data.aggregation_temporality not in {DELTA, CUMULATIVE}:
        received.reject(_point_count(metric), f"{metric.name}: the aggregation temporality is not given")
        return
    identity = orjson.dumps([*stream, kind])
    for point in _points(metric, kind, received):
        if point.flags & NO_RECORDED_VALUE:
            continue
        digest = hashlib.sha256(identity + orjson.dumps(sorted(point.attributes.items()))).hexdigest()
        _credit(digest, point, versions, increments, cumulative=data.aggregation_temporality == CUMULATIVE)


def _credit(
    digest: str, point: _Point, versions: list[SLOVersion], increments: Increments, *, cumulative: bool
) -> None:
    """Add a point's increment to every version that it matches, once."""
    state = StreamState.objects.select_for_update().filter(digest=digest).first()
    moment = _instant(point.time)
    known = _reading_of(state) if state else None
    if state is not None and point.time <= state.time_nano and (cumulative or point.start == state.started_at_nano):
        increment, credited_from = HistogramReading(point.reading.bounds, (0,) * len(point.reading.counts)), None
    elif not cumulative:
        increment, credited_from = point.reading, point.start
    elif state is None or (point.start and point.start > state.time_nano):
        # A new stream, or a restart whose begin is known: everything since its start is news.
        increment, credited_from = point.reading, point.start
    else:
        increment, credited_from = histogram_increment(known, point.reading), None
    StreamState.objects.update_or_create(
        digest=digest,
        defaults={
            "started_at_nano": point.start,
            "time_nano": max(point.time, state.time_nano if state else 0),
            "reading": {"bounds": point.reading.bounds, "counts": point.reading.counts}
            if state is None or point.time > state.time_nano
            else state.reading,
            "seen_at": database_now(),
        },
    )
    for version in versions:
        counts = _count(version, point.attributes, increment)
        if counts is None:
            continue
        begun_before = credited_from is not None and _instant(credited_from) < version.effective_from - CLOCK_TOLERANCE
        # What a stream counted before anybody listened cannot be told apart by minute: it is not credited.
        merge(
            increments,
            version_id=version.pk,
            minute=int(moment.timestamp() // 60),
            counts=Counts() if begun_before else counts,
        )


def _count(version: SLOVersion, attributes: dict[str, str], increment: HistogramReading) -> Counts | None:
    """Return an increment as events, or None when the point is not of the SLO's population."""
    good, total = version.indicator["good"], version.indicator["total"]
    if not _where(total["where"], attributes):
        return None
    if not _where(good["where"], attributes):
        return Counts(bad=increment.total)
    if good["le"] is None:
        return Counts(good=increment.total)
    below, above, unknown = split_at(increment, good["le"])
    return Counts(good=below, bad=above, unknown=unknown)


def _count_span(
    version: SLOVersion, attributes: dict[str, str], seconds: float, end: int, increments: Increments
) -> None:
    good, total = version.indicator["good"], version.indicator["total"]
    if _where(total["where"], attributes):
        is_good = _where(good["where"], attributes) and (good["le"] is None or seconds <= good["le"])
        counts = Counts(good=1) if is_good else Counts(bad=1)
        merge(increments, version_id=version.pk, minute=int(_instant(end).timestamp() // 60), counts=counts)


def _where(wanted: dict[str, str], attributes: dict[str, str]) -> bool:
    return all(attributes.get(key) == value for key, value in wanted.items())


def _points(metric: Metric, kind: str, received: Received) -> Iterable[_Point]:
    for point in getattr(metric, kind).data_points:
        if kind == "sum":
            value = point.as_int if point.WhichOneof("value") == "as_int" else round(point.as_double)
            reading = HistogramReading((), (value,))
        elif kind == "histogram":
            if point.bucket_counts:
                reading = HistogramReading(tuple(point.explicit_bounds), tuple(point.bucket_counts))
            else:
                reading = HistogramReading((), (point.count,))
            if len(reading.counts) != len(reading.bounds) + 1 or reading.total != point.count:
                received.reject(1, f"{metric.name}: the buckets do not add up to the count")
                continue
        else:
            reading = exponential_reading(
                scale=point.scale,
                zero_count=point.zero_count,
                offset=point.positive.offset,
                counts=list(point.positive.bucket_counts),
                negative_count=sum(point.negative.bucket_counts),
            )
            if reading.total != point.count:
                received.reject(1, f"{metric.name}: the buckets do not add up to the count")
                continue
        if any(count < 0 for count in reading.counts) or not point.time_unix_nano:
            received.reject(1, f"{metric.name}: a point needs a time and counts that are not negative")
            continue
        yield _Point(
            _attributes(point.attributes), point.start_time_unix_nano, point.time_unix_nano, reading, point.flags
        )


def _point_count(metric: Metric) -> int:
    kind = metric.WhichOneof("data")
    return len(getattr(metric, kind).data_points) if kind else 0


def _reading_of(state: StreamState) -> HistogramReading:
    return HistogramReading(tuple(state.reading["bounds"]), tuple(state.reading["counts"]))


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, str]:
    return {pair.key: _text(pair.value) for pair in pairs}


def _text(value: AnyValue) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    return str(getattr(value, kind))


def _instant(nano: int) -> datetime:
    return datetime.fromtimestamp(nano / 1e9, UTC)


def _inflate(body: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            inflated = file.read(MAX_BODY_BYTES + 1)
    except (OSError, EOFError):
        raise refuse("body", found="bytes that are not gzip", allowed="a gzip body is allowed") from None
    if len(inflated) > MAX_BODY_BYTES:
        raise refuse("body", found=f"more than {MAX_BODY_BYTES} bytes", allowed="send smaller batches")
    return inflated


def _with_base64_ids(data: Any) -> Any:
    """OTLP's JSON carries ids in hex where protobuf's JSON has base64."""
    if isinstance(data, dict):
        return {
            key: base64.b64encode(bytes.fromhex(value)).decode()
            if key in {"traceId", "spanId", "parentSpanId"} and isinstance(value, str)
            else _with_base64_ids(value)
            for key, value in data.items()
        }
    return [_with_base64_ids(item) for item in data] if isinstance(data, list) else data

"""Receive OpenTelemetry metrics and spans and reduce what SLOs match to counts (OTLP 1.x, data model for metrics).

Delivery is at least once: a repeated point or span is counted once. Everything is committed before the answer.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import orjson
from django.db import transaction
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.clock import database_now
from core.parsing import refuse
from reliability.domain.budgets import Counts
from reliability.domain.readings import Reading
from reliability.domain.streams import Credit, CumulativeStream, DeltaStream, Stream, stream_from_json
from reliability.models import SeenSpan, SLOVersion, StreamState
from reliability.services.otlp_points import (
    REMEMBERED,
    Point,
    Received,
    attributes_of,
    countable_points,
    is_cumulative,
    point_count,
)
from reliability.services.tallying import Increments, add_to_tallies, lock_tallies, merge

MAX_POINTS = 100_000
CLOCK_TOLERANCE = timedelta(minutes=5)
LONGEST_COVER_MINUTES = 60
NANO = 1_000_000_000
SPAN_STATUS = {0: "unset", 1: "ok", 2: "error"}


@dataclass(frozen=True)
class _Matched:
    """A point with its stream and the SLO versions whose events it holds."""

    digest: str
    cumulative: bool
    point: Point
    metric: str
    versions: tuple[SLOVersion, ...]


@transaction.atomic
def receive_metrics(request: ExportMetricsServiceRequest) -> Received:
    """Count the points that SLOs match."""
    received = Received(database_now())
    matched = list(_matched_points(request, received))
    if not matched:
        return received
    lock_tallies(version.tally_id for one in matched for version in one.versions)
    digests = {one.digest for one in matched}
    streams: dict[str, Stream] = {
        row.digest: stream_from_json(row.state) for row in StreamState.objects.filter(digest__in=digests)
    }
    increments: Increments = {}
    for one in matched:
        stream = streams.get(one.digest) or (CumulativeStream() if one.cumulative else DeltaStream())
        point = one.point
        streams[one.digest], credit = stream.credit(start=point.start, time=point.time, reading=point.reading)
        if credit.refused:
            received.reject(1, f"{one.metric}: {credit.refused}")
            continue
        for version in one.versions:
            _credit(version, point, credit, increments)
    StreamState.objects.bulk_create(
        [
            StreamState(digest=digest, state=streams[digest].as_json(), seen_at=received.now)
            for digest in sorted(digests)
        ],
        batch_size=500,
        update_conflicts=True,
        unique_fields=["digest"],
        update_fields=["state", "seen_at"],
    )
    add_to_tallies(increments)
    return received


@transaction.atomic
def receive_spans(request: ExportTraceServiceRequest) -> Received:
    """Count the spans that SLOs match; each span once."""
    received = Received(database_now())
    found: dict[str, tuple[Span, tuple[SLOVersion, ...]]] = {}
    versions = _versions("span")
    for resource_spans in request.resource_spans:
        resource = attributes_of(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                matching = _matching(versions.get(span.name, ()), resource)
                if not matching:
                    continue
                if problem := _span_problem(span, received):
                    received.reject(1, f"{span.name}: {problem}")
                    continue
                found.setdefault(hashlib.sha256(span.trace_id + span.span_id).hexdigest(), (span, matching))
                if len(found) > MAX_POINTS:
                    raise refuse("body", found=f"more than {MAX_POINTS} spans", allowed="send smaller batches")
    if not found:
        return received
    lock_tallies(version.tally_id for _, matching in found.values() for version in matching)
    seen = set(SeenSpan.objects.filter(digest__in=found).values_list("digest", flat=True))
    fresh = {digest: one for digest, one in found.items() if digest not in seen}
    SeenSpan.objects.bulk_create([SeenSpan(digest=one, seen_at=received.now) for one in fresh], batch_size=500)
    increments: Increments = {}
    for span, matching in fresh.values():
        for version in matching:
            _count_span(version, span, increments)
    add_to_tallies(increments)
    return received


def forget_old_streams() -> None:
    """Drop the state of streams and spans that were not seen for longer than a late point is taken."""
    horizon = database_now() - 2 * REMEMBERED
    StreamState.objects.filter(seen_at__lt=horizon).delete()
    SeenSpan.objects.filter(seen_at__lt=horizon).delete()


def _matched_points(request: ExportMetricsServiceRequest, received: Received) -> Iterable[_Matched]:
    versions = _versions("metric")
    points = 0
    for resource_metrics in request.resource_metrics:
        resource = attributes_of(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                points += point_count(metric)
                if points > MAX_POINTS:
                    raise refuse("body", found=f"more than {MAX_POINTS} points", allowed="send smaller batches")
                matching = _matching(versions.get(metric.name, ()), resource)
                if not matching:
                    continue
                kind = metric.WhichOneof("data")
                identity = [sorted(resource.items()), scope_metrics.scope.name, metric.name, metric.unit, kind]
                for point in countable_points(metric, received):
                    cumulative = is_cumulative(metric)
                    stream = orjson.dumps([*identity, cumulative, sorted(point.attributes.items())])
                    yield _Matched(hashlib.sha256(stream).hexdigest(), cumulative, point, metric.name, matching)


def _versions(signal: str) -> dict[str, list[SLOVersion]]:
    found: dict[str, list[SLOVersion]] = {}
    in_force = SLOVersion.objects.filter(retired_at__isnull=True, source_type="otlp").select_related("counts_with")
    for version in in_force:
        if name := version.indicator["total"][signal]:
            found.setdefault(name, []).append(version)
    return found


def _matching(versions: Iterable[SLOVersion], resource: Mapping[str, str]) -> tuple[SLOVersion, ...]:
    return tuple(version for version in versions if _has(version.indicator["total"]["resource"], resource))


def _credit(version: SLOVersion, point: Point, credit: Credit, increments: Increments) -> None:
    """Add what a point adds to a version's minutes."""
    counted_from = (version.counted_from - CLOCK_TOLERANCE).timestamp() * NANO
    minute = _minute(point.time)
    if point.time < counted_from or not _has(version.indicator["total"]["where"], point.attributes):
        return
    counts = Counts()
    if credit.increment is not None and credit.since >= counted_from:
        # What a stream counted before the SLO took effect is not the SLO's.
        counts = _count(version, point.attributes, credit.increment)
        first = max(_minute(credit.since) + 1, minute - LONGEST_COVER_MINUTES)
        for covered in range(first, minute):
            merge(increments, tally_id=version.tally_id, minute=covered, counts=Counts())
    merge(increments, tally_id=version.tally_id, minute=minute, counts=counts)


def _count(version: SLOVersion, attributes: Mapping[str, str], increment: Reading) -> Counts:
    """Return an increment as events."""
    good = version.indicator["good"]
    if not _has(good["where"], attributes):
        return Counts(bad=increment.total)
    if good["le"] is None:
        return Counts(good=increment.total)
    below, above, unknown = increment.split_at(good["le"])
    return Counts(good=below, bad=above, unknown=unknown)


def _count_span(version: SLOVersion, span: Span, increments: Increments) -> None:
    good, total = version.indicator["good"], version.indicator["total"]
    attributes = {
        **attributes_of(span.attributes),
        "span.kind": str(span.kind),
        "status": SPAN_STATUS.get(span.status.code, "unset"),
    }
    early = span.end_time_unix_nano < (version.counted_from - CLOCK_TOLERANCE).timestamp() * NANO
    if early or not _has(total["where"], attributes):
        return
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / NANO
    is_good = _has(good["where"], attributes) and (good["le"] is None or seconds <= good["le"])
    counts = Counts(good=1) if is_good else Counts(bad=1)
    merge(increments, tally_id=version.tally_id, minute=_minute(span.end_time_unix_nano), counts=counts)


def _span_problem(span: Span, received: Received) -> str:
    if len(span.trace_id) != 16 or len(span.span_id) != 8:
        return "a span needs a 16-byte trace id and an 8-byte span id"
    if span.end_time_unix_nano < span.start_time_unix_nano:
        return "a span that ends before it starts"
    return received.time_problem(span.end_time_unix_nano)


def _has(wanted: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
    return all(attributes.get(key) == value for key, value in wanted.items())


def _minute(nano: int) -> int:
    return nano // (60 * NANO)

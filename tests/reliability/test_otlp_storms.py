"""Streams of every kind, sent in any order, again and again, by a receiver that remembers between requests."""

import time
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from core.clock import database_now
from reliability.models import Exemplar, SLOVersion, StreamBlock
from reliability.selectors import minute_of
from reliability.services import look_after_tallies, receive_metrics
from reliability.services.otlp_streams import forget_blocks
from tests.reliability.conftest import forget_tallies
from tests.reliability.test_otlp import counted, export

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOW = int(time.time())


@pytest.fixture(scope="module", autouse=True)
def _now() -> None:
    """Events are of today's hour, however long ago the tests were collected."""
    global NOW  # noqa: PLW0603 read by every test
    NOW = int(time.time())


TRACE = bytes(range(16))
Point = tuple[int, int, list[int]]
LIVES = st.lists(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=4), min_size=1, max_size=3
)


def points_of(lives: list[list[tuple[int, int]]], *, delta: bool) -> list[Point]:
    """Return the points of a stream that restarts between its lives; as increments, or as running totals."""
    points, at = [], NOW
    for life in lives:
        start, good, bad = at, 0, 0
        for more_good, more_bad in life:
            good, bad, begin = (more_good, more_bad, at) if delta else (good + more_good, bad + more_bad, start)
            at += 2
            points.append((begin, at, [good, bad]))
        at += 1
    return points


def request_of(points: list[tuple[str, Point]], *, delta: bool) -> Any:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "gateway"
    metric = resource.scope_metrics.add().metrics.add(name="ttft", unit="s")
    metric.histogram.aggregation_temporality = AggregationTemporality.ValueType(1 if delta else 2)
    for route, (start, end, counts) in points:
        point = metric.histogram.data_points.add(
            start_time_unix_nano=start * 10**9,
            time_unix_nano=end * 10**9,
            explicit_bounds=[1.0],
            bucket_counts=counts,
            count=sum(counts),
        )
        point.attributes.add(key="route").value.string_value = route
    return request


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.dictionaries(st.sampled_from("abc"), LIVES, min_size=1), st.booleans(), st.data())
def test_whatever_is_repeated_late_or_reordered_each_event_counts_once(
    version: SLOVersion,
    django_capture_on_commit_callbacks: Any,
    streams: dict[str, list[list[tuple[int, int]]]],
    delta: bool,
    data: st.DataObject,
) -> None:
    forget_tallies()
    StreamBlock.objects.all().delete()
    forget_blocks()
    sent = [(route, point) for route, lives in streams.items() for point in points_of(lives, delta=delta)]
    repeats = data.draw(st.lists(st.sampled_from(sent), max_size=10))
    order = sent + repeats if data.draw(st.booleans()) else data.draw(st.permutations([*sent, *repeats]))
    position = 0
    while position < len(order):
        size = data.draw(st.integers(1, 6))
        request = request_of(order[position : position + size], delta=delta)
        if data.draw(st.integers(0, 4)) == 0:
            # A request that fails after it was counted: nothing of it may be remembered.
            with transaction.atomic():
                receive_metrics(request)
                transaction.set_rollback(True)
        if data.draw(st.integers(0, 4)) == 0:
            forget_blocks()
        with django_capture_on_commit_callbacks(execute=True):
            assert receive_metrics(request).rejected == 0
        position += size
    truth = [sum(step[side] for lives in streams.values() for life in lives for step in life) for side in (0, 1)]
    assert counted(version) == tuple(truth)


def with_exemplars(at: int, bad: int, count: int) -> Any:
    request = export((NOW, at, [1, bad]))
    point = request.resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]
    for number in range(count):
        trace = bytes([number]) + TRACE[1:]
        point.exemplars.add(trace_id=trace, span_id=bytes(8), as_double=3.0, time_unix_nano=NOW * 10**9)
    point.exemplars.add(trace_id=TRACE[::-1], span_id=bytes(8), as_double=0.2, time_unix_nano=NOW * 10**9)
    return request


def test_five_traces_of_bad_events_are_kept_for_a_minute_and_dropped_with_it(
    version: SLOVersion, django_capture_on_commit_callbacks: Any
) -> None:
    at = NOW // 60 * 60 + 70
    for number, (bad, count) in enumerate([(1, 3), (2, 3), (9, 9)]):
        with django_capture_on_commit_callbacks(execute=True):
            assert receive_metrics(with_exemplars(at + number, bad, count)).rejected == 0
    kept = list(Exemplar.objects.filter(minute=at // 60))
    assert len(kept) == len({one.trace_id for one in kept}) == 5
    assert {one.value for one in kept} == {3.0}
    assert TRACE[::-1].hex() not in {one.trace_id for one in kept}
    Exemplar.objects.update(minute=minute_of(database_now()) - 92 * 1440)
    look_after_tallies()
    assert not Exemplar.objects.exists()

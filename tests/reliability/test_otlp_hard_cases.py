"""What a receiver meets besides good requests: hostile bodies, odd points, crashes between commit and answer."""

import math
import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from accounts.data import Capability, Role
from accounts.services import create_api_token, create_user, grant_role
from core.clock import database_now
from reliability.models import SLO, SLOVersion, StreamBlock
from reliability.selectors import counts_in_last, data_statuses, minute_of
from reliability.services import receive_metrics, receive_spans
from tests.reliability.conftest import SITE, TTFT, apply, minutes_of
from tests.reliability.test_otlp import counted, export, post

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOW = time.time()


@pytest.fixture(scope="module", autouse=True)
def _now() -> None:
    """Events are of today's hour, however long ago the tests were collected."""
    global NOW  # noqa: PLW0603 read by every test
    NOW = time.time()


@pytest.fixture
def token(db: None) -> str:
    user = create_user(principal=SITE, username="collector", password=None)
    grant_role(principal=SITE, user=user, role=Role.RESPONDER)
    return create_api_token(principal=SITE, owner=user, name="otlp", scopes=[Capability.TELEMETRY_INGEST])[1]


def sum_of(value: float, *, at: float = NOW + 5, monotonic: bool = True, temporality: int = 2) -> Any:
    request = export()
    metric = request.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.ClearField("histogram")
    metric.sum.is_monotonic = monotonic
    metric.sum.aggregation_temporality = AggregationTemporality.ValueType(temporality)
    metric.sum.data_points.add(start_time_unix_nano=int(NOW * 1e9), time_unix_nano=int(at * 1e9), as_double=value)
    return request


@pytest.mark.parametrize(
    ("request_", "reason", "state"),
    [
        (sum_of(math.nan), "not a count", "ODD VALUES"),
        (sum_of(math.inf), "not a count", "ODD VALUES"),
        (sum_of(-1), "not a count", "ODD VALUES"),
        (sum_of(1e18), "not a count", "ODD VALUES"),
        (sum_of(1, monotonic=False), "not monotonic", "NOT COUNTABLE"),
        (sum_of(1, temporality=0), "temporality", "NOT COUNTABLE"),
        (sum_of(1, at=NOW + 3600), "ahead of this site's clock", "CLOCK SKEW"),
        (sum_of(1, at=NOW - 4 * 86_400), "days ago", "TOO LATE"),
        (export((NOW, NOW + 5, [1, 2, 3])), "do not add up", "NOT COUNTABLE"),
    ],
)
def test_a_point_that_cannot_be_counted_is_refused_by_name_and_shown(
    version: SLOVersion, request_: Any, reason: str, state: str
) -> None:
    receive_metrics(export((NOW, NOW + 2, [3, 1])))
    received = receive_metrics(request_)
    assert received.rejected == 1
    assert reason in received.reasons[0]
    assert received.reasons[0].startswith("ttft: ")
    assert counted(version) == (3, 1)
    receive_metrics(request_)
    (status,) = data_statuses([version]).values()
    assert (status.state, status.mode) == (state, "pushed")
    assert reason in status.detail
    assert "2 refused so far" in status.detail
    if connection.vendor == "sqlite":  # a database server has a clock of its own
        with time_machine.travel(time.time() + 4000):
            assert data_statuses([version])[version.pk].state == "OK"


@pytest.mark.parametrize(
    ("points", "state"),
    [
        ([(0, 5, [3, 1]), (0, 5, [4, 1])], "CONFLICT"),
        ([(0, 5, [3, 1]), (3, 6, [1, 1])], "TWO WRITERS"),
        ([(0, 5, [3, 1]), (9, 8, [1, 1])], "NOT COUNTABLE"),
    ],
)
def test_what_contradicts_what_was_counted_changes_nothing_and_is_shown(
    version: SLOVersion, points: Any, state: str
) -> None:
    sent = [(NOW + since, NOW + until, buckets) for since, until, buckets in points]
    assert receive_metrics(export(*sent)).rejected == 1
    assert counted(version) == (3, 1)
    assert data_statuses([version])[version.pk].state == state


def test_an_slo_whose_metric_never_came_is_waiting(version: SLOVersion) -> None:
    receive_metrics(export((NOW, NOW + 5, [3, 1]), service="other"))
    (status,) = data_statuses([version]).values()
    assert (status.state, "No point or span" in status.detail) == ("WAITING", True)


def exponential(buckets: dict[int, int], scale: int, at: float) -> Any:
    request = export()
    metric = request.resource_metrics[0].scope_metrics[0].metrics[0]
    metric.ClearField("histogram")
    metric.exponential_histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
    point = metric.exponential_histogram.data_points.add(
        start_time_unix_nano=int(NOW * 1e9), time_unix_nano=int(at * 1e9), scale=scale, count=sum(buckets.values())
    )
    point.positive.offset = min(buckets)
    point.positive.bucket_counts.extend(buckets.get(i, 0) for i in range(min(buckets), max(buckets) + 1))
    return request


def test_an_exponential_histogram_that_changes_its_scale_counts_nothing_twice(version: SLOVersion) -> None:
    receive_metrics(exponential({-2: 4, 1: 1}, 1, NOW + 5))  # 4 up to 1 s, 1 above
    assert data_statuses([version])[version.pk].state == "OK"
    receive_metrics(exponential({-1: 6, 0: 1, 3: 2}, 0, NOW + 10))  # at half the scale, 2 more each
    assert counted(version) == (6, 3)
    (status,) = data_statuses([version]).values()
    assert (status.state, "from 1 to 0" in status.detail) == ("SCALE CHANGED", True)


def test_an_alert_policy_that_changes_goes_on_with_the_same_counts(version: SLOVersion) -> None:
    receive_metrics(export((NOW, NOW + 5, [3, 1])))
    apply(TTFT.replace("0.95", "0.9").replace(">2 min", ">3 min"))
    newer = SLO.objects.get(slug="gateway-ttft").versions.get(retired_at__isnull=True)
    assert (newer.number, newer.counts_with_id) == (2, version.pk)
    receive_metrics(export((NOW, NOW + 9, [4, 1])))
    assert counted(newer) == (4, 1)
    apply(TTFT.replace("le: 1.0", "le: 0.5"))
    other = SLO.objects.get(slug="gateway-ttft").versions.get(retired_at__isnull=True)
    assert other.counts_with_id is None
    assert counted(other) == (0, 0)


def test_minutes_between_two_points_of_a_living_counter_are_measured(version: SLOVersion) -> None:
    SLOVersion.objects.update(effective_from=database_now() - timedelta(hours=1))
    receive_metrics(export((NOW - 1000, NOW - 900, [1, 0])))
    receive_metrics(export((NOW - 1000, NOW, [2, 0])))
    minutes = {minute for minute, _ in minutes_of(version)}
    assert set(range(int((NOW - 900) // 60), int(NOW // 60) + 1)) <= minutes


def test_an_answer_that_was_lost_after_the_commit_counts_once(
    client: Client, version: SLOVersion, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = export((NOW, NOW + 5, [3, 1]), delta=True).SerializeToString()

    def crash(*_: Any) -> bytes:
        raise ConnectionAbortedError("killed between the commit and the answer")

    with monkeypatch.context() as patched:
        patched.setattr(ExportMetricsServiceResponse, "SerializeToString", crash, raising=False)
        with pytest.raises(ConnectionAbortedError):
            post(client, body, token)
    assert counted(version) == (3, 1)
    assert post(client, body, token).status_code == 200
    assert counted(version) == (3, 1)


def test_a_token_without_the_scope_is_refused(client: Client, version: SLOVersion) -> None:
    user = create_user(principal=SITE, username="bob", password=None)
    grant_role(principal=SITE, user=user, role=Role.RESPONDER)
    _, secret = create_api_token(principal=SITE, owner=user, name="other", scopes=[Capability.OPERATIONS_VIEW])
    answer = client.post(
        "/v1/metrics", b"{}", content_type="application/json", headers={"Authorization": f"Bearer {secret}"}
    )
    assert answer.status_code == 403
    assert answer.json()["code"] == 7


@pytest.mark.parametrize(
    "body",
    [
        b"[1]",
        b'"x"',
        b"[" * 900 + b"]" * 900,
        b'{"resourceMetrics": 5}',
        b'{"resourceMetrics": [{"resource": "x"}]}',
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": 7}]}]}]}',
        b'{"resourceMetrics": ["x"]}',
    ],
)
def test_json_of_another_shape_is_refused_with_a_status(
    client: Client, version: SLOVersion, token: str, body: bytes
) -> None:
    answer = post(client, body, token, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["code"] == 3


@pytest.mark.parametrize(("size", "status"), [(5_000_000, 200), (20_000_000, 400)])
def test_a_body_of_some_megabytes_is_taken_and_a_larger_one_refused_with_a_status(
    client: Client, version: SLOVersion, token: str, size: int, status: int
) -> None:
    request = export((NOW, NOW + 5, [3, 1]))
    request.resource_metrics[0].resource.attributes.add(key="padding").value.string_value = "x" * size
    answer = post(client, request.SerializeToString(), token)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/x-protobuf"
    assert counted(version) == ((3, 1) if status == 200 else (0, 0))
    (shown,) = data_statuses([version]).values()
    assert shown.state == ("OK" if status == 200 else "BODY REFUSED")
    assert ("the token otlp" in shown.detail) is (status != 200)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_mutilated_body_is_an_error_of_the_site(
    client: Client, version: SLOVersion, token: str, data: st.DataObject
) -> None:
    body = bytearray(export((NOW, NOW + 5, [3, 1]), (NOW, NOW + 9, [4, 1])).SerializeToString())
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    assert post(client, bytes(body[: data.draw(st.integers(0, len(body)))]), token).status_code in {200, 400}


SPANS = TTFT.replace("metric: ttft", "span: GET /completions").replace(
    "resource: {service.name: gateway}, le: 1.0", "resource: {service.name: gateway}, where: {status: unset}, le: 1.0"
)


def spans(*seconds: float, first_id: int = 1, error: bool = False) -> Any:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = "gateway"
    scope = resource_spans.scope_spans.add()
    for number, length in enumerate(seconds, start=first_id):
        span = scope.spans.add(name="GET /completions", trace_id=b"t" * 16, span_id=number.to_bytes(8, "big"))
        span.start_time_unix_nano = int(NOW * 1e9)
        span.end_time_unix_nano = int((NOW + length) * 1e9)
        span.status.code = Status.STATUS_CODE_ERROR if error else Status.STATUS_CODE_UNSET
    return request


def test_spans_are_events_and_each_counts_once(catalog: None) -> None:
    apply(SPANS)
    version = SLO.objects.get().versions.get()
    for _ in range(2):
        receive_spans(spans(0.2, 0.9, 1.5))
    receive_spans(spans(0.1, first_id=9, error=True))
    assert counted(version) == (2, 2)


def test_a_span_with_a_short_id_is_refused(catalog: None) -> None:
    apply(SPANS)
    request = spans(0.2)
    request.resource_spans[0].scope_spans[0].spans[0].span_id = b"short"
    assert receive_spans(request).rejected == 1


def test_a_request_of_a_thousand_points_asks_a_fixed_number_of_queries(
    version: SLOVersion, django_assert_max_num_queries: Any
) -> None:
    request = ExportMetricsServiceRequest()
    for instance in range(1000):
        one = export((NOW, NOW + 5, [3, 1]))
        one.resource_metrics[0].resource.attributes.add(key="service.instance.id").value.string_value = str(instance)
        request.resource_metrics.extend(one.resource_metrics)
    with django_assert_max_num_queries(22):
        receive_metrics(request)
    assert counted(version) == (3000, 1000)
    assert StreamBlock.objects.count() == 1000
    assert counts_in_last(version=version, minutes=60, now=database_now()).total == 4000
    assert minute_of(database_now()) > 0

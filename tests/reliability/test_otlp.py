"""The receiver, with requests of the real OpenTelemetry SDK exporter and with hand-made ones."""

import gzip
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from accounts.data import Capability, Role
from accounts.services import create_api_token, create_user, grant_role
from core.work import drain
from ledger.selectors import entries
from reliability.data import BudgetState
from reliability.models import BurnAlert, SLOVersion, StreamBlock, TallyBlock
from reliability.selectors import budget_status, counts_in_last, sums_before
from reliability.services import evaluate, receive_metrics
from tests.reliability.conftest import SITE, forget_tallies

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOW = time.time()


@pytest.fixture(scope="module", autouse=True)
def _now() -> None:
    """Events are of today's hour, however long ago the tests were collected."""
    global NOW  # noqa: PLW0603 read by every test
    NOW = time.time()


@pytest.fixture
def token() -> str:
    user = create_user(principal=SITE, username="collector", password=None)
    grant_role(principal=SITE, user=user, role=Role.RESPONDER)
    _, secret = create_api_token(principal=SITE, owner=user, name="otlp", scopes=[Capability.TELEMETRY_INGEST])
    return secret


def export(*points: tuple[float, float, list[int]], delta: bool = False, service: str = "gateway") -> Any:
    """A request with histogram points (start, time, counts for buckets up to 1 s and above)."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    attribute = resource.resource.attributes.add(key="service.name")
    attribute.value.string_value = service
    metric = resource.scope_metrics.add().metrics.add(name="ttft", unit="s")
    temporality = 1 if delta else 2
    metric.histogram.aggregation_temporality = AggregationTemporality.ValueType(temporality)
    for start, end, counts in points:
        metric.histogram.data_points.add(
            start_time_unix_nano=int(start * 1e9),
            time_unix_nano=int(end * 1e9),
            explicit_bounds=[1.0],
            bucket_counts=counts,
            count=sum(counts),
        )
    return request


def counted(version: SLOVersion) -> tuple[int, int]:
    from core.clock import database_now

    counts = counts_in_last(version=version, minutes=60, now=database_now() + timedelta(minutes=30))
    return counts.good, counts.bad


def test_cumulative_points_are_counted_once_however_often_they_are_sent(version: SLOVersion) -> None:
    for _ in range(3):
        receive_metrics(export((NOW, NOW + 5, [3, 1])))
    receive_metrics(export((NOW, NOW + 10, [5, 1])))
    receive_metrics(export((NOW, NOW + 5, [3, 1])))
    assert counted(version) == (5, 1)


def test_a_restart_is_credited_in_full(version: SLOVersion) -> None:
    receive_metrics(export((NOW, NOW + 5, [3, 1])))
    receive_metrics(export((NOW + 6, NOW + 9, [4, 2])))
    assert counted(version) == (7, 3)


def test_what_a_stream_counted_before_the_slo_existed_is_not_credited(version: SLOVersion) -> None:
    receive_metrics(export((NOW - 86_400, NOW, [1000, 1000])))
    receive_metrics(export((NOW - 86_400, NOW + 5, [1002, 1001])))
    assert counted(version) == (2, 1)
    assert TallyBlock.objects.exists()


def test_other_services_are_not_counted(version: SLOVersion) -> None:
    receive_metrics(export((NOW, NOW + 5, [3, 1]), service="other"))
    assert counted(version) == (0, 0)
    assert not StreamBlock.objects.exists()


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=8), st.randoms())
def test_cumulative_points_in_any_order_with_repeats_end_at_the_same_total(
    version: SLOVersion, steps: list[tuple[int, int]], chance: random.Random
) -> None:
    forget_tallies()
    StreamBlock.objects.all().delete()
    good = bad = 0
    points = []
    for number, (more_good, more_bad) in enumerate(steps, start=1):
        good, bad = good + more_good, bad + more_bad
        points.append((NOW, NOW + number, [good, bad]))
    shuffled = [*points, *points]
    chance.shuffle(shuffled)
    for point in shuffled:
        receive_metrics(export(point))
    assert counted(version) == (good, bad)


def test_delta_points_add_up_and_a_repeat_is_dropped(version: SLOVersion) -> None:
    for _ in range(2):
        receive_metrics(export((NOW, NOW + 5, [3, 1]), delta=True))
    receive_metrics(export((NOW + 5, NOW + 10, [2, 2]), delta=True))
    assert counted(version) == (5, 3)


def post(client: Client, body: bytes, token: str, **headers: str) -> Any:
    return client.post(
        "/v1/metrics",
        body,
        content_type=headers.pop("content_type", "application/x-protobuf"),
        headers={"Authorization": f"Bearer {token}", **headers},
    )


def test_a_gzip_body_and_a_json_body_are_counted(client: Client, version: SLOVersion, token: str) -> None:
    body = gzip.compress(export((NOW, NOW + 5, [3, 1])).SerializeToString())
    assert post(client, body, token, **{"Content-Encoding": "gzip"}).status_code == 200
    from google.protobuf.json_format import MessageToJson

    json = MessageToJson(export((NOW, NOW + 9, [4, 1]))).encode()
    assert post(client, json, token, content_type="application/json").json() == {}
    assert counted(version) == (4, 1)


def test_what_is_refused_is_said_precisely(client: Client, version: SLOVersion, token: str) -> None:
    request = export((NOW, NOW + 5, [3, 1]), (NOW, NOW + 6, [1, 1, 1]))
    answer = ExportMetricsServiceResponse.FromString(post(client, request.SerializeToString(), token).content)
    assert answer.partial_success.rejected_data_points == 1
    assert "do not add up" in answer.partial_success.error_message
    assert counted(version) == (3, 1)


@pytest.mark.parametrize(
    ("body", "headers", "said"),
    [
        (b"\xff\xff\xff", {}, b"not the message"),
        (b"{", {"content_type": "application/json"}, b"OTLP export request in JSON"),
        (b"x", {"content_type": "text/plain"}, b"Content-Type"),
        (b"not gzip", {"Content-Encoding": "gzip"}, b"not gzip"),
        (gzip.compress(b"\0" * 20_000_000), {"Content-Encoding": "gzip"}, b"send smaller batches"),
    ],
)
def test_a_malformed_body_is_refused_whole(  # noqa: PLR0917
    client: Client, version: SLOVersion, token: str, body: bytes, headers: dict[str, str], said: bytes
) -> None:
    answer = post(client, body, token, **headers)
    assert answer.status_code == 400
    assert said in answer.content
    assert not TallyBlock.objects.exists()


def test_a_stranger_is_refused(client: Client, version: SLOVersion, token: str) -> None:
    assert post(client, b"", "assay_guess").status_code == 401
    assert client.post("/v1/metrics", b"", content_type="application/x-protobuf").status_code == 401
    assert client.get("/v1/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 405


def test_an_alert_fires_once_and_resolves_when_the_short_window_is_good(version: SLOVersion) -> None:
    from core.clock import database_now

    now = database_now()
    receive_metrics(export((now.timestamp() - 60, now.timestamp(), [20, 20])))
    assert evaluate(now=now) == 1
    assert evaluate(now=now) == 0
    alert = BurnAlert.objects.get()
    assert alert.state == BurnAlert.State.FIRING
    status = budget_status(slo=version.slo, now=now)
    assert status is not None
    assert status.state is BudgetState.BREACHED
    later = now + timedelta(minutes=3)
    receive_metrics(export((now.timestamp() - 60, later.timestamp(), [4000, 20])))
    assert evaluate(now=later) == 1
    states = [(entry.payload or {}).get("state") for entry in entries(types=["slo.burn_alert_changed"])]
    assert states == ["ok", "firing"]
    assert entries(types=["slo.window_reported"]).count() == 1
    drain("core.events")


def test_without_measurements_an_alert_is_frozen_and_the_state_is_unknown(version: SLOVersion) -> None:
    from core.clock import database_now

    now = database_now()
    receive_metrics(export((now.timestamp() - 60, now.timestamp(), [20, 20])))
    evaluate(now=now)
    later = now + timedelta(hours=2)
    assert evaluate(now=later) == 0
    assert BurnAlert.objects.get().state == BurnAlert.State.FIRING
    status = budget_status(slo=version.slo, now=later)
    assert status is not None
    assert status.state is BudgetState.UNKNOWN


def test_a_window_is_one_subtraction_even_when_a_minute_comes_late(version: SLOVersion) -> None:
    base = int(NOW // 60) * 60
    receive_metrics(export((base, base + 5, [1, 0]), delta=True))
    receive_metrics(export((base + 120, base + 125, [1, 0]), delta=True))
    receive_metrics(export((base + 60, base + 65, [0, 7]), delta=True))
    first = base // 60
    sums = sums_before([version.tally_id], [first + 1, first + 2, first + 3])
    figures = [(one.good, one.bad, one.minutes_measured) for one in sums.values()]
    assert figures == [(1, 0, 1), (1, 7, 2), (2, 7, 3)]


@pytest.fixture
def provider(live_server: Any, token: str) -> Iterator[MeterProvider]:
    exporter = OTLPMetricExporter(
        endpoint=f"{live_server.url}/v1/metrics", headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    provider = MeterProvider(
        metric_readers=[PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)],
        resource=Resource.create({"service.name": "gateway"}),
    )
    yield provider
    provider.shutdown()


@pytest.mark.integration
@pytest.mark.django_db(transaction=True)
def test_the_real_sdk_exporter_is_understood(version: SLOVersion, provider: MeterProvider) -> None:
    histogram = provider.get_meter("test").create_histogram(
        "ttft", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1.0, 2.0]
    )
    for value in (0.2, 0.7, 1.0, 1.5):
        histogram.record(value)
    provider.force_flush()
    histogram.record(3.0)
    provider.force_flush()
    assert counted(version) == (3, 2)

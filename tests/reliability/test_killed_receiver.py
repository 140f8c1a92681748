"""Exporters of the real SDK against a receiver that is killed again and again: each event is counted once."""

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from tests.forking import fork, make_tables

SITE = "tests.reliability.receiver_site"
GIVE_UP_SECONDS = 120
ROUNDS = 3


class Stubborn(MetricExporter):
    """Sends the same request until it is answered, as an exporter with a queue does."""

    def __init__(self, exporter: OTLPMetricExporter) -> None:
        super().__init__(preferred_temporality=exporter._preferred_temporality)
        self.exporter, self.tries = exporter, 0

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            self.tries += 1
            if self.exporter.export(metrics_data, timeout_millis) is MetricExportResult.SUCCESS:
                return MetricExportResult.SUCCESS
            time.sleep(0.05)
        return MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        self.exporter.shutdown()


class StubbornSpans(SpanExporter):
    """The same for spans."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self.exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < deadline:
            if self.exporter.export(spans) is SpanExportResult.SUCCESS:
                return SpanExportResult.SUCCESS
            time.sleep(0.05)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.exporter.shutdown()  # type: ignore[no-untyped-call]


def run(state: Path, *arguments: str) -> str:
    process = fork(SITE, *arguments, environment=environment(state), stdout=subprocess.PIPE)
    said, _ = process.communicate()
    assert process.returncode == 0
    return said


def environment(state: Path) -> dict[str, str]:
    return {
        **os.environ,
        "ASSAY_STATE_DIR": str(state),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": "",
        "BROKER_URL": "",
    }


@contextmanager
def receiver(state: Path) -> Iterator[str]:
    """Keep a receiver on one port, a new process whenever the old was killed; yields its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    process = fork(SITE, "serve", port, environment=environment(state))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def meters_to(url: str, headers: dict[str, str], temporality: AggregationTemporality) -> tuple[MeterProvider, Stubborn]:
    exporter = Stubborn(
        OTLPMetricExporter(
            endpoint=f"{url}/v1/metrics",
            headers=headers,
            timeout=2,
            preferred_temporality={Histogram: temporality},
        )
    )
    resource = Resource.create({"service.name": "gateway", "service.instance.id": temporality.name})
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    return MeterProvider(metric_readers=[reader], resource=resource), exporter


@pytest.mark.integration
def test_every_event_is_counted_once_however_often_the_receiver_dies(tmp_path: Path) -> None:
    make_tables(tmp_path)
    token = run(tmp_path, "seed")
    chance = random.Random(5)
    good = bad = fine = failed = 0
    headers = {"Authorization": f"Bearer {token}"}
    with receiver(tmp_path) as url:
        providers = [
            meters_to(url, headers, one) for one in (AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA)
        ]
        histograms = [
            meters.get_meter("test").create_histogram(
                "ttft", unit="s", explicit_bucket_boundaries_advisory=[0.5, 1.0, 2.0]
            )
            for meters, _ in providers
        ]
        tracers = TracerProvider(resource=Resource.create({"service.name": "gateway"}))
        spans = StubbornSpans(OTLPSpanExporter(endpoint=f"{url}/v1/traces", headers=headers, timeout=2))
        tracers.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=3_600_000))
        tracer = tracers.get_tracer("test")
        for _ in range(ROUNDS):
            for _ in range(chance.randrange(1, 30)):
                value = chance.choice((0.2, 0.7, 1.0, 1.5, 3.0))
                chance.choice(histograms).record(value, {"route": chance.choice("abc")})
                good, bad = good + (value <= 1.0), bad + (value > 1.0)
                with tracer.start_as_current_span("ask") as span:
                    if chance.random() < 0.2:
                        span.set_status(StatusCode.ERROR)
                        failed += 1
                    else:
                        fine += 1
            for meters, _ in providers:
                assert meters.force_flush(GIVE_UP_SECONDS * 1000)
            assert tracers.force_flush(GIVE_UP_SECONDS * 1000)
        for meters, _ in providers:
            meters.shutdown()
        tracers.shutdown()
    assert orjson.loads(run(tmp_path, "counts")) == {"gateway-ttft": [good, bad, 0], "asks": [fine, failed, 0]}
    assert (tmp_path / "deaths").read_text().split().count("-9") >= 2
    assert sum(exporter.tries for _, exporter in providers) >= 2 * ROUNDS

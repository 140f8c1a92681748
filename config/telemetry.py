"""OpenTelemetry of the site itself: traces and metrics of web, worker and database.

On when `OTEL_EXPORTER_OTLP_ENDPOINT` names a receiver; the standard `OTEL_…` variables choose the rest. Statements are
named by their first word only: parameters and values never leave the process.
"""

import os
import time
from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created

_started: list[str] = []


def start_telemetry(process: str) -> bool:
    """Instrument this process (`web`, `worker`); returns whether telemetry is on. Again changes nothing."""
    if _started or not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return bool(_started)
    # Imported by a process that tells about itself only: every other one starts without these 160 modules.
    from opentelemetry import metrics, trace  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.instrumentation.celery import CeleryInstrumentor  # noqa: PLC0415
    from opentelemetry.instrumentation.django import DjangoInstrumentor  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    _started.append(process)
    resource = Resource.create({"service.name": "assay", "service.instance.id": f"{process}-{os.getpid()}"})
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider(metric_readers=[reader], resource=resource))
    DjangoInstrumentor().instrument()
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
    connection_created.connect(_watch_statements, dispatch_uid="assay-telemetry")
    return True


def _watch_statements(connection: Any, **_: Any) -> None:
    connection.execute_wrappers.append(_traced)


def _traced(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    from opentelemetry import metrics, trace  # noqa: PLC0415 imported by now

    system = {"postgresql": "postgresql", "sqlite": "sqlite"}.get(context["connection"].vendor, "other_sql")
    attributes = {"db.system.name": system, "db.operation.name": (sql.split(None, 1) or ["?"])[0].upper()[:20]}
    duration = metrics.get_meter("assay").create_histogram("db.client.operation.duration", unit="s")
    started = time.monotonic()
    name = f"{attributes['db.operation.name']} {system}"
    with trace.get_tracer("assay").start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes):
        try:
            return execute(sql, params, many, context)
        finally:
            duration.record(time.monotonic() - started, attributes)

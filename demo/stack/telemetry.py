"""OpenTelemetry for a process of the stack: OTLP/HTTP to the site, and a Prometheus endpoint beside it.

`OTEL_EXPORTER_OTLP_ENDPOINT` and `OTEL_EXPORTER_OTLP_HEADERS` name the receiver; without them only the Prometheus
endpoint is filled.
"""

import os
from collections.abc import Sequence

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

EXPORT_EVERY_MILLISECONDS = 5_000
TRACED_RATIO = 0.2

# Both contain the thresholds of the demo's SLOs, so that what counts as good is known exactly.
FIRST_TOKEN_BOUNDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0)
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TOKEN_BOUNDS = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)


def start_telemetry(service: str, *, instance: str) -> tuple[Meter, trace.Tracer]:
    """Set up metrics and traces for this process and return its meter and tracer."""
    resource = Resource.create(
        {
            "service.name": service,
            "service.namespace": "demo",
            "service.instance.id": instance,
            "deployment.environment.name": "demo",
        }
    )
    readers: list[MetricReader] = [PrometheusMetricReader()]
    tracers = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(TRACED_RATIO)))
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        readers.append(
            PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=EXPORT_EVERY_MILLISECONDS)
        )
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    metrics.set_meter_provider(MeterProvider(metric_readers=readers, resource=resource))
    trace.set_tracer_provider(tracers)
    return metrics.get_meter("demo.stack"), trace.get_tracer("demo.stack")


def seconds_histogram(meter: Meter, name: str, description: str, bounds: Sequence[float]) -> Histogram:
    """Create a histogram of seconds with explicit bounds."""
    return meter.create_histogram(name, unit="s", description=description, explicit_bucket_boundaries_advisory=bounds)

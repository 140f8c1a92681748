"""Send events of a service to Assay with the OpenTelemetry SDK, for an SLO as `slo.yaml` beside this file.

ASSAY_TOKEN=assay_… python send_events.py http://127.0.0.1:8000
"""

import os
import random
import sys

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

exporter = OTLPMetricExporter(
    endpoint=f"{sys.argv[1]}/v1/metrics",
    headers={"Authorization": f"Bearer {os.environ['ASSAY_TOKEN']}"},
)
# The default interval is a minute; a shorter one shows and alerts sooner.
reader = PeriodicExportingMetricReader(exporter, export_interval_millis=5_000)
# An instance id of its own for each process: two writers of one stream are refused.
resource = Resource.create({"service.name": "checkout", "service.instance.id": f"checkout-{os.getpid()}"})
provider = MeterProvider(metric_readers=[reader], resource=resource)

# A bucket bound at the SLO's threshold (0.3 s), so that no event is of unknown outcome.
duration = provider.get_meter("checkout").create_histogram(
    "http.server.request.duration", unit="s", explicit_bucket_boundaries_advisory=[0.1, 0.2, 0.3, 0.5, 1.0]
)
for _ in range(200):
    slow = random.random() < 0.01
    duration.record(0.8 if slow else 0.12, {"http.route": "/pay"})

provider.shutdown()

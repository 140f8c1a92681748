"""The site's own telemetry, received by a real HTTP server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.forking import make_tables

pytestmark = pytest.mark.integration
PROGRAM = """
import django
from config.wsgi import application
from django.test import Client
from opentelemetry import metrics, trace
assert Client().get("/readyz").status_code == 200
trace.get_tracer_provider().shutdown()
metrics.get_meter_provider().shutdown()
"""


@pytest.fixture
def receiver() -> Iterator[tuple[int, dict[str, list[bytes]]]]:
    bodies: dict[str, list[bytes]] = {"/v1/traces": [], "/v1/metrics": []}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies[self.path].append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port, bodies
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_request_and_its_statements_are_traced_without_values(
    receiver: tuple[int, dict[str, list[bytes]]], tmp_path: Path
) -> None:
    port, bodies = receiver
    environment = {
        **os.environ,
        "DATABASE_URL": "",
        "ASSAY_STATE_DIR": str(tmp_path),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
    }
    make_tables(tmp_path)
    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, timeout=120)
    spans = [
        span
        for body in bodies["/v1/traces"]
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    names = {span.name for span in spans}
    assert "GET readyz" in names
    assert "SELECT sqlite" in names
    metrics = {
        metric.name
        for body in bodies["/v1/metrics"]
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert "db.client.operation.duration" in metrics

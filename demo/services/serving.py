"""The processes of the demo: the site's own, the stack, and Prometheus where it is installed."""

from pathlib import Path

from core.serving import prometheus_process, site_processes
from core.supervisor import ProcessSpec, answers_http
from demo.stack.processes import stack_processes

STACK_PORT_OFFSET = 100
PROMETHEUS_PORT_OFFSET = 90


def demo_processes(*, port: int, token: str, state_dir: Path) -> list[ProcessSpec]:
    """Return everything that the demo runs; ports follow from the site's."""
    first_port = port + STACK_PORT_OFFSET
    telemetry = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization=Bearer%20{token}",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    stack = stack_processes(first_port=first_port, state_dir=state_dir / "demo")
    processes = [
        *site_processes(port=port),
        *(
            ProcessSpec(
                name=process.name,
                command=process.command,
                environment={**telemetry, **process.environment},
                port=process.port,
                ready=answers_http(f"http://127.0.0.1:{process.port}/healthz") if process.port else None,
            )
            for process in stack
        ),
    ]
    scrape = {"assay": port, **{process.name: process.port for process in stack if process.port and process.measured}}
    prometheus = prometheus_process(port=port + PROMETHEUS_PORT_OFFSET, scrape=scrape, state_dir=state_dir)
    return [*processes, prometheus] if prometheus else processes

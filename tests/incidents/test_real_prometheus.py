"""A real Prometheus and a real Alertmanager fire, repeat and resolve into a site, by both of its notifiers."""

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from typing import Any

import pytest

from tests.incidents.processes import Sink, Site, answers, free_port, wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.integration,
    pytest.mark.skipif(
        not (which("prometheus-alertmanager") and which("prometheus")),
        reason="needs the programs prometheus and prometheus-alertmanager",
    ),
]

RULES = """
groups:
  - name: gateway
    rules:
      - alert: GatewaySlow
        expr: gateway_slow > 0
        labels: {service: gateway, severity: page}
        annotations: {summary: The gateway is slow}
"""


class Gauge:
    """A target whose one metric the test sets."""

    def __init__(self) -> None:
        self.value = 0
        gauge = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = f"gateway_slow {gauge.value}\n".encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Site, str]]:
    (tmp_path / "state").mkdir()
    made = Site(tmp_path / "state", Sink())
    made.seed()
    server = made.start("serve", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.stdout
        yield made, server.stdout.readline().strip()
    finally:
        server.communicate(timeout=60)


def receiver(notifier: str, address: str, tokens: dict[str, str]) -> str:
    if notifier == "webhook":
        return f"""
    webhook_configs:
      - url: {address}/inbound/alertmanager
        send_resolved: true
        http_config: {{authorization: {{credentials: {tokens["prometheus"]}}}}}
"""
    return f"""
    pagerduty_configs:
      - url: {address}/v2/enqueue
        routing_key: {tokens["events-api"]}
        send_resolved: true
        severity: critical
        description: '{{{{ .CommonAnnotations.summary }}}}'
        details: {{service: gateway, severity: page}}
"""


@pytest.mark.parametrize("notifier", ["webhook", "pagerduty"])
def test_prometheus_and_alertmanager_fire_repeat_and_resolve(
    site: tuple[Site, str], notifier: str, tmp_path: Path
) -> None:
    made, address = site
    gauge, manager_port, prometheus_port = Gauge(), free_port(), free_port()
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "alertmanager.yml").write_text(
        "route: {receiver: assay, group_by: [service], group_wait: 100ms, group_interval: 500ms, repeat_interval: 1s}\n"
        f"receivers:\n  - name: assay{receiver(notifier, address, made.tokens)}"
    )
    (tmp_path / "prometheus.yml").write_text(
        f"""
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: [{tmp_path}/rules.yml]
scrape_configs:
  - job_name: gateway
    static_configs: [{{targets: ['127.0.0.1:{gauge.port}']}}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ['127.0.0.1:{manager_port}']}}]
"""
    )
    commands = [
        [
            "prometheus-alertmanager",
            f"--config.file={tmp_path}/alertmanager.yml",
            f"--storage.path={tmp_path}/am",
            f"--web.listen-address=127.0.0.1:{manager_port}",
            "--cluster.listen-address=",
        ],
        [
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{prometheus_port}",
            "--rules.alert.resend-delay=1s",
        ],
    ]
    with (tmp_path / "log").open("w") as log:
        running = [subprocess.Popen(command, stdout=log, stderr=log) for command in commands]
    stored = "SELECT coalesce(sum(duplicates) + count(*), 0) FROM incidents_inboundevent"
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{manager_port}/-/ready"))
        wait_until(lambda: answers(f"http://127.0.0.1:{prometheus_port}/-/ready"))
        gauge.value = 1
        wait_until(lambda: made.rows(stored)[0][0] >= 2, seconds=180)
        assert made.run("work") == 0
        assert made.rows("SELECT title, status FROM incidents_incident") == [("The gateway is slow", "triggered")]
        assert made.rows("SELECT count(*) FROM incidents_alert") == [(1,)]
        gauge.value = 0
        resolved, waiting = "SELECT status FROM incidents_alert", "SELECT state FROM incidents_inboundevent WHERE "

        def has_resolved() -> bool:
            if made.rows(f"{waiting} finished_at IS NULL"):
                assert made.run("work") == 0
            return made.rows(resolved) == [("resolved",)]

        wait_until(has_resolved, seconds=240)
        assert made.rows("SELECT count(*) FROM incidents_incident") == [(1,)]
        assert made.rows("SELECT count(*) FROM incidents_inboundevent WHERE state <> 'processed'") == [(0,)]
        assert len(list((made.state / "mail").iterdir())) == 1, "repeats page nobody again"
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(60)
        gauge.close()

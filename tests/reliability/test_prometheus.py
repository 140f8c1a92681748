"""A real Prometheus scrapes a small exporter whose counters are born and reset; counts must equal the truth."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import time_machine
from django.test import Client

from accounts.data import Role
from accounts.services import create_user, grant_role
from core.clock import database_now
from core.http import OutboundRefusedError
from core.work import drain
from reliability.data import DataState
from reliability.models import SLO, Collection, DataSource, SLOVersion, TallyBlock
from reliability.selectors import counts_in_last
from reliability.services import refresh
from reliability.services.prometheus import PrometheusReader, SourceError
from tests.reliability.conftest import SITE, apply

SLO_YAML = """
apiVersion: openslo/v1
kind: DataSource
metadata: {name: prom}
spec:
  type: Prometheus
  connectionDetails: {url: "URL", allowPrivate: true}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: requests}
spec:
  ratioMetric:
    counter: true
    good: {metricSource: {metricSourceRef: prom, spec: {query: 'http_requests_total{code!~"5.."}'}}}
    total: {metricSource: {metricSourceRef: prom, spec: {query: http_requests_total}}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: requests}
spec:
  service: gateway
  indicatorRef: requests
  budgetingMethod: Occurrences
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{targetPercent: 99}]
"""


class Exporter:
    """Counters by status code; it knows how often it was scraped."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.scrapes = 0
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lines = [f'http_requests_total{{code="{code}"}} {n}' for code, n in exporter.counters.items()]
                body = "\n".join(["# TYPE http_requests_total counter", *lines, ""]).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)
                exporter.scrapes += 1

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait_for_scrapes(self, count: int = 2) -> None:
        wanted, deadline = self.scrapes + count, time.monotonic() + 20
        while self.scrapes < wanted:
            assert time.monotonic() < deadline, "Prometheus does not scrape"
            time.sleep(0.05)


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    one = Exporter()
    yield one
    one.server.shutdown()
    one.server.server_close()


@pytest.fixture
def prometheus(exporter: Exporter, tmp_path: Path) -> Iterator[str]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    config = tmp_path / "prometheus.yml"
    target = f"127.0.0.1:{exporter.server.server_address[1]}"
    config.write_text(
        "global: {scrape_interval: 500ms, scrape_timeout: 400ms}\n"
        f"scrape_configs: [{{job_name: world, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    process = subprocess.Popen(
        [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 30
    while True:
        try:
            if requests.get(f"{url}/-/ready", timeout=1).status_code == 200:
                break
        except requests.RequestException:
            pass
        assert time.monotonic() < deadline, "Prometheus does not start"
        time.sleep(0.1)
    yield url
    process.terminate()
    process.wait(20)


def collect_now() -> None:
    until = database_now() - timedelta(seconds=1)
    assert refresh(versions=SLOVersion.objects.all(), until=until, sleep=time.sleep) == {}


@pytest.mark.integration
@pytest.mark.django_db
def test_counts_equal_the_truth_through_births_and_resets(catalog: None, exporter: Exporter, prometheus: str) -> None:
    exporter.counters = {"200": 1000}
    exporter.wait_for_scrapes(3)
    apply(SLO_YAML.replace("URL", prometheus))
    version = SLOVersion.objects.get()
    exporter.wait_for_scrapes()
    good = bad = 0
    for number, (more_good, more_bad, reset) in enumerate(
        [(10, 0, False), (7, 3, False), (5, 2, True), (30, 1, False), (4, 1, True), (0, 0, False), (11, 0, False)]
    ):
        if reset:
            exporter.counters = {"200": more_good, "500": more_bad}
        else:
            exporter.counters["200"] += more_good
            if more_bad:
                exporter.counters["500"] = exporter.counters.get("500", 0) + more_bad
        good, bad = good + more_good, bad + more_bad
        exporter.wait_for_scrapes()
        if number % 2:
            collect_now()
    time.sleep(1.5)
    for _ in range(3):
        collect_now()
    counts = counts_in_last(version=version, minutes=60, now=database_now())
    assert (counts.good, counts.bad, counts.unknown) == (good, bad, 0)
    assert Collection.objects.get().last_error == ""
    editor = client_of(Role.ADMIN)
    shown = editor.get("/settings/sources/").content.decode()
    assert "OK" in shown
    assert prometheus.removeprefix("http://") in shown
    (slug,) = DataSource.objects.values_list("slug", flat=True)
    answer = editor.post(f"/settings/sources/{slug}/", follow=True).content.decode()
    assert "It answers, and scrapes targets. (prometheus)" in answer
    assert SLO.objects.get().name in answer


def client_of(role: Role) -> Client:
    user = create_user(principal=SITE, username=f"somebody-{role}", password=None)
    grant_role(principal=SITE, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


@pytest.mark.django_db
def test_a_source_that_is_down_stands_first_with_what_it_said(catalog: None) -> None:
    apply(SLO_YAML.replace("URL", "http://127.0.0.1:1"))
    failures = refresh(versions=SLOVersion.objects.all(), until=database_now(), sleep=lambda _: None)
    assert failures
    admin = client_of(Role.ADMIN)
    assert "FAILED" in admin.get("/settings/sources/").content.decode()
    (slug,) = DataSource.objects.values_list("slug", flat=True)
    page = admin.get(f"/settings/sources/{slug}/").content.decode()
    assert "SOURCE DOWN" in page
    assert "refused" in admin.post(f"/settings/sources/{slug}/", follow=True).content.decode()
    viewer = client_of(Role.VIEWER)
    assert viewer.get("/settings/sources/").status_code == 403
    assert viewer.get(f"/settings/sources/{slug}/").status_code == 404


def source(url: str, *, allow: bool = True) -> DataSource:
    return DataSource.objects.create(slug="s", name="S", url=url, allow_private=allow)


@pytest.mark.django_db
def test_a_private_address_is_refused_unless_the_source_asks_for_it() -> None:
    now = database_now()
    with PrometheusReader(source("http://127.0.0.1:1", allow=False)) as reader, pytest.raises(SourceError) as caught:
        reader.samples("up", until=now, length=now - now.replace(microsecond=0))
    assert isinstance(caught.value.__cause__, OutboundRefusedError)


class Canned(BaseHTTPRequestHandler):
    status, body = 200, b"{}"

    def do_GET(self) -> None:
        asked = self.path.startswith("/api/v1/query")
        self.send_response(self.status if asked or self.status >= 500 else 404)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.integration
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("status", "body", "said", "state"),
    [
        (503, b"busy", "503", DataState.SOURCE_BUSY),
        (401, b"who", "401", DataState.NOT_ALLOWED),
        (
            400,
            b'{"status": "error", "errorType": "bad_data", "error": "parse error"}',
            "parse error",
            DataState.QUERY_REFUSED,
        ),
        (200, b"<html>", "not that of a Prometheus", DataState.SOURCE_DOWN),
        (
            200,
            b'{"status": "success", "data": {"resultType": "vector", "result": []}}',
            "not a matrix",
            DataState.QUERY_REFUSED,
        ),
        (
            200,
            b'{"status": "success", "data": {"resultType": "matrix", "result": []}, "warnings": ["partial"]}',
            "incomplete: partial",
            DataState.INCOMPLETE_ANSWER,
        ),
        (
            200,
            b'{"status":"success","data":{"resultType":"matrix","resu',
            "breaks off",
            DataState.INCOMPLETE_ANSWER,
        ),
        (
            200,
            b'{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "histograms": []}]}}',
            "native histograms",
            DataState.NOT_COUNTABLE,
        ),
    ],
)
def test_a_failed_or_partial_answer_is_a_failure_and_not_zero(
    catalog: None, status: int, body: bytes, said: str, state: DataState
) -> None:
    handler = type("Handler", (Canned,), {"status": status, "body": body})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        apply(SLO_YAML.replace("URL", f"http://127.0.0.1:{server.server_address[1]}"))
        before = Collection.objects.get().watermark
        with time_machine.travel(database_now().timestamp() + 30):
            drain("reliability.collect", limit=1)
    finally:
        server.shutdown()
        server.server_close()
    row = Collection.objects.get()
    assert said in row.last_error
    assert (row.failures, row.watermark, row.state) == (1, before, state)
    assert not TallyBlock.objects.exists()
    assert SLO.objects.get().versions.get().data_source is not None

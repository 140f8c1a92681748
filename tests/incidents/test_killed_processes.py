"""Real processes, killed by SIGKILL: one delivery row for each page, the unknown-outcome rule applied, nothing lost."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from tests.incidents.conftest import an_alert

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
ALERTMANAGER = Path("/usr/bin/prometheus-alertmanager")


@dataclass
class Sink:
    """A receiver that notes the webhook-id of each request; it can be told to hang."""

    url: str = ""
    seen: list[str] = field(default_factory=list)
    hang: bool = False


@dataclass
class Site:
    """A state folder and what runs on it."""

    state: Path
    sink: Sink
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ASSAY_STATE_DIR": str(self.state),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": "",
            "BROKER_URL": "",
        }

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        with (self.state / "stderr.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.incidents.live_site", *arguments],
                cwd=ROOT,
                env=self.environment,
                text=True,
                stderr=log,
                **options,
            )

    def run(self, *arguments: str) -> int:
        return self.start(*arguments).wait(60)

    def rows(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.state / "assay.sqlite3", timeout=20)) as connection, connection:
            return connection.execute(statement).fetchall()

    def expire_leases(self) -> None:
        """Let the leases of the dead run out without waiting a minute for it."""
        for table in ("delivery_delivery", "incidents_escalationrun", "incidents_inboundevent", "core_eventdelivery"):
            self.rows(f"UPDATE {table} SET lease_until = '2000-01-01 00:00:00' WHERE lease_until IS NOT NULL")


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("seed"), Sink())
    seeding = made.start("seed", stdout=subprocess.PIPE)
    printed, _ = seeding.communicate(timeout=60)
    assert seeding.returncode == 0, (made.state / "stderr.log").read_text()
    made.tokens = orjson.loads(printed)
    return made


@pytest.fixture
def site(tmp_path: Path, seeded: Site) -> Iterator[Site]:
    sink = Sink()
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            sink.seen.append(self.headers["webhook-id"])
            if sink.hang:
                release.wait(30)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    sink.url = f"http://127.0.0.1:{server.server_address[1]}/"
    shutil.copytree(seeded.state, tmp_path / "state")
    made = Site(tmp_path / "state", sink, seeded.tokens)
    made.rows(f"UPDATE delivery_endpoint SET url = '{sink.url}'")
    try:
        yield made
    finally:
        release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def wait_until(condition: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


OUTCOMES = "SELECT outcome FROM delivery_deliveryattempt ORDER BY id"


def test_a_worker_killed_between_claim_and_send_leaves_one_row_that_is_sent_once(site: Site) -> None:
    site.run("send", "1")
    assert site.run("work", "after-claim") == -signal.SIGKILL
    assert site.sink.seen == []
    assert site.run("work") == 0
    assert site.sink.seen == [], "the lease of the dead worker still holds"
    site.expire_leases()
    assert site.run("work") == 0
    assert len(site.sink.seen) == 1
    assert site.rows("SELECT state, tries FROM delivery_delivery") == [("sent", 1)]
    assert site.rows(OUTCOMES) == [("accepted",)]


def test_a_worker_killed_while_the_receiver_answers_leaves_an_unknown_attempt_and_sends_again_with_the_same_id(
    site: Site,
) -> None:
    site.run("send", "1")
    site.sink.hang = True
    worker = site.start("work")
    wait_until(lambda: len(site.sink.seen) == 1)
    worker.kill()
    worker.wait(10)
    site.sink.hang = False
    site.expire_leases()
    assert site.run("work") == 0
    assert len(site.sink.seen) == 2
    assert len(set(site.sink.seen)) == 1
    assert site.rows("SELECT state FROM delivery_delivery") == [("sent",)]
    assert site.rows(OUTCOMES) == [("unknown",), ("accepted",)]


def test_a_worker_killed_after_the_answer_and_before_noting_it_applies_the_same_rule(site: Site) -> None:
    site.run("send", "1")
    assert site.run("work", "before-settle") == -signal.SIGKILL
    site.expire_leases()
    assert site.run("work") == 0
    assert len(site.sink.seen) == 2
    assert len(set(site.sink.seen)) == 1
    assert site.rows(OUTCOMES) == [("unknown",), ("accepted",)]


def test_two_workers_send_each_message_once(site: Site) -> None:
    site.run("send", "40")
    workers = [site.start("work") for _ in range(2)]
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert Counter(site.sink.seen).most_common(1)[0][1] == 1
    assert len(site.sink.seen) == 40


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    server = site.start("serve", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.stdout
        yield server.stdout.readline().strip()
    finally:
        server.communicate(timeout=10)


def test_an_escalation_killed_in_its_step_pages_each_person_once(site: Site, address: str) -> None:
    body = {"version": "4", "groupKey": "g", "status": "firing", "receiver": "assay", "alerts": [an_alert()]}
    answer = requests.post(f"{address}/inbound/alertmanager/{site.tokens['prometheus']}", json=body, timeout=10)
    assert answer.status_code == 202
    assert site.run("work", "in-step") == -signal.SIGKILL
    assert site.rows("SELECT count(*) FROM delivery_delivery") == [(0,)], "the step was rolled back as a whole"
    site.expire_leases()
    assert site.run("work") == 0
    pages = site.rows("SELECT channel, address, state FROM delivery_delivery ORDER BY channel")
    assert pages == [("email", "alice@example.org", "sent"), ("in-app", pages[1][1], "sent")]
    assert site.rows("SELECT count(*) FROM incidents_incident") == [(1,)]
    assert len(list((site.state / "mail").iterdir())) == 1


@pytest.mark.skipif(not ALERTMANAGER.exists(), reason="needs prometheus-alertmanager: /usr/bin has none")
def test_a_real_alertmanager_fires_repeats_and_resolves(site: Site, address: str, tmp_path: Path) -> None:
    import socket
    from datetime import UTC, datetime, timedelta

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(
        f"""
route: {{receiver: assay, group_by: [service], group_wait: 100ms, group_interval: 500ms, repeat_interval: 1s}}
receivers:
  - name: assay
    webhook_configs:
      - url: {address}/inbound/alertmanager
        send_resolved: true
        http_config: {{authorization: {{credentials: {site.tokens["prometheus"]}}}}}
"""
    )
    with (tmp_path / "am.log").open("w") as log:
        manager = subprocess.Popen(
            [
                str(ALERTMANAGER),
                f"--config.file={configuration}",
                f"--storage.path={tmp_path / 'am'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    api = f"http://127.0.0.1:{port}/api/v2"

    def is_ready() -> bool:
        try:
            return requests.get(f"{api}/status", timeout=1).ok
        except requests.RequestException:
            return False

    def post(ends_at: datetime) -> None:
        alert = {
            "labels": {"alertname": "GatewaySlow", "service": "gateway", "severity": "page"},
            "annotations": {"summary": "The gateway is slow"},
            "startsAt": started.isoformat(),
            "endsAt": ends_at.isoformat(),
        }
        requests.post(f"{api}/alerts", json=[alert], timeout=5).raise_for_status()

    try:
        wait_until(is_ready)
        started = datetime.now(UTC)
        post(started + timedelta(hours=1))
        wait_until(lambda: site.rows("SELECT count(*) FROM incidents_inboundevent") != [(0,)])
        site.run("work")
        assert site.rows("SELECT title, status FROM incidents_incident") == [("The gateway is slow", "triggered")]
        wait_until(lambda: site.rows("SELECT sum(duplicates) + count(*) FROM incidents_inboundevent") > [(1,)])
        site.run("work")
        assert site.rows("SELECT count(*) FROM incidents_alert") == [(1,)]
        post(datetime.now(UTC))
        wait_until(lambda: site.run("work") == 0 and site.rows("SELECT status FROM incidents_alert") == [("resolved",)])
        assert site.rows("SELECT count(*) FROM incidents_incident") == [(1,)]
        assert site.rows("SELECT count(*) FROM incidents_inboundevent WHERE state = 'unparsed'") == [(0,)]
        assert len(list((site.state / "mail").iterdir())) == 1
    finally:
        manager.terminate()
        manager.wait(10)

"""Real processes, killed by SIGKILL: one delivery row for each page, the unknown-outcome rule applied, nothing lost."""

import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.incidents.conftest import an_alert
from tests.incidents.processes import Sink, Site, wait_until

pytestmark = [pytest.mark.long, pytest.mark.integration]


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("seed"), Sink())
    made.seed()
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
    assert [worker.wait(240) for worker in workers] == [0, 0]
    assert Counter(site.sink.seen).most_common(1)[0][1] == 1
    assert len(site.sink.seen) == 40


@pytest.fixture
def address(site: Site) -> Iterator[str]:
    server = site.start("serve", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert server.stdout
        yield server.stdout.readline().strip()
    finally:
        server.communicate(timeout=60)


def test_an_escalation_killed_in_its_step_pages_each_person_once(site: Site, address: str) -> None:
    body = {"version": "4", "groupKey": "g", "status": "firing", "receiver": "assay", "alerts": [an_alert()]}
    answer = requests.post(f"{address}/inbound/alertmanager/{site.tokens['prometheus']}", json=body, timeout=60)
    assert answer.status_code == 202
    assert site.run("work", "in-step") == -signal.SIGKILL
    assert site.rows("SELECT count(*) FROM delivery_delivery") == [(0,)], "the step was rolled back as a whole"
    site.expire_leases()
    assert site.run("work") == 0
    pages = site.rows("SELECT channel, address, state FROM delivery_delivery ORDER BY channel")
    assert pages == [("email", "alice@example.org", "sent"), ("in-app", pages[1][1], "sent")]
    assert site.rows("SELECT count(*) FROM incidents_incident") == [(1,)]
    assert len(list((site.state / "mail").iterdir())) == 1

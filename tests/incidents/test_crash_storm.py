"""Web server, worker, scheduler and database connections are killed at random while events come in.

What must hold afterwards, whatever was killed when: every 2xx has exactly one stored event and one occurrence of one
alert; every page of an escalation step has exactly one delivery row and at least one attempt; nothing waits.
"""

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from core.serving import site_processes
from tests.forking import drop_database, make_database
from tests.incidents.processes import ROOT, Sink, Site, answers, free_port, wait_until

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.database]

SENDERS = 4
SEED = int(os.environ.get("STORM_SEED", "7"))


class Moody(BaseHTTPRequestHandler):
    """A receiver that answers, fails, dawdles, or answers only after the sender has gone."""

    moods = random.Random(1)
    seen: Counter[str] = Counter()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.seen[self.headers["webhook-id"]] += 1
        mood = self.moods.random()
        if mood < 0.1:
            time.sleep(2)
        with suppress(ConnectionError):
            self.send_response(500 if mood > 0.8 else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def moody() -> Iterator[str]:
    Moody.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def database_url() -> Iterator[str]:
    """Make a database of its own on the server of the environment; empty means SQLite in the state folder."""
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        yield ""
        return
    url = make_database(server)
    yield url
    drop_database(url)


class Processes:
    """Web, worker and scheduler as they really run; each can be killed and comes again."""

    def __init__(self, site: Site, port: int) -> None:
        self.site, self.port = site, port
        self.specs = {spec.name: spec for spec in site_processes(port=port)}
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        spec = self.specs[name]
        environment = {**self.site.environment, **spec.environment, "ASSAY_SITE_URL": f"http://127.0.0.1:{self.port}"}
        with (self.site.state / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                spec.command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait(10)

    def stop(self) -> None:
        for name in list(self.running):
            self.kill(name)


def send_all(address: str, token: str, numbers: list[int], accepted: dict[int, str], stop: threading.Event) -> None:
    """Send each event until it is answered with 2xx, as senders do; a lost answer makes it arrive twice."""
    for number in numbers:
        body = {
            "version": "4",
            "groupKey": f"g{number}",
            "status": "firing",
            "receiver": "assay",
            "alerts": [
                {
                    "status": "firing",
                    "labels": {"alertname": f"A{number}", "service": f"svc-{number % 10}", "severity": "page"},
                    "annotations": {},
                    "startsAt": "2026-11-21T01:00:00Z",
                    "endsAt": "0001-01-01T00:00:00Z",
                    "fingerprint": f"storm-{number}",
                }
            ],
        }
        while number not in accepted and not stop.is_set():
            try:
                answer = requests.post(f"{address}/inbound/alertmanager/{token}", json=body, timeout=10)
            except requests.RequestException:
                time.sleep(0.2)
                continue
            if answer.status_code == 202:
                accepted[number] = answer.json()["event_ids"][0]
            else:
                assert answer.status_code >= 500, answer.text
                time.sleep(0.2)


@pytest.mark.parametrize(
    ("events", "rounds"), [(60, 1), pytest.param(240, 4, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_nothing_that_was_accepted_is_lost_or_done_twice(
    tmp_path: Path, moody: str, database_url: str, events: int, rounds: int
) -> None:
    (tmp_path / "state").mkdir()
    site = Site(tmp_path / "state", Sink(), database_url=database_url)
    site.seed()
    assert site.run("storm", moody) == 0
    processes, chance = Processes(site, free_port()), random.Random(SEED)
    address = f"http://127.0.0.1:{processes.port}"
    accepted: dict[int, str] = {}
    stop = threading.Event()
    try:
        for name in processes.specs:
            processes.start(name)
        wait_until(lambda: answers(f"{address}/healthz"), seconds=240)
        shares = [list(range(start, events, SENDERS)) for start in range(SENDERS)]
        senders = [
            threading.Thread(target=send_all, args=(address, site.tokens["prometheus"], share, accepted, stop))
            for share in shares
        ]
        for sender in senders:
            sender.start()
        deadline = time.monotonic() + 500
        kinds = ["web", "worker", "scheduler", *(["connections"] if database_url else [])]
        for kill in range(rounds * len(kinds)):
            # Each kill comes when another part of the events has been accepted.
            part = events * kill // (rounds * len(kinds)) + 1
            wait_until(lambda: len(accepted) >= part, seconds=240)  # noqa: B023 it is done with before the next
            time.sleep(chance.uniform(0.0, 0.5))
            if kill % len(kinds) == 0:
                chance.shuffle(kinds)
            name = kinds[kill % len(kinds)]
            if name == "connections":
                site.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                continue
            processes.kill(name)
            processes.start(name)
            if name == "web":
                wait_until(lambda: answers(f"{address}/healthz"), seconds=240)
        for sender in senders:
            sender.join(max(0.0, deadline - time.monotonic()))
        assert len(accepted) == events, f"only {len(accepted)} of {events} were accepted in time"
        site.expire_leases()
        waiting = (
            "SELECT (SELECT count(*) FROM incidents_inboundevent WHERE finished_at IS NULL), "
            "(SELECT count(*) FROM core_eventdelivery WHERE finished_at IS NULL), "
            "(SELECT count(*) FROM incidents_escalationrun WHERE finished_at IS NULL AND loop = 0 AND step = 0), "
            "(SELECT count(*) FROM delivery_delivery WHERE state = 'pending' AND channel <> 'webhook'), "
            "(SELECT count(*) FROM delivery_delivery WHERE channel = 'webhook' AND tries = 0 AND state = 'pending')"
        )
        settled_by = time.monotonic() + 400
        while site.rows(waiting)[0] != (0, 0, 0, 0, 0):
            assert time.monotonic() < settled_by, f"still waiting: {site.rows(waiting)}"
            time.sleep(1)
            site.expire_leases()
    finally:
        stop.set()
        processes.stop()
    alive = {kind for (kind,) in site.rows("SELECT DISTINCT kind FROM core_processbeat")}
    assert alive == {"web", "worker", "scheduler"}, "each kind of process says that it lives"
    stored = dict(site.rows("SELECT reference, state FROM incidents_inboundevent"))
    assert len(stored) == events, "one stored event for each, however often it arrived"
    assert {stored[reference] for reference in accepted.values()} == {"processed"}
    assert len(set(accepted.values())) == events
    alerts = site.rows("SELECT fingerprint, occurrences FROM incidents_alert")
    assert sorted(alerts) == sorted((f"storm-{n}", 1) for n in range(events))
    assert site.rows("SELECT count(*) FROM incidents_incident") == [(10,)]
    assert site.rows("SELECT count(*) FROM incidents_escalationrun") == [(10,)]
    pages = site.rows(
        "SELECT d.idempotency_key, count(a.id) FROM delivery_delivery d "
        "LEFT JOIN delivery_deliveryattempt a ON a.delivery_id = d.id "
        "WHERE d.idempotency_key LIKE 'escalation:%' GROUP BY d.id, d.idempotency_key"
    )
    assert len({key for key, _ in pages}) == len(pages)
    assert all(tries >= 1 for _, tries in pages)
    first_steps = {key.rsplit(":", 2)[0] for key, _ in pages if key.split(":")[2:4] == ["0", "0"]}
    assert len(first_steps) == 10, "every incident's first step has paged"
    notified = site.rows(
        "SELECT count(*) FROM delivery_delivery WHERE address = 'storm' AND subject = 'incident.opened'"
    )
    assert notified == [(10,)]

"""Workers are killed by SIGKILL again and again, around every kind of step: each effect is what its step declares."""

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
POINTS = ("before-row", "before-effect", "after-effect", "before-result", "after-result")
RUNS = 5
KILLS = 15


@dataclass
class Receiver:
    """A real HTTP server that counts requests by what they do, and tells repeats by their key."""

    url: str = ""
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    keys: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    noted = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            _, what, mark = self.path.split("/")
            noted.requests[what, mark] += 1
            noted.keys[what, mark].add(self.headers.get("Idempotency-Key", ""))
            missing = what == "is-on" and not noted.requests["natural", mark]
            self.send_response(404 if missing else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = answer  # noqa: N815 the base class's names

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    noted.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield noted
    server.shutdown()
    server.server_close()
    thread.join(10)


@dataclass
class Site:
    """A state folder and the processes that work on it."""

    state: Path

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "ASSAY_STATE_DIR": str(self.state),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": "",
            "BROKER_URL": "",
        }
        with (self.state / "stderr.log").open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.runbooks.crash_site", *arguments],
                cwd=ROOT,
                env=environment,
                text=True,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def run(self, *arguments: str) -> int:
        process = self.start(*arguments)
        process.communicate(timeout=120)
        return process.returncode

    def rows(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.state / "assay.sqlite3", timeout=20)) as connection, connection:
            return connection.execute(statement).fetchall()

    def let_leases_run_out(self) -> None:
        for table in ("runbooks_runbookrun", "core_eventdelivery"):
            self.rows(f"UPDATE {table} SET lease_until = '2000-01-01 00:00:00' WHERE lease_until IS NOT NULL")

    def open_runs(self) -> int:
        found: int = self.rows("SELECT count(*) FROM runbooks_runbookrun WHERE finished_at IS NULL")[0][0]
        return found


@pytest.fixture
def targets() -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """Real processes that the runs kill, one for each."""
    made = {
        f"mark-{number}-{os.getpid()}": subprocess.Popen(
            ["sleep", "600"], env={**os.environ, "ASSAY_CRASH_MARK": f"mark-{number}-{os.getpid()}"}
        )
        for number in range(RUNS)
    }
    yield made
    for process in made.values():
        process.kill()
        process.wait(10)


def test_every_effect_happens_as_its_step_declares_however_workers_die(
    tmp_path: Path, receiver: Receiver, targets: dict[str, "subprocess.Popen[bytes]"]
) -> None:
    chance = random.Random(20261121)
    site = Site(tmp_path)
    assert site.run("seed", receiver.url) == 0, (tmp_path / "stderr.log").read_text()
    for number, mark in enumerate(targets):
        assert site.run("start", f"run-{number}", mark) == 0
    killed: Counter[str] = Counter()
    for turn in range(KILLS):
        point = POINTS[turn % len(POINTS)]
        if site.run("work", point, str(chance.randint(1, 6))) == -9:
            killed[point] += 1
        site.let_leases_run_out()
        # One more worker dies at an instant that nobody chose.
        if turn % 3 == 0:
            worker = site.start("work")
            time.sleep(chance.uniform(0.5, 3))
            worker.kill()
            worker.communicate(timeout=20)
            site.let_leases_run_out()
    assert len(killed) >= 3, f"the kills came at {dict(killed)}"
    deadline = time.monotonic() + 120
    while site.open_runs() and time.monotonic() < deadline:
        assert site.run("work") == 0, (tmp_path / "stderr.log").read_text()[-3000:]
        site.let_leases_run_out()
        time.sleep(0.3)

    states = site.rows("SELECT state, reason FROM runbooks_runbookrun")
    assert [state for state, _ in states] == ["succeeded"] * RUNS, states
    assert site.rows("SELECT count(*) FROM runbooks_stepattempt WHERE finished_at IS NULL") == [(0,)]
    for mark, process in targets.items():
        assert receiver.requests["look", mark] >= 1
        assert len(receiver.keys["keyed", mark]) == 1, "one key, so that the far side can tell the repeats"
        assert receiver.requests["natural", mark] == 1, "what is done already is adopted, not done again"
        assert receiver.requests["once", mark] <= 1, "what may not be repeated is not repeated"
        unsure = site.rows(
            "SELECT count(*) FROM runbooks_runstep s JOIN runbooks_runbookrun r ON r.id = s.run_id "
            f"WHERE s.step_id = 'kill' AND s.answer = 'done' AND r.inputs LIKE '%{mark}\"%'"
        )[0][0]
        assert process.poll() is not None or unsure, "it was killed, or a person was asked"
    told = site.rows(
        "SELECT count(*), count(DISTINCT idempotency_key) FROM delivery_delivery WHERE idempotency_key LIKE '%:tell:%'"
    )
    assert told == [(RUNS, RUNS)], "each notice once"
    attempts = site.rows("SELECT count(*) FROM runbooks_stepattempt WHERE state = 'unknown'")[0][0]
    assert attempts >= 2, "some tries were cut off, else nothing was tested"

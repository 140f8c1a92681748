"""Workers are killed by SIGKILL again and again, around every kind of step: each effect is what its step declares."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.forking import make_tables
from tests.runbooks import crash_site

pytestmark = [pytest.mark.long, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]
POINTS = tuple(crash_site.POINTS)


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
            # Long enough for a worker to be killed while it waits for the answer.
            time.sleep(0.02)
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


class Site:
    """A state folder, and a process from which those that work on it are forked."""

    def __init__(self, state: Path) -> None:
        self.state = state
        make_tables(state)
        environment = {
            **os.environ,
            "ASSAY_STATE_DIR": str(state),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DATABASE_URL": "",
            "BROKER_URL": "",
        }
        with (state / "stderr.log").open("a") as log:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", "tests.runbooks.crash_site"],
                cwd=ROOT,
                env=environment,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def run(self, *arguments: str, kill_after: float | None = None) -> int:
        """Fork a process and wait for its end, or kill it at an instant of its own; returns how it ended."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(" ".join(arguments) + "\n")
        self._parent.stdin.flush()
        pid = int(self._parent.stdout.readline().split()[1])
        if kill_after is not None:
            time.sleep(kill_after)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return int(self._parent.stdout.readline().split()[1])

    def close(self) -> None:
        self._parent.communicate(timeout=30)

    def said(self) -> str:
        return (self.state / "stderr.log").read_text()[-3000:]

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
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


Targets = dict[str, "subprocess.Popen[bytes]"]


@pytest.fixture
def targets() -> Iterator[Callable[[int], Targets]]:
    """Real processes that the runs kill, one for each."""
    made: Targets = {}

    def make(count: int) -> Targets:
        for number in range(count):
            mark = f"mark-{number}-{os.getpid()}"
            made[mark] = subprocess.Popen(["sleep", "600"], env={**os.environ, "ASSAY_CRASH_MARK": mark})
        return made

    yield make
    for process in made.values():
        process.kill()
        process.wait(10)


@pytest.mark.parametrize(
    ("runs", "kills"), [(4, 2 * len(POINTS)), pytest.param(20, 300, marks=pytest.mark.soak)], ids=["short", "long"]
)
def test_every_effect_happens_as_its_step_declares_however_workers_die(
    site: Site, receiver: Receiver, targets: Callable[[int], Targets], runs: int, kills: int
) -> None:
    chance = random.Random(20261121)
    processes = targets(runs)
    assert site.run("seed", receiver.url) == 0, site.said()
    killed: Counter[str] = Counter()
    waiting = list(processes)
    for turn in range(kills):
        # Runs come one after the other, so that every kind of step is under way while workers die.
        if waiting and turn % max(1, kills // runs) == 0:
            mark = waiting.pop(0)
            assert site.run("start", f"run-{mark}", mark) == 0, site.said()
        point = POINTS[turn % len(POINTS)]
        if site.run("work", point, str(chance.randint(1, 3))) == -signal.SIGKILL:
            killed[point] += 1
        site.let_leases_run_out()
        # One more worker dies at an instant that nobody chose.
        if turn % 3 == 0:
            if site.run("work", kill_after=chance.uniform(0.01, 0.5)) == -signal.SIGKILL:
                killed["at random"] += 1
            site.let_leases_run_out()
    assert len(killed) >= 5, f"the kills came at {dict(killed)}"
    deadline = time.monotonic() + 240
    while site.open_runs() and time.monotonic() < deadline:
        assert site.run("work") == 0, site.said()
        site.let_leases_run_out()

    states = site.rows("SELECT state, reason FROM runbooks_runbookrun")
    assert [state for state, _ in states] == ["succeeded"] * runs, states
    assert site.rows("SELECT count(*) FROM runbooks_stepattempt WHERE finished_at IS NULL") == [(0,)]
    for mark, process in processes.items():
        assert receiver.requests["look", mark] >= 1
        assert len(receiver.keys["keyed", mark]) == 1, "one key, so that the far side can tell the repeats"
        assert receiver.requests["natural", mark] == 1, "what is done already is adopted, not done again"
        assert receiver.requests["once", mark] <= 1, "what may not be repeated is not repeated"
        assert receiver.requests["never", mark] == 0, "the way that was not taken is not taken"
        unsure = site.rows(
            "SELECT count(*) FROM runbooks_runstep s JOIN runbooks_runbookrun r ON r.id = s.run_id "
            f"WHERE s.step_id = 'kill' AND s.answer = 'done' AND r.inputs LIKE '%{mark}\"%'"
        )[0][0]
        assert process.poll() is not None or unsure, "it was killed, or a person was asked"
    told = site.rows(
        "SELECT count(*), count(DISTINCT idempotency_key) FROM delivery_delivery WHERE idempotency_key LIKE '%:tell:%'"
    )
    assert told == [(runs, runs)], "each notice once"
    ended = site.rows("SELECT count(*) FROM ledger_ledgerentry WHERE entry_type = 'runbook.run_finished'")
    assert ended == [(runs,)], "each end is recorded once"
    attempts = site.rows("SELECT count(*) FROM runbooks_stepattempt WHERE state = 'unknown'")[0][0]
    assert attempts >= 1, "some tries were cut off, else nothing was tested"

"""Two web, three worker and two scheduler processes on PostgreSQL and a real broker, all of it killed at random.

Meanwhile alerts and telemetry come in at both doors, chaos runs hurt processes, runbooks act, and the ledger is sealed.
What must hold afterwards: no alert lost or taken twice, one delivery row for each page, no fault left, each event
counted once in its own minute, each act of a runbook under one key, and a ledger that verifies.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psutil
import psycopg
import pytest
import requests

from core.serving import site_processes
from drivers.services.site_postgresql import PrivateCluster, postgresql_binaries
from tests.chaos.conftest import is_frozen
from tests.chaos.own_site import Lab, sleepers
from tests.drivers.site_under_test import ROOT, Site
from tests.incidents.processes import TABLES, answers
from tests.soak.brokers import Broker, RabbitMQ, Redis, free_ports, kill_group

pytestmark = [pytest.mark.long, pytest.mark.integration]

PROCESSES = ("web-1", "web-2", "worker-1", "worker-2", "worker-3", "scheduler-1", "scheduler-2")
SOAK_SECONDS = float(os.environ.get("ASSAY_STORM_SECONDS", "600"))
SETTLE_SECONDS = 420
DSN_TIMEOUT = 5
UNREACHABLE = ("OperationalError", "InterfaceError", "AdminShutdown")
LEASED = (*TABLES, "runbooks_runbookrun", "chaos_chaosrun", "ledger_anchorreceipt", "reliability_collection")


class Receiver(BaseHTTPRequestHandler):
    """What runbooks act on: it notes the key of each act."""

    keys: dict[str, set[str]] = defaultdict(set)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.keys[self.path].add(self.headers.get("Idempotency-Key", ""))
        with suppress(ConnectionError):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_GET = do_POST  # noqa: N815 the base class's name

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def receiver() -> Iterator[str]:
    Receiver.keys.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Machines:
    """The site's processes, its database and its broker; each can be killed and comes again."""

    site: Site
    cluster: PrivateCluster
    broker: Broker
    ports: list[int]
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)

    @property
    def doors(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def start(self, name: str) -> None:
        kind, _, number = name.partition("-")
        port = self.ports[int(number) - 1] if kind == "web" else self.ports[0]
        spec = next(one for one in site_processes(port=port) if one.name == kind)
        environment = {**self.site.environment, **spec.environment, "ASSAY_SITE_URL": self.doors[0]}
        with (self.site.state / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                spec.command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, kind: str) -> None:
        """Kill one of a kind and start it again; of connections, a third of those there are."""
        self.killed[kind] += 1
        if kind == "database":
            self.cluster.kill()
            # Where nobody collects orphans, the dead server's number is taken still, and the new one would not start.
            (self.cluster.data / "postmaster.pid").unlink(missing_ok=True)
            self.cluster.start()
        elif kind == "broker":
            self.broker.kill()
            self.broker.start()
        elif kind == "connections":
            with suppress(psycopg.Error):
                self.rows(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                    "AND backend_type = 'client backend' AND application_name <> 'teller' AND random() < 0.34"
                )
        elif kind == "runner":
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    own = process.environ().get("ASSAY_STATE_DIR") == str(self.site.state)
                    if own and any("chaos_runner" in part for part in process.cmdline()):
                        process.kill()
        else:
            name = random.choice([one for one in PROCESSES if one.startswith(kind)])
            kill_group(self.running.pop(name))
            self.start(name)

    def stop(self) -> None:
        for process in self.running.values():
            kill_group(process)

    def rows(self, statement: str) -> list[Any]:
        with psycopg.connect(self.cluster.dsn(timeout=DSN_TIMEOUT), autocommit=True) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []

    def expire_leases(self) -> None:
        """Let the leases of the dead run out without waiting a minute for it."""
        for table in LEASED:
            self.rows(f"UPDATE {table} SET lease_until = '2000-01-01' WHERE lease_until IS NOT NULL")


@dataclass
class Teller:
    """The process that tells the site what a person would."""

    process: "subprocess.Popen[str]"
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, do: str, **more: Any) -> Any:
        """Ask until it is answered: the database is restarted under it too."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        deadline = time.monotonic() + 120
        while True:
            with self.one_at_a_time:
                self.process.stdin.write(json.dumps({"do": do, "with": more}) + "\n")
                self.process.stdin.flush()
                answer = json.loads(self.process.stdout.readline())
            if "error" not in answer:
                return answer["value"]
            unreachable = any(
                word in answer["error"] for word in ("OperationalError", "InterfaceError", "AdminShutdown")
            )
            assert unreachable, f"{do}: {answer['error']}"
            assert time.monotonic() < deadline, f"{do}: {answer['error']}"
            time.sleep(0.3)


@dataclass
class Load:
    """What comes in while it storms, and what was promised about it."""

    machines: Machines
    teller: Teller
    tokens: dict[str, str]
    over: threading.Event = field(default_factory=threading.Event)
    accepted: dict[int, str] = field(default_factory=dict)
    counted: Counter[int] = field(default_factory=Counter)
    slow: Counter[int] = field(default_factory=Counter)
    runs: list[str] = field(default_factory=list)
    runbooks: dict[str, str] = field(default_factory=dict)
    settled_by_hand: int = 0
    failures: list[BaseException] = field(default_factory=list)

    def begin(self, experiment: str) -> list[threading.Thread]:
        def kept(work: Callable[[], None]) -> Callable[[], None]:
            def run() -> None:
                try:
                    work()
                except BaseException as error:  # noqa: BLE001 told by the storm at its end
                    self.failures.append(error)

            return run

        works = [
            lambda: self._alerts(0),
            lambda: self._alerts(1),
            lambda: self._telemetry("a"),
            lambda: self._telemetry("b"),
            self._runbooks,
        ]
        if experiment:
            works.append(lambda: self._chaos(experiment))
        threads = [threading.Thread(target=kept(work), daemon=True) for work in works]
        for thread in threads:
            thread.start()
        return threads

    def _send(self, path: str, body: dict[str, Any], good: int, **options: Any) -> Any:
        """Send to either door until it is accepted, as senders do; a lost answer makes it arrive twice."""
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            door = random.choice(self.machines.doors)
            try:
                answer = requests.post(f"{door}{path}", json=body, timeout=20, **options)
            except requests.RequestException:
                time.sleep(0.2)
                continue
            if answer.status_code == good:
                return answer.json()
            assert answer.status_code >= 500, f"{path}: {answer.status_code} {answer.text}"
            time.sleep(0.2)
        raise AssertionError(f"{path} was not accepted in 240 s")

    def _alerts(self, share: int) -> None:
        number = share
        while not self.over.is_set():
            labels = {"alertname": f"A{number}", "service": f"svc-{number % 5}", "severity": "page"}
            alert = {
                "status": "firing",
                "labels": labels,
                "annotations": {},
                "startsAt": "2026-11-21T01:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": f"storm-{number}",
            }
            body = {
                "version": "4",
                "groupKey": f"g{number}",
                "status": "firing",
                "receiver": "assay",
                "alerts": [alert],
            }
            answer = self._send(f"/inbound/alertmanager/{self.tokens['alerts']}", body, 202)
            self.accepted[number] = answer["event_ids"][0]
            number += 2
            self.over.wait(0.1)

    def _telemetry(self, instance: str) -> None:
        before = time.time_ns()
        while not self.over.wait(0.4):
            now, good, slow = time.time_ns(), random.randrange(1, 9), random.randrange(3)
            point = {
                "attributes": [{"key": "instance", "value": {"stringValue": instance}}],
                "startTimeUnixNano": str(before),
                "timeUnixNano": str(now),
                "count": str(good + slow),
                "sum": 1.0,
                "bucketCounts": [str(good), "0", str(slow), "0"],
                "explicitBounds": [0.5, 1.0, 2.0],
            }
            metric = {"name": "ttft", "unit": "s", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}}
            who = {"key": "service.name", "value": {"stringValue": "gateway"}}
            body = {
                "resourceMetrics": [
                    {"resource": {"attributes": [who]}, "scopeMetrics": [{"scope": {"name": "s"}, "metrics": [metric]}]}
                ]
            }
            headers = {"Authorization": f"Bearer {self.tokens['otlp']}"}
            answer = self._send("/v1/metrics", body, 200, headers=headers)
            assert not answer.get("partialSuccess"), answer
            minute = now // 60_000_000_000
            self.counted[minute] += good
            self.slow[minute] += slow
            before = now

    def _runbooks(self) -> None:
        while not self.over.wait(1.5):
            mark = f"mark-{len(self.runbooks)}"
            self.runbooks[mark] = self.teller.tell("runbook", mark=mark)

    def _chaos(self, experiment: str) -> None:
        reference = ""
        while not self.over.wait(0.5):
            if reference and self.teller.tell("state", reference=reference)["state"] != "finished":
                continue
            reference = ""
            told = self.teller.tell("start", name=experiment)
            if told.startswith("run_"):
                reference = told
                self.runs.append(told)


def wait(condition: Callable[[], Any], what: str, *, seconds: float = SETTLE_SECONDS) -> None:
    """Wait until it holds, asking once a second."""
    deadline = time.monotonic() + seconds
    seen: Any = None
    while time.monotonic() < deadline:
        with suppress(psycopg.Error):
            seen = condition()
            if seen is True:
                return
        time.sleep(1)
    raise AssertionError(f"{what}: {seen}")


WAITING = """SELECT
 (SELECT count(*) FROM incidents_inboundevent WHERE finished_at IS NULL),
 (SELECT count(*) FROM core_eventdelivery WHERE finished_at IS NULL),
 (SELECT count(*) FROM delivery_delivery WHERE state = 'pending'),
 (SELECT count(*) FROM runbooks_runbookrun WHERE finished_at IS NULL),
 (SELECT count(*) FROM chaos_chaosrun WHERE state <> 'finished')"""
STUCK = """SELECT r.reference, r.state, r.attempts, r.due_at, r.lease_until, r.dead_at, r.last_error,
 s.step_id, s.state, s.detail, s.waiting_until
 FROM runbooks_runbookrun r LEFT JOIN runbooks_runstep s ON s.run_id = r.id WHERE r.finished_at IS NULL LIMIT 9"""


def storm(folder: Path, broker: Broker, *, seconds: float, kinds: list[str], seed: int) -> dict[str, Any]:
    """Let it blow so long; return what happened. Raises where something was lost, done twice or left."""
    started = time.monotonic()
    random.seed(seed)
    with ExitStack() as stack:
        # Under /tmp itself, so that the server's own user can come there.
        cluster = PrivateCluster(Path(mkdtemp(prefix="assay-many-")) / "postgresql")
        stack.callback(shutil.rmtree, cluster.folder.parent, ignore_errors=True)
        stack.callback(cluster.remove)
        cluster.folder.parent.chmod(0o755)
        cluster.create(["max_connections = 200", "fsync = off"])
        cluster.start()
        stack.callback(broker.remove)
        broker.start()
        (folder / "state").mkdir()
        site = Site(folder / "state", cluster.url(), {"BROKER_URL": broker.url, "ASSAY_LOG_LEVEL": "WARNING"})
        machines = Machines(site, cluster, broker, free_ports(2))
        address = stack.enter_context(receiver())
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.soak.many_site"],
            cwd=ROOT,
            env={**site.environment, "PGAPPNAME": "teller"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(process.communicate, timeout=20)
        stack.callback(process.kill)
        teller = Teller(process)
        tokens = teller.tell("seed", receiver=address)
        ((witness, _),) = stack.enter_context(sleepers(1))
        targets = stack.enter_context(sleepers(2))
        faults = [
            {"action": "process.stop", "arguments": {"process": {"environ": {"ASSAY_TARGET": mark}}}, "ttl": "20s"}
            for mark, _ in targets
        ]
        Lab(site, witness, process).experiment("frozen", faults, hold="1s")
        stack.callback(machines.stop)
        for name in PROCESSES:
            machines.start(name)
        wait(lambda: all(answers(f"{door}/readyz") for door in machines.doors), "the doors are not open")
        up = time.monotonic() - started
        load = Load(machines, teller, tokens)
        # A run whose runner was killed is reaped by its own deadlines: the short storm of chaos itself waits for these.
        threads = load.begin("frozen" if seconds >= 60 else "")
        storm_until = time.monotonic() + seconds
        planned = list(kinds)
        while time.monotonic() < storm_until or planned:
            machines.kill(planned.pop(0) if planned else random.choice(kinds))
            time.sleep(random.uniform(0.3, 1.0) if seconds < 60 else random.uniform(0.5, 6.0))
        load.over.set()
        for thread in threads:
            thread.join(300)
        assert not load.failures, load.failures
        calm = time.monotonic()

        def nothing_waits() -> Any:
            if seconds < 60:
                machines.expire_leases()
            found = machines.rows(WAITING)[0]
            if found[3]:
                load.settled_by_hand += teller.tell("settle_unknown")
            return found == (0, 0, 0, 0, 0) or (found, machines.rows(STUCK))

        wait(nothing_waits, "still waiting")
        settled = time.monotonic() - calm
        _hold(machines, load, [target for _, target in targets])
    return {
        "broker": type(broker).__name__,
        "killed": dict(machines.killed),
        "alerts": len(load.accepted),
        "telemetry": sum(load.counted.values()) + sum(load.slow.values()),
        "runbooks": len(load.runbooks),
        "settled by hand": load.settled_by_hand,
        "chaos runs": len(load.runs),
        "up": round(up),
        "settled": round(settled),
        "seconds": round(time.monotonic() - started),
    }


def _hold(machines: Machines, load: Load, targets: list[psutil.Process]) -> None:
    """Hold what came out against what was promised."""
    rows = machines.rows
    # Beside them, burn alerts come in by a door of the site's own.
    stored = dict(
        rows(
            "SELECT e.reference, e.state FROM incidents_inboundevent e JOIN incidents_integration i "
            "ON i.id = e.integration_id WHERE i.slug = 'prometheus'"
        )
    )
    assert len(stored) == len(load.accepted), "one stored event for each, however often it arrived"
    assert {stored[reference] for reference in load.accepted.values()} == {"processed"}
    alerts = rows("SELECT fingerprint, occurrences FROM incidents_alert WHERE fingerprint LIKE 'storm-%'")
    assert sorted(alerts) == sorted((f"storm-{number}", 1) for number in load.accepted)
    keys = Counter(key for (key,) in rows("SELECT idempotency_key FROM delivery_delivery"))
    assert max(keys.values()) == 1, keys.most_common(3)
    runs = rows("SELECT count(*) FROM incidents_escalationrun")[0][0]
    first = {
        key.rsplit(":", 2)[0] for key in keys if key.startswith("escalation:") and key.split(":")[2:4] == ["0", "0"]
    }
    assert len(first) == runs >= 1, "every incident's first step has paged"
    untried = rows(
        "SELECT d.idempotency_key FROM delivery_delivery d "
        "LEFT JOIN delivery_deliveryattempt a ON a.delivery_id = d.id "
        "WHERE a.id IS NULL AND d.idempotency_key LIKE 'escalation:%'"
    )
    assert not untried
    assert rows("SELECT count(*) FROM core_eventdelivery WHERE dead_at IS NOT NULL") == [(0,)]
    by_minute = {minute: (good, bad) for minute, good, bad, _ in load.teller.tell("counted")}
    for minute in load.counted:
        assert by_minute.get(minute) == (load.counted[minute], load.slow[minute]), f"minute {minute}"
    assert {state for (state,) in rows("SELECT state FROM runbooks_runbookrun")} <= {"succeeded"}
    assert (
        len({*load.runbooks.values()}) == len(load.runbooks) == rows("SELECT count(*) FROM runbooks_runbookrun")[0][0]
    )
    acted = [len(Receiver.keys[f"/keyed/{mark}"]) for mark in load.runbooks]
    assert max(acted) == 1, "an act is repeated under its key, never under another"
    # A step whose process died too often is left to a person, by the rule that runbooks state.
    assert acted.count(0) <= load.settled_by_hand <= max(len(acted) // 10, 1)
    wait(lambda: not any(is_frozen(target) for target in targets), "a process stays frozen", seconds=90)
    left = "SELECT state, detail FROM chaos_fault WHERE state NOT IN ('reverted', 'lasting')"
    wait(lambda: not (found := rows(left)) or found, "a fault stays injected", seconds=120)
    wait(lambda: (found := rows("SELECT count(*) FROM ledger_pendingentry")[0][0]) < 5 or found, "the sealer stands")
    assert load.teller.tell("verify") == []


def ensure_installed(kind: type[Redis] | type[RabbitMQ]) -> None:
    if postgresql_binaries() is None:
        pytest.skip("needs PostgreSQL's server")
    if not kind.is_installed():
        pytest.skip(f"needs {kind.__name__}'s server")


@pytest.mark.soak
def test_many_processes_lose_nothing_whatever_is_killed(tmp_path: Path) -> None:
    ensure_installed(Redis)
    kinds = ["worker", "connections", "broker", "web", "scheduler", "database"]
    seen = storm(tmp_path, Redis(tmp_path / "redis"), seconds=6, kinds=kinds, seed=7)
    assert sum(seen["killed"].values()) >= len(kinds)
    assert seen["alerts"] >= 1
    assert seen["runbooks"] >= 1


@pytest.mark.soak
@pytest.mark.parametrize("kind", [RabbitMQ, Redis])
def test_many_processes_lose_nothing_in_a_long_storm(tmp_path: Path, kind: type[Redis] | type[RabbitMQ]) -> None:
    ensure_installed(kind)
    kinds = (
        ["worker"] * 4 + ["web"] * 2 + ["scheduler"] * 2 + ["connections"] * 3 + ["runner"] * 3 + ["broker", "database"]
    )
    random.seed(3)
    random.shuffle(kinds)
    seen = storm(tmp_path, kind(tmp_path / "broker"), seconds=SOAK_SECONDS, kinds=kinds, seed=int(SOAK_SECONDS))
    sys.stdout.write(json.dumps(seen) + "\n")
    assert len(seen["killed"]) == 7

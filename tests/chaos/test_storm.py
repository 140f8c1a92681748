"""Runs of mixed faults while runner, worker, scheduler, database connections and watchdogs are killed at random.

Afterwards nothing is left of any fault: that is looked for at the targets themselves, not in the database.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from core.identifiers import new_id
from drivers.services.commands import find_program
from drivers.services.processes import find_marked
from tests.chaos.conftest import is_frozen, wait_for
from tests.chaos.own_site import ROOT, Lab, lab, selector, sleepers

pytestmark = [pytest.mark.long, pytest.mark.integration]
RUNS = int(os.environ.get("ASSAY_STORM_RUNS", "200"))
TTL = "20s"
LIVES_AT_LEAST_SECONDS = 30


# --- what is hurt, and how one sees at the target that it is well again


@dataclass
class Victim:
    """Something that is hurt again and again: the faults of its experiment, and whether it is well."""

    name: str
    faults: list[dict[str, Any]]
    is_well: Callable[[], bool]


@contextmanager
def frozen() -> Iterator[Victim]:
    with sleepers(2) as targets:
        faults = [{"action": "process.stop", "arguments": selector(mark), "ttl": TTL} for mark, _ in targets]
        yield Victim("frozen", faults, lambda: not any(is_frozen(process) for _, process in targets))


@contextmanager
def limited() -> Iterator[Victim]:
    with sleepers(1) as ((mark, process),):
        before = process.rlimit(resource.RLIMIT_NOFILE)
        fault = {"action": "process.limit_files", "arguments": {**selector(mark), "open_files": 9}, "ttl": TTL}
        yield Victim("limited", [fault], lambda: process.rlimit(resource.RLIMIT_NOFILE) == before)


@contextmanager
def pressed() -> Iterator[Victim]:
    with sleepers(1) as ((mark, process),):
        faults = [
            {"action": "pressure.cpu", "arguments": {"workers": 1, "load_percent": 1}, "ttl": TTL},
            {"action": "process.stop", "arguments": selector(mark), "ttl": TTL},
        ]
        yield Victim("pressed", faults, lambda: not find_marked() and not is_frozen(process))


@contextmanager
def slowed(state: Path) -> Iterator[Victim]:
    control = state / "proxies" / "storm.json"
    command = [sys.executable, "-m", "drivers.proxy", "--listen", "0", "--upstream", "127.0.0.1:9"]
    with subprocess.Popen([*command, "--control", str(control)], cwd=ROOT) as proxy:
        try:
            wait_for(control.exists, seconds=30)
            arguments = {"proxy": "storm", "milliseconds": 50}
            yield Victim(
                "slowed",
                [{"action": "proxy.delay", "arguments": arguments, "ttl": TTL}],
                lambda: not _proxy_faults(control),
            )
        finally:
            proxy.kill()


def _proxy_faults(control: Path) -> list[Any]:
    told = json.loads(control.read_text())
    host, _, port = told["admin"].removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"GET /status HTTP/1.0\r\nAuthorization: Bearer {told['token']}\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return list(json.loads(answer.partition(b"\r\n\r\n")[2])["faults"])


@contextmanager
def cut_off() -> Iterator[Victim]:
    name = f"assaystorm{new_id('n')[-6:]}"
    subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True, timeout=10)
    try:
        fault = {
            "action": "network.partition",
            "arguments": {"namespace": name, "peers": ["10.213.0.0/16"]},
            "ttl": TTL,
        }

        def is_well() -> bool:
            listed = subprocess.run(
                ["ip", "netns", "exec", name, find_program("nft"), "-j", "list", "ruleset"],
                check=True,
                capture_output=True,
                timeout=10,
            )
            sets = [one["set"] for one in json.loads(listed.stdout)["nftables"] if "set" in one]
            return not any(one.get("elem") for one in sets)

        yield Victim("cut-off", [fault], is_well)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=10)


# --- the site, and what kills it


@contextmanager
def postgresql() -> Iterator[str]:
    """A database server of the storm's own, so that connections can be killed; an empty text where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        yield ""
        return
    base, user = Path(f"/tmp/assay-storm-{os.getpid()}"), []
    base.mkdir()
    if os.geteuid() == 0:
        shutil.chown(base, "postgres")
        user = ["runuser", "-u", "postgres", "--"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    control = [*user, str(found[-1].parent / "pg_ctl"), "-D", str(base / "data"), "-w"]

    def do(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=120, cwd="/")

    do(*user, str(found[-1]), "-D", str(base / "data"), "-A", "trust", "-U", "postgres", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={base} -c fsync=off"
    do(*control, "-l", str(base / "log"), "-o", options, "start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        do(*control, "-m", "immediate", "stop")
        shutil.rmtree(base, ignore_errors=True)


@dataclass
class Storm:
    """A worker and a scheduler that are started again whenever they are dead, and a hand that kills at random."""

    site: Lab
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)
    _parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def begin(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=one, daemon=True) for one in (self._keep_up, self._kill)]
        for thread in threads:
            thread.start()
        return threads

    def calm(self) -> None:
        """Kill no more; what is dead is still started again."""
        self.calm_since = time.monotonic()

    calm_since: float = 0.0

    def end(self) -> None:
        self._over.set()
        for process in self._parts.values():
            process.kill()
            process.wait(10)

    def _keep_up(self) -> None:
        commands = {
            "worker": ["-m", "celery", "-A", "config", "worker", "--pool=threads", "--concurrency=4",
                       "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"],
            "scheduler": ["manage.py", "scheduler"],
        }  # fmt: skip
        while not self._over.wait(0.5):
            for name, command in commands.items():
                if name not in self._parts or self._parts[name].poll() is not None:
                    self._parts[name] = subprocess.Popen(
                        [sys.executable, *command],
                        cwd=ROOT,
                        env=self.site.site.environment,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                    )

    def _kill(self) -> None:
        chance = random.Random(self.seed)
        while not self._over.wait(chance.uniform(1.0, 6.0)):
            if self.calm_since:
                continue
            kind = chance.choices(("runner", "watchdog", "worker", "scheduler", "connection"), (5, 3, 1, 1, 2))[0]
            with contextlib.suppress(psutil.Error, psycopg.Error, ProcessLookupError):
                if kind == "connection":
                    self.kills[kind] += self._kill_connection()
                elif kind in {"worker", "scheduler"}:
                    # One that has just begun has nothing to lose yet, and would never come to work.
                    if kind in self._parts and self._lived(kind) > LIVES_AT_LEAST_SECONDS:
                        self._parts[kind].kill()
                        self.kills[kind] += 1
                elif found := self.find({"runner": "chaos_runner", "watchdog": "drivers.watchdog"}[kind]):
                    chance.choice(found).kill()
                    self.kills[kind] += 1

    def _lived(self, kind: str) -> float:
        process = self._parts[kind]
        return time.time() - psutil.Process(process.pid).create_time() if process.poll() is None else 0.0

    def find(self, word: str) -> list[psutil.Process]:
        """Return the site's processes with a word in their command."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                own = process.environ().get("ASSAY_STATE_DIR") == str(self.site.site.state)
                if own and any(word in part for part in process.cmdline()):
                    found.append(process)
        return found

    def _kill_connection(self) -> int:
        if not self.site.site.database_url:
            return 0
        with psycopg.connect(self.site.site.database_url, autocommit=True, connect_timeout=5) as connection:
            row = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                "AND backend_type = 'client backend' AND application_name <> 'lab' ORDER BY random() LIMIT 1"
            ).fetchone()
        return int(bool(row and row[0]))


def storm(state: Path, *, runs: int, seed: int, hurry: bool = False) -> dict[str, Any]:
    """Let it blow until so many runs have ended; return what happened. Raises where something is left.

    In a `hurry` the time that must pass before a dead runner is given up is let pass at once.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        database = stack.enter_context(postgresql())
        # The hand that only tells is spared; everybody else's connections are fair game.
        more = {"PGAPPNAME": "site"}
        site = stack.enter_context(lab(state, database_url=database, more=more))
        victims = [stack.enter_context(frozen()), stack.enter_context(limited()), stack.enter_context(slowed(state))]
        if find_program("stress-ng"):
            victims.append(stack.enter_context(pressed()))
        if os.geteuid() == 0 and find_program("nft"):
            victims.append(stack.enter_context(cut_off()))
        for victim in victims:
            site.experiment(victim.name, victim.faults, hold="2s")
        blowing = Storm(site, seed)
        stack.callback(blowing.end)
        blowing.begin()
        ended = _run_all(site, victims, blowing, runs=runs, hurry=hurry)
        blowing.calm()
        wait_for(lambda: not any(_is_dirty(site, reference) for reference in ended), seconds=180)
        wait_for(lambda: all(victim.is_well() for victim in victims), seconds=60)
        assert site.tell("remnants") == []
        states = [_state(site, reference) for reference in ended]
    return {
        "runs": len(ended),
        "verdicts": dict(Counter(one["verdict"] for one in states)),
        "faults": sum(len(one["faults"]) for one in states),
        "kills": dict(blowing.kills),
        "database": "postgresql" if database else "sqlite",
        "seconds": round(time.monotonic() - started),
    }


def _run_all(site: Lab, victims: list[Victim], blowing: Storm, *, runs: int, hurry: bool) -> list[str]:
    going_on: dict[str, str] = {}
    ended: list[str] = []
    deadline = time.monotonic() + 180 + 40 * runs
    while len(ended) < runs:
        assert time.monotonic() < deadline, f"{len(ended)} of {runs} runs ended; going on: {going_on}"
        for victim in victims:
            if victim.name not in going_on and len(ended) + len(going_on) < runs:
                reference = _tell(site, "start", name=victim.name)
                if reference.startswith("run_"):
                    going_on[victim.name] = reference
            elif victim.name in going_on:
                found = _state(site, reference := going_on[victim.name])
                if found["state"] == "finished":
                    ended.append(going_on.pop(victim.name))
                elif hurry and found["was_started"] and not blowing.find(reference):
                    _tell(site, "grow_old", reference=reference)
        time.sleep(0.3)
    return ended


def _state(site: Lab, reference: str) -> dict[str, Any]:
    return dict(_tell(site, "state", reference=reference))


def _is_dirty(site: Lab, reference: str) -> bool:
    return any(fault["state"] not in {"reverted", "lasting"} for fault in _state(site, reference)["faults"])


def _tell(site: Lab, do: str, **more: Any) -> Any:
    """Ask until it is answered: the connection of who asks is killed too."""
    for _ in range(20):
        try:
            return site.tell(do, **more)
        except AssertionError as error:
            if "OperationalError" not in str(error) and "InterfaceError" not in str(error):
                raise
            time.sleep(0.2)
    return site.tell(do, **more)


def test_nothing_is_left_of_a_few_runs_in_a_storm(tmp_path: Path) -> None:
    seen = storm(tmp_path / "site", runs=3, seed=7, hurry=True)
    assert seen["runs"] == 3
    assert seen["faults"] >= 1


@pytest.mark.soak
def test_nothing_is_left_of_two_hundred_runs_in_a_storm(tmp_path: Path) -> None:
    seen = storm(tmp_path / "site", runs=RUNS, seed=int(os.environ.get("ASSAY_STORM_SEED", "1")))
    sys.stdout.write(json.dumps(seen) + "\n")
    assert seen["runs"] == RUNS
    assert seen["faults"] >= RUNS / 2
    assert sum(seen["kills"].values()) >= RUNS / 10

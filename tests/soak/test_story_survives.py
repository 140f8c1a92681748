"""The story goes on although web, worker, scheduler and their supervisor are killed at random moments of it."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

pytestmark = [pytest.mark.long, pytest.mark.integration]

SUPERVISOR = "manage.py demo serve"
VICTIMS = ("granian", "celery", "manage.py scheduler")
CHECK = """
import django
django.setup()
from collections import Counter
from chaos.data import FaultState
from chaos.models import Fault
from delivery.models import Delivery
from ledger.services import verify_log
assert verify_log().holds
assert not Fault.objects.exclude(state=FaultState.REVERTED).exists(), "a fault stays injected"
keys = Counter(Delivery.objects.values_list("idempotency_key", flat=True))
assert keys and max(keys.values()) == 1, "a page has more than one delivery row"
"""


def processes_of(state_dir: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ASSAY_STATE_DIR") == str(state_dir):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


class RunningSite:
    """The demo's site, whose processes can be killed one by one or with their supervisor."""

    def __init__(self, state_dir: Path, environment: Mapping[str, str], port: int) -> None:
        self._state_dir, self._environment, self._port = state_dir, environment, port
        self._process = self._start()
        self.killed: list[str] = []

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._state_dir / "said.log").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "manage.py", "demo", "serve", "--port", str(self._port)],
                env=self._environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def wait_until_up(self) -> None:
        """Wait until it has said who may sign in."""
        deadline = time.monotonic() + 240
        while b"Sign in as one of these" not in (said := (self._state_dir / "said.log").read_bytes()):
            assert self.runs(), said.decode()
            assert time.monotonic() < deadline, said.decode()
            time.sleep(0.2)

    def kill(self, part: str) -> None:
        """Kill what has this part in its command line; the supervisor of all of it is started again, as by a person."""
        self.killed.append(part)
        if part == SUPERVISOR:
            self._process.kill()
            self._process.wait()
            self._process = self._start()
            return
        for process in processes_with(self._state_dir, (part,)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def runs(self) -> bool:
        """Tell whether its supervisor runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)


def processes_with(state_dir: Path, parts: Sequence[str]) -> list[psutil.Process]:
    found = []
    for process in processes_of(state_dir):
        with contextlib.suppress(psutil.NoSuchProcess):
            command = " ".join(process.cmdline())
            if any(part in command for part in parts):
                found.append(process)
    return found


def storm(site: RunningSite, chance: random.Random, victims: Sequence[str], stop: Event) -> None:
    for victim in victims:
        if stop.wait(chance.uniform(7, 14)):
            return
        site.kill(victim)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1]) % 20_000 + 20_000


def tell_the_story_in_a_storm(tmp_path: Path, *, seed: int, victims: Sequence[str]) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "ASSAY_STATE_DIR": str(tmp_path),
        "PORT": str(port),
        "DATABASE_URL": "",
        "BROKER_URL": "",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    site, stop = RunningSite(tmp_path, environment, port), Event()
    try:
        site.wait_until_up()
    except BaseException:
        site.stop()
        raise
    story = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "story"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    killer = Thread(target=storm, args=(site, random.Random(seed), victims, stop))
    try:
        time.sleep(5)
        killer.start()
        said, _ = story.communicate(timeout=600)
        assert story.returncode == 0, f"{said}\nkilled: {site.killed}"
        stop.set()
        killer.join(60)
        assert len(site.killed) >= min(len(victims), 4), f"the story was over too soon: only {site.killed} were killed"
        assert site.runs()
        subprocess.run([sys.executable, "-c", CHECK], env=environment, check=True)
        assert not [one for one in processes_of(tmp_path) if one.status() == psutil.STATUS_STOPPED]
    finally:
        stop.set()
        killer.join(60)
        story.kill()
        story.wait()
        site.stop()


def test_the_story_goes_on_whatever_is_killed_even_the_supervisor(tmp_path: Path) -> None:
    chance = random.Random(7)
    victims = [*VICTIMS, SUPERVISOR]
    chance.shuffle(victims)
    tell_the_story_in_a_storm(tmp_path, seed=7, victims=victims)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 6))
def test_the_story_goes_on_in_a_long_storm(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    tell_the_story_in_a_storm(tmp_path, seed=seed, victims=[chance.choice([*VICTIMS, SUPERVISOR]) for _ in range(12)])

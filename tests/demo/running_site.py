"""The demo's site as `make run` starts it, whose processes can be killed one by one or with their supervisor."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from demo.services.serving import PROMETHEUS_PORT_OFFSET

ROOT = Path(__file__).resolve().parents[2]
SUPERVISOR = "manage.py demo serve"
PORTS_OF_A_SITE = 110
WEB, WORKER, SCHEDULER = "granian", "celery", "manage.py scheduler"
NOTHING_IS_LOST = """
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


def free_port() -> int:
    """Return a port that is free now, as are those of the stack above it; below those that clients are given."""
    for first in random.sample(range(20_000, 32_000, PORTS_OF_A_SITE), 40):
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in (first, *range(first + PROMETHEUS_PORT_OFFSET, first + PORTS_OF_A_SITE)):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
    raise RuntimeError("no free ports")


class RunningSite:
    """A site in a state folder of its own. Started when it is made; `stop` ends it."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir, self._port = state_dir, free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self.environment = {
            **os.environ,
            "ASSAY_STATE_DIR": str(state_dir),
            "PORT": str(self._port),
            "ASSAY_SITE_URL": self.address,
            "DATABASE_URL": "",
            "BROKER_URL": "",
            "DJANGO_SETTINGS_MODULE": "config.settings",
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.killed: list[str] = []
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._state_dir / "said.log").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "manage.py", "demo", "serve", "--port", str(self._port)],
                cwd=ROOT,
                env=self.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def tell_the_story(self, *options: str) -> subprocess.Popen[str]:
        """Start `manage.py demo story`."""
        return subprocess.Popen(
            [sys.executable, "-u", "manage.py", "demo", "story", *options],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_until_up(self) -> None:
        """Wait until it has said who may sign in."""
        deadline = time.monotonic() + 240
        while b"Sign in as one of these" not in (said := (self._state_dir / "said.log").read_bytes()):
            assert self.runs(), said.decode()
            assert time.monotonic() < deadline, said.decode()
            time.sleep(0.2)

    def answers(self) -> bool:
        """Tell whether its pages are there."""
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self, part: str) -> None:
        """Kill what has this part in its command line; the supervisor of all of it is started again, as by a person."""
        self.killed.append(part)
        if part == SUPERVISOR:
            self._process.kill()
            self._process.wait()
            self._process = self._start()
            return
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if part in " ".join(process.cmdline()):
                    process.kill()

    def processes(self) -> list[psutil.Process]:
        """Return what runs for it."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("ASSAY_STATE_DIR") == str(self._state_dir):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def runs(self) -> bool:
        """Tell whether its supervisor runs."""
        return self._process.poll() is None

    def ensure_nothing_is_lost(self) -> None:
        """Fail where a fault stays, a page has left twice, or the ledger does not hold."""
        assert self.runs()
        subprocess.run([sys.executable, "-c", NOTHING_IS_LOST], cwd=ROOT, env=self.environment, check=True)
        assert not [one for one in self.processes() if one.status() == psutil.STATUS_STOPPED]

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)


@contextlib.contextmanager
def running_site(state_dir: Path) -> Iterator[RunningSite]:
    """A site that is up."""
    site = RunningSite(state_dir)
    try:
        site.wait_until_up()
        yield site
    finally:
        site.stop()

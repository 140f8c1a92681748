"""What the benches of a whole site share: a site on a free port, people who sign in, and how figures are printed."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = re.compile(r"password (\S+):")
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
# The demo's processes use ports from 90 to 104 above the site's.
PORTS_NEEDED = (0, *range(90, 105))


def say(bench: str, metric: str, value: float, unit: str, **more: Any) -> None:
    """Print one figure as a JSON object on a line of its own."""
    print(json.dumps({"bench": bench, "metric": metric, "value": round(value, 3), "unit": unit, **more}), flush=True)


def calibrate(bench: str) -> None:
    """Print the time of a fixed loop: the machine's speed moves, so figures mean little without it."""
    started = time.perf_counter()
    sum(number & 7 for number in range(1_000_000))
    say(bench, "calibration_loop", (time.perf_counter() - started) * 1000, "ms", load=round(os.getloadavg()[0], 1))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, int(len(ordered) * share + 0.999999) - 1))]


def free_port() -> int:
    """Return a port from which the demo's ports are free too."""
    for port in range(21_000, 60_000, 150):
        with contextlib.ExitStack() as held:
            try:
                for offset in PORTS_NEEDED:
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port + offset))
            except OSError:
                continue
            return port
    raise RuntimeError("no free ports")


class Site:
    """A site that `make run` started in `folder`; what it prints is read from a file."""

    def __init__(self, folder: Path, port: int, log: Path) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._folder, self._log = folder, log

    def said(self) -> str:
        """Return what the command has printed."""
        return self._log.read_text("utf-8", "replace")

    def password(self) -> str | None:
        """Return the password of the demo's people once it is printed."""
        found = PASSWORD.search(self.said())
        return found[1] if found else None

    def answers(self) -> bool:
        """Tell whether the site is ready."""
        try:
            return requests.get(f"{self.address}/readyz", timeout=2).ok
        except requests.RequestException:
            return False

    def sign_in(self, username: str) -> requests.Session:
        """Return a session of one of the demo's people."""
        password = self.password()
        if password is None:
            raise RuntimeError("the site has printed no sign-in yet")
        session = requests.Session()
        found = TOKEN.search(session.get(f"{self.address}/sign-in/", timeout=10).text)
        if found is None:
            raise RuntimeError("the sign-in page has no form")
        answer = session.post(
            f"{self.address}/sign-in/",
            data={"username": username, "password": password, "csrfmiddlewaretoken": found[1]},
            timeout=10,
        )
        if "/sign-in/" in answer.url:
            raise RuntimeError("the sign-in was refused")
        return session


@contextlib.contextmanager
def running(folder: Path, *, port: int, log: Path) -> Iterator[Site]:
    """Run `make run` in a checkout until the end of the block; its whole process group is ended then."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ASSAY_") and k != "VIRTUAL_ENV"}
    environment.update(DATABASE_URL="", BROKER_URL="")
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["make", "run", f"PORT={port}"],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Site(folder, port, log)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(condition: Any, *, seconds: float, what: str) -> float:
    """Wait until the condition holds; return the seconds that it took."""
    started = time.perf_counter()
    while not condition():
        if time.perf_counter() - started > seconds:
            raise RuntimeError(f"did not happen within {seconds:.0f} s: {what}")
        time.sleep(0.05)
    return time.perf_counter() - started

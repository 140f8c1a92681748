"""The supervisor with real processes that are really killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.integration

PROGRAM = """
import sys
from pathlib import Path
from core.supervisor import AlreadyRunningError, PortTakenError, ProcessSpec, Supervisor
folder = Path(sys.argv[1])
sleeper = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\\\n'); time.sleep(600)"
specs = [
    ProcessSpec(name=name, command=(sys.executable, "-c", sleeper, str(folder / name)), port=int(sys.argv[2]) or None)
    for name in ("one", "two")
]
try:
    sys.exit(Supervisor(specs, log_dir=folder / "log", say=print).run())
except (AlreadyRunningError, PortTakenError) as error:
    print(error)
    sys.exit(2)
"""


def start(folder: Path, port: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(port)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


def wait_for(condition: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the deadline has passed"
        time.sleep(0.05)


def pids(folder: Path, name: str) -> list[int]:
    path = folder / name
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(tmp_path)
    wait_for(lambda: pids(tmp_path, "one") and pids(tmp_path, "two"))
    yield process
    process.kill()
    process.communicate(timeout=10)
    for name in ("one", "two"):
        for pid in pids(tmp_path, name):
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_ends_no_child_is_left(
    supervisor: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    children = [*pids(tmp_path, "one"), *pids(tmp_path, "two")]
    supervisor.send_signal(number)
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in children))


def test_the_next_supervisor_ends_what_a_killed_one_has_left(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    """A stopped process cannot hear that its parent died; it must neither stay nor be doubled."""
    (left,) = pids(tmp_path, "one")
    os.kill(left, signal.SIGSTOP)
    supervisor.kill()
    supervisor.wait(10)
    assert psutil.pid_exists(left)
    again = start(tmp_path)
    try:
        wait_for(lambda: len(pids(tmp_path, "one")) == 2 and len(pids(tmp_path, "two")) == 2)
        wait_for(lambda: not psutil.pid_exists(left))
    finally:
        again.send_signal(signal.SIGINT)
        again.communicate(timeout=20)


def test_two_supervisors_of_one_site_do_not_fight(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    other = start(tmp_path)
    said, _ = other.communicate(timeout=20)
    assert other.returncode == 2
    assert f"under process {supervisor.pid}" in said
    assert len(pids(tmp_path, "one")) == 1


def test_a_killed_child_is_started_again(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    os.kill(pids(tmp_path, "one")[0], signal.SIGKILL)
    wait_for(lambda: len(pids(tmp_path, "one")) == 2)
    assert len(pids(tmp_path, "two")) == 1


def test_a_stopped_child_ends_too(supervisor: subprocess.Popen[str], tmp_path: Path) -> None:
    child = pids(tmp_path, "one")[0]
    os.kill(child, signal.SIGSTOP)
    supervisor.terminate()
    wait_for(lambda: not psutil.pid_exists(child))


def test_a_taken_port_is_named_with_the_variable_to_change(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said, _ = start(tmp_path, port).communicate(timeout=20)
    assert f"Port {port}" in said
    assert "make run PORT=" in said
    assert not pids(tmp_path, "one")

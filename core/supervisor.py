"""Start a set of processes, keep them running, and stop them all, however this process ends.

Every child leads a process group of its own and asks the kernel for SIGTERM when the supervisor dies
(PR_SET_PDEATHSIG), so that even `kill -9` of the supervisor leaves no child behind. A child that cannot hear it, or has
not ended yet, is ended by the next supervisor of the same site: who runs is written down beside the logs.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
RESTART_SECONDS = (0.5, 1, 2, 5, 10, 30)
STEADY_AFTER_SECONDS = 30.0
STOP_GRACE_SECONDS = 8.0
LEFTOVER_GRACE_SECONDS = 4.0
LOG_BYTES = 10 * 1024 * 1024
RECORD = "processes.json"

_libc = ctypes.CDLL(None, use_errno=True)


class PortTakenError(RuntimeError):
    """A port that a process needs is in use."""


class AlreadyRunningError(RuntimeError):
    """Another supervisor runs the same site."""


@dataclass(frozen=True)
class ProcessSpec:
    """A process to keep running. `ready` says when it is up; without it, started is up.

    `stop_last` is for what others still talk to while they end.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int | None = None
    port_variable: str = "PORT"
    ready: Callable[[], bool] | None = None
    stop_last: bool = False


@dataclass
class _Child:
    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0


class Supervisor:
    """Keeps processes running until `stop` is called, a signal comes, or the parent process is gone."""

    def __init__(self, specs: list[ProcessSpec], *, log_dir: Path, say: Callable[[str], None]) -> None:
        self._children = [_Child(spec) for spec in specs]
        self._log_dir = log_dir
        self._say = say
        self._stop = threading.Event()
        self._parent = os.getppid()

    def stop(self) -> None:
        """Ask for the end."""
        self._stop.set()

    def run(self, *, on_ready: Callable[[], None] | None = None, ready_within: float = 60.0) -> int:
        """Start everything, call `on_ready` once all are up, and keep it running. Returns an exit code."""
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, self._on_signal)
        self._end_leftovers()
        try:
            for child in self._children:
                if child.spec.port is not None:
                    ensure_port_is_free(child.spec.port, needed_by=child.spec.name, variable=child.spec.port_variable)
            for child in self._children:
                self._start(child)
            if self._wait_until_ready(ready_within) and on_ready is not None:
                on_ready()
            while not self._stop.is_set():
                self._keep_running()
                if os.getppid() != self._parent:
                    self._say("The process that started this one is gone; stopping.")
                    break
                self._stop.wait(0.2)
        finally:
            self._stop_all()
        return 0

    def _end_leftovers(self) -> None:
        """End what a killed supervisor of this site has left. Raises AlreadyRunningError when it lives."""
        try:
            before = json.loads((self._log_dir / RECORD).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return
        pid, started = before["supervisor"]
        if pid != os.getpid() and started_ticks(pid) == started:
            raise AlreadyRunningError(
                f"This site runs already, under process {pid}. Stop that one first, or choose another ASSAY_STATE_DIR."
            )
        left = [pid for pid, started in before["children"] if started_ticks(pid) == started]
        if left:
            self._say(f"  ending {len(left)} processes that a killed supervisor has left")
        deadline = time.monotonic() + LEFTOVER_GRACE_SECONDS
        for pid in left:
            for number in (signal.SIGCONT, signal.SIGTERM):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, number)
        while any(_lives(pid) for pid in left) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        while any(_lives(pid) for pid in left):
            time.sleep(0.05)

    def _write_record(self) -> None:
        running = [child.process.pid for child in self._children if child.process is not None]
        record = {
            "supervisor": [os.getpid(), started_ticks(os.getpid())],
            "children": [[pid, started_ticks(pid)] for pid in running],
        }
        draft = self._log_dir / f"{RECORD}.draft"
        draft.write_text(json.dumps(record), "utf-8")
        draft.replace(self._log_dir / RECORD)

    def _on_signal(self, _signal: int, _frame: FrameType | None) -> None:
        self._stop.set()

    def _start(self, child: _Child) -> None:
        self._log_dir.mkdir(parents=True, exist_ok=True)
        path = self._log_dir / f"{child.spec.name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            # preexec_fn is safe here: the supervisor starts its children before it has threads of its own.
            child.process = subprocess.Popen(  # noqa: S603 commands come from this program
                child.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **child.spec.environment},
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 see above
            )
        child.started_at = time.monotonic()
        self._write_record()

    def _wait_until_ready(self, within: float) -> bool:
        deadline = time.monotonic() + within
        waiting = [child for child in self._children if child.spec.ready is not None]
        said: set[str] = set()
        while waiting and not self._stop.is_set():
            self._keep_running()
            for child in list(waiting):
                if child.spec.ready is not None and child.spec.ready():
                    waiting.remove(child)
                    self._say(f"  {child.spec.name} is up")
            if time.monotonic() > deadline:
                for child in waiting:
                    if child.spec.name not in said:
                        said.add(child.spec.name)
                        self._say(
                            f"  {child.spec.name} is not up after {within:.0f} s; "
                            f"see {self._log_dir / child.spec.name}.log. Still trying."
                        )
                deadline = float("inf")
            self._stop.wait(0.1)
        return not self._stop.is_set()

    def _keep_running(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                if now - child.started_at > STEADY_AFTER_SECONDS:
                    child.failures = 0
                delay = RESTART_SECONDS[min(child.failures, len(RESTART_SECONDS) - 1)]
                self._say(
                    f"  {child.spec.name} ended ({_how(child.process.returncode)}); starting it again in {delay} s"
                )
                child.process, child.restart_at = None, now + delay
                child.failures += 1
            elif child.process is None and now >= child.restart_at:
                self._start(child)

    def _stop_all(self) -> None:
        for last in (False, True):
            self._stop_these([child for child in self._children if child.spec.stop_last is last])

    @staticmethod
    def _stop_these(children: list[_Child]) -> None:
        running = [child.process for child in children if child.process is not None and child.process.poll() is None]
        for process in running:
            # A stopped (SIGSTOP) child would never see SIGTERM.
            _signal_group(process, signal.SIGCONT)
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_GRACE_SECONDS
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(deadline - time.monotonic(), 0.01))
        for process in running:
            _signal_group(process, signal.SIGKILL)
            process.wait()


def die_with_parent() -> None:
    """Ask the kernel to send SIGTERM to this process when its parent dies."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def started_ticks(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot, or None when there is none (proc(5), field 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(")")[2].split()[19])


def _lives(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def ensure_port_is_free(port: int, *, needed_by: str, variable: str) -> None:
    """Raise PortTakenError when somebody listens on the loopback port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise PortTakenError(
                f"Port {port}, which {needed_by} needs, is in use. Stop what listens there, or choose another: "
                f"make run {variable}={port + 100}"
            ) from None


def answers_http(url: str) -> Callable[[], bool]:
    """Return a check that a URL on this machine answers with success."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")

    def check() -> bool:
        try:
            with socket.create_connection((name, int(port)), timeout=1) as connection:
                connection.sendall(f"GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
                return connection.recv(64).split(b" ")[1:2] == [b"200"]
        except OSError:
            return False

    return check


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"

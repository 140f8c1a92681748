"""Linux processes: find them by a selector, tell them apart by process id and start time, signal them."""

import os
import re
import signal
import time
from collections.abc import Callable
from typing import Annotated

import psutil
from pydantic import AfterValidator, Field, model_validator

from drivers.data import Arguments, Target

MAX_TARGETS = 10_000
MARK_VARIABLE = "ASSAY_FAULT"


def _compiles(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


class ProcessSelector(Arguments):
    """Which processes: by variables of their environment, by a pattern over their command line, or both."""

    environ: dict[str, str] = {}
    cmdline: Annotated[str, AfterValidator(_compiles)] = Field(default="", max_length=300)

    @model_validator(mode="after")
    def _not_everything(self) -> "ProcessSelector":
        if not self.environ and not self.cmdline:
            raise ValueError("an empty selector would mean every process; give environ or cmdline")
        return self


class GoneError(RuntimeError):
    """The process has ended, or another one has its id now."""


def find_processes(selector: ProcessSelector) -> list[Target]:
    """Return the processes that a selector means, by name; never this process, its parents or process 1."""
    pattern = re.compile(selector.cmdline) if selector.cmdline else None
    own = {1, os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: list[Target] = []
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        try:
            environ = process.environ() if selector.environ else {}
            if any(environ.get(name) != value for name, value in selector.environ.items()):
                continue
            command = " ".join(process.cmdline())
            if pattern is not None and not pattern.search(command):
                continue
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            name = environ.get("ASSAY_TARGET") or process.name()
            found.append(Target("process", name, {"pid": process.pid, "started": process.create_time()}))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return sorted(found, key=lambda target: (target.name, target.identity["pid"]))[:MAX_TARGETS]


def living(target: Target) -> psutil.Process:
    """Return the process of a target. Raises GoneError when it has ended, even if its id is in use again."""
    try:
        process = psutil.Process(target.identity["pid"])
        if abs(process.create_time() - target.identity["started"]) > 0.05 or process.status() == psutil.STATUS_ZOMBIE:
            raise GoneError(f"{target.name}: process {target.identity['pid']} is another one now")
    except psutil.NoSuchProcess:
        raise GoneError(f"{target.name}: process {target.identity['pid']} has ended") from None
    return process


def send(target: Target, number: signal.Signals) -> None:
    """Signal a target. Raises GoneError; psutil checks the start time again right before the signal."""
    try:
        living(target).send_signal(number)
    except psutil.NoSuchProcess:
        raise GoneError(f"{target.name} has ended") from None


def is_stopped(target: Target) -> bool:
    """Say whether a target is stopped (SIGSTOP); one that has ended is not."""
    try:
        return bool(living(target).status() == psutil.STATUS_STOPPED)
    except (GoneError, psutil.NoSuchProcess):
        return False


def wait_until(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Poll a condition until it holds or the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def find_marked(mark: str = "") -> list[psutil.Process]:
    """Return the processes that carry a fault's mark (of any fault without one), and all others of their sessions."""
    sessions: set[int] = set()
    found: dict[int, psutil.Process] = {}
    everything = list(psutil.process_iter())
    for process in everything:
        try:
            carried = process.environ().get(MARK_VARIABLE, "")
            if carried and (not mark or carried == mark) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
                sessions.add(os.getsid(process.pid))
        except (psutil.Error, OSError):
            continue
    for process in everything:
        try:
            # A child may have written over its environment; the session it is in says whose it is.
            if os.getsid(process.pid) in sessions & set(found) and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
        except (psutil.Error, OSError):
            continue
    return list(found.values())


def kill_marked(mark: str) -> list[int]:
    """Kill the processes of a fault, leaders last; returns which."""
    killed = []
    for process in sorted(find_marked(mark), key=_leads):
        try:
            process.kill()
            process.wait(5)
            killed.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return killed


def _leads(process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == process.pid
    except OSError:
        return False

"""What a recovery test works with: its steps as the page shows them, its folder, and the clean-up that it owes."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from chaos.domain.recovery_documents import RecoveryTestSpec
from chaos.domain.recovery_measure import Marker
from chaos.recovery_models import RecoveryTestRun
from core.clock import database_now

PREFIX = "assay-recovery-"


class DrillError(RuntimeError):
    """The test cannot be carried out here, or broke off; what it says is the reason of an inconclusive verdict."""


class DrillRefusedError(DrillError):
    """A guard refused what the test needs; nothing was started."""


@dataclass
class DrillResult:
    """What a test has seen. `parts` are seconds by name; `scope` says what was real and what was put up for it."""

    scope: str
    witness: str
    markers: list[Marker] = field(default_factory=list)
    survivors: set[int] = field(default_factory=set)
    fault_at: float = 0.0
    fault_done: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)
    data_check: str = "not checked"
    data_passed: bool | None = None
    differences: list[str] = field(default_factory=list)
    security: dict[str, bool] = field(default_factory=dict)
    decisions: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    # A test in which nothing is restored can lose no rows: neither data nor recovery point are looked at.
    keeps_rows: bool = True
    _phase_from: float = 0.0

    def fault(self, *, at: float) -> None:
        """Note the fault: it began at an instant and is done now; the first part of the recovery begins with it."""
        self.fault_at = self._phase_from = at
        self.fault_done = time.monotonic()

    def end_part(self, name: str) -> None:
        """End a part of the recovery time now; the next begins here, so that the parts add up."""
        now = time.monotonic()
        self.parts[name] = now - self._phase_from
        self._phase_from = now

    @property
    def security_passed(self) -> bool | None:
        """Say whether every protection holds on the recovered side; None when none was looked at."""
        return all(self.security.values()) if self.security else None


class DrillContext:
    """One run at work."""

    def __init__(self, run: RecoveryTestRun, spec: RecoveryTestSpec) -> None:
        self.run = run
        self.spec = spec
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{run.reference}-"))
        # The database server runs as another user and must reach its own folder within.
        self.folder.chmod(0o711)
        self._owed: list[Callable[[], None]] = []
        RecoveryTestRun.objects.filter(pk=run.pk).update(folder=str(self.folder))

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Show a step as going on, then as done with how long it took; what the block puts in is shown too."""
        step: dict[str, Any] = {"name": name, "started_at": database_now().isoformat(), "state": "running"}
        self.run.steps.append(step)
        self._save()
        started = time.monotonic()
        try:
            yield step
        except BaseException as error:
            step |= {"state": "failed", "detail": str(error)[:500]}
            raise
        else:
            step["state"] = "done"
        finally:
            step["seconds"] = round(time.monotonic() - started, 3)
            self._save()

    def owe(self, clean_up: Callable[[], None]) -> None:
        """Do this at the end, whatever happens, last owed first."""
        self._owed.append(clean_up)

    def clean_up(self) -> list[str]:
        """Do what is owed, remove the folder, and return what is left by looking at the machine."""
        while self._owed:
            with suppress(Exception):
                self._owed.pop()()
        return sweep(self.folder)

    def _save(self) -> None:
        RecoveryTestRun.objects.filter(pk=self.run.pk).update(steps=self.run.steps)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a test's folder, found by their command, environment or working folder."""
    marks = str(folder)
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with suppress(psutil.Error):
            facts = [*process.cmdline(), process.cwd(), process.environ().get("ASSAY_STATE_DIR", "")]
            if any(marks in fact for fact in facts):
                found.append(process)
    return found


def sweep(folder: Path) -> list[str]:
    """End what works in a test's folder, delete it, and return what could not be removed."""
    if PREFIX not in folder.name:
        return [f"{folder} is not a folder of a recovery test"]
    for _ in range(3):
        processes = processes_of(folder)
        if not processes:
            break
        for process in processes:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=5)
    shutil.rmtree(folder, ignore_errors=True)
    left = [f"process {process.pid}" for process in processes_of(folder)]
    return [*left, *([str(folder)] if folder.exists() else [])]

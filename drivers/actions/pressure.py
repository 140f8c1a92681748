"""Pressure on this host by stress-ng, which ends by itself, and limits on single processes."""

import resource
import shutil
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import psutil
from pydantic import Field

from drivers.actions.processes import ProcessArguments
from drivers.data import ActionResult, Arguments, Plan, Risk, Support, Target
from drivers.services.commands import find_program, start_marked
from drivers.services.faults import ReversibleFault, fault_name
from drivers.services.processes import GoneError, find_marked, find_processes, kill_marked, living, wait_until

STARTS_WITHIN = 5.0
SPARE_DISK_RATIO = 0.5


class CpuArguments(Arguments):
    """How many workers, and how busy each keeps a core."""

    workers: int = Field(default=1, ge=1, le=64)
    load_percent: int = Field(default=100, ge=1, le=100)


class MemoryArguments(Arguments):
    """How much memory is held and touched, in percent of what is free."""

    percent_of_free: int = Field(ge=1, le=90)


class DiskArguments(Arguments):
    """Where is written, and how much; at most half of what is free there."""

    folder: str = Field(pattern=r"^/[A-Za-z0-9_./-]{1,200}$")
    megabytes: int = Field(ge=1, le=100_000)


class _Pressure(ReversibleFault):
    proof: ClassVar[str] = "the marked processes run"
    name: ClassVar[str]

    def probe(self, arguments: Any) -> Support:
        if not find_program("stress-ng"):
            return Support(supported=False, reason="stress-ng is not installed here")
        problem = self.problem(arguments)
        return Support(supported=not problem, reason=problem)

    def problem(self, arguments: Any) -> str:  # noqa: ARG002
        """Return why these arguments are not possible here, or an empty text."""
        return ""

    def stressors(self, arguments: Any) -> list[str]:
        """Return what stress-ng is asked for."""
        raise NotImplementedError

    def plan(self, arguments: Any) -> Plan:
        asked = " ".join(self.stressors(arguments))
        return Plan(
            summary=f"stress-ng {asked} on this host",
            targets=(Target("host", socket.gethostname()),),
            commands=(f"stress-ng {asked} --timeout …",),
            undo="kill the marked processes; stress-ng ends by itself when its time is up",
            matched=1,
        )

    def foresee(self, arguments: Any, *, idempotency_key: str, ttl: timedelta) -> dict[str, Any]:
        stressors = self.stressors(arguments)
        return {"mark": fault_name(idempotency_key), "seconds": int(ttl.total_seconds()), "stressors": stressors}

    def inject(self, arguments: Any, foreseen: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        command = ["stress-ng", *foreseen["stressors"], "--timeout", f"{foreseen['seconds']}s", "--quiet"]
        start_marked([find_program("stress-ng"), *command[1:]], mark=foreseen["mark"], folder=Path("/tmp"))  # noqa: S108  # nosec B108
        if not wait_until(lambda: len(find_marked(foreseen["mark"])) > 1, seconds=STARTS_WITHIN):
            kill_marked(foreseen["mark"])
            return ActionResult(ok=False, error="stress-ng did not start its workers")
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: Any, output: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        killed = kill_marked(output["mark"])
        outcome = f"{len(killed)} processes ended" if killed else "was over already"
        return ActionResult(ok=not find_marked(output["mark"]), output={"outcome": {socket.gethostname(): outcome}})

    def is_active(self, arguments: Any, output: dict[str, Any]) -> bool:  # noqa: ARG002
        return bool(find_marked(output["mark"]))


class CpuPressure(_Pressure):
    """Keeps cores busy."""

    name: ClassVar[str] = "pressure.cpu"
    description: ClassVar[str] = "Keep cores of this host busy (stress-ng)."
    arguments: ClassVar[type[Arguments]] = CpuArguments

    def stressors(self, arguments: CpuArguments) -> list[str]:
        return ["--cpu", str(arguments.workers), "--cpu-load", str(arguments.load_percent)]

    def remains(self) -> list[str]:
        """Return marked processes of any fault."""
        return [f"process {process.pid}" for process in find_marked()]


class MemoryPressure(_Pressure):
    """Holds memory."""

    name: ClassVar[str] = "pressure.memory"
    description: ClassVar[str] = "Hold and touch memory of this host (stress-ng)."
    arguments: ClassVar[type[Arguments]] = MemoryArguments

    def stressors(self, arguments: MemoryArguments) -> list[str]:
        wanted = psutil.virtual_memory().available * arguments.percent_of_free // 100
        return ["--vm", "1", "--vm-bytes", str(wanted), "--vm-keep"]


class DiskPressure(_Pressure):
    """Writes to a disk."""

    name: ClassVar[str] = "pressure.disk"
    description: ClassVar[str] = "Write to a disk of this host (stress-ng), at most half of what is free."
    arguments: ClassVar[type[Arguments]] = DiskArguments

    def problem(self, arguments: DiskArguments) -> str:
        folder = Path(arguments.folder)
        if not folder.is_dir():
            return f"{folder} is no folder here"
        free = shutil.disk_usage(folder).free
        if arguments.megabytes * 1_000_000 > free * SPARE_DISK_RATIO:
            return f"{arguments.megabytes} MB is more than half of the {free // 1_000_000} MB that are free"
        return ""

    def stressors(self, arguments: DiskArguments) -> list[str]:
        return ["--hdd", "1", "--hdd-bytes", f"{arguments.megabytes}m", "--temp-path", arguments.folder]


class LimitArguments(ProcessArguments):
    """How many files the processes may have open."""

    open_files: int = Field(ge=0, le=1_000_000)


class LimitFiles(ReversibleFault):
    """Lowers how many files processes may have open."""

    name: ClassVar[str] = "process.limit_files"
    description: ClassVar[str] = "Lower how many files running processes may have open (RLIMIT_NOFILE, soft)."
    arguments: ClassVar[type[Arguments]] = LimitArguments
    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    proof: ClassVar[str] = "the kernel's limit of each process"

    def probe(self, arguments: LimitArguments) -> Support:  # noqa: ARG002
        linux = sys.platform.startswith("linux")
        return Support(supported=linux, reason="" if linux else "limits are set on Linux only")

    def plan(self, arguments: LimitArguments) -> Plan:
        found = find_processes(arguments.process)
        targets = tuple(found[: arguments.count])
        names = ", ".join(target.name for target in targets) or "nothing: no process matches"
        return Plan(
            summary=f"Let {names} open {arguments.open_files} files",
            targets=targets,
            commands=tuple(f"prlimit --pid {one.identity['pid']} --nofile={arguments.open_files}:" for one in targets),
            undo="the limit that each had before",
            matched=len(found),
        )

    def foresee(
        self,
        arguments: LimitArguments,
        *,
        idempotency_key: str,  # noqa: ARG002 a limit is its own key
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        processes = []
        for target in find_processes(arguments.process)[: arguments.count]:
            soft, hard = living(target).rlimit(resource.RLIMIT_NOFILE)
            processes.append({"name": target.name, **target.identity, "soft": soft, "hard": hard})
        return {"processes": processes}

    def inject(self, arguments: LimitArguments, foreseen: dict[str, Any]) -> ActionResult:
        done = self._set(foreseen, lambda one: min(arguments.open_files, one["hard"]))
        error = "" if done else "no process matches the selector"
        return ActionResult(ok=bool(done), output=foreseen, error=error)

    def undo(self, arguments: LimitArguments, output: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        restored = self._set(output, lambda one: one["soft"])
        outcome = {
            one["name"]: "limit restored" if one["name"] in restored else "already gone" for one in output["processes"]
        }
        return ActionResult(ok=True, output={"outcome": outcome})

    def is_active(self, arguments: LimitArguments, output: dict[str, Any]) -> bool:  # noqa: ARG002
        for one in output["processes"]:
            try:
                if living(_target(one)).rlimit(resource.RLIMIT_NOFILE)[0] != one["soft"]:
                    return True
            except (GoneError, psutil.NoSuchProcess):
                continue
        return False

    @staticmethod
    def _set(output: dict[str, Any], limit: Any) -> list[str]:
        done = []
        for one in output["processes"]:
            try:
                living(_target(one)).rlimit(resource.RLIMIT_NOFILE, (limit(one), one["hard"]))
                done.append(one["name"])
            except (GoneError, psutil.NoSuchProcess):
                continue
        return done


class CgroupArguments(Arguments):
    """Which control group, by its path below /sys/fs/cgroup."""

    path: str = Field(pattern=r"^[A-Za-z0-9_.@:-]+(/[A-Za-z0-9_.@:-]+){0,12}$", max_length=300)


class FreezeCgroup(ReversibleFault):
    """Freezes a control group."""

    name: ClassVar[str] = "process.freeze_cgroup"
    description: ClassVar[str] = "Freeze every process of a control group (cgroup.freeze of version 2, freezer of 1)."
    arguments: ClassVar[type[Arguments]] = CgroupArguments
    proof: ClassVar[str] = "the group's own frozen state"
    root: ClassVar[Path] = Path("/sys/fs/cgroup")

    def probe(self, arguments: CgroupArguments) -> Support:
        problem = self._problem(arguments)
        return Support(supported=not problem, reason=problem)

    def _problem(self, arguments: CgroupArguments) -> str:
        folder = self._folder(arguments)
        if ".." in arguments.path.split("/"):
            return "a path goes down only"
        if self._switch(folder) is None:
            return f"{folder} is no control group that can be frozen"
        own = {"1", *(str(one.pid) for one in (psutil.Process(), *psutil.Process().parents()))}
        inside = own & set(self._members(folder))
        return f"process {min(inside)} is in it: this one, a parent of it, or process 1" if inside else ""

    def plan(self, arguments: CgroupArguments) -> Plan:
        folder = self._folder(arguments)
        members = self._members(folder)
        return Plan(
            summary=f"Freeze {len(members)} processes of {folder}",
            targets=(Target("cgroup", arguments.path),) if members else (),
            commands=(f"echo 1 > {folder}/cgroup.freeze",),
            undo=f"echo 0 > {folder}/cgroup.freeze",
            matched=1,
        )

    def foresee(
        self,
        arguments: CgroupArguments,
        *,
        idempotency_key: str,  # noqa: ARG002 a group is frozen or not
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        return {"inode": self._folder(arguments).stat().st_ino}

    def inject(self, arguments: CgroupArguments, foreseen: dict[str, Any]) -> ActionResult:
        self._write(arguments, frozen=True)
        frozen = wait_until(lambda: self.is_active(arguments, foreseen), seconds=STARTS_WITHIN)
        return ActionResult(ok=frozen, output=foreseen, error="" if frozen else "the group did not freeze in time")

    def undo(self, arguments: CgroupArguments, output: dict[str, Any]) -> ActionResult:
        if not self._same(arguments, output):
            return ActionResult(ok=True, output={"outcome": {arguments.path: "already gone"}})
        self._write(arguments, frozen=False)
        gone = wait_until(lambda: not self.is_active(arguments, output), seconds=STARTS_WITHIN)
        return ActionResult(ok=gone, output={"outcome": {arguments.path: "goes on"}})

    def is_active(self, arguments: CgroupArguments, output: dict[str, Any]) -> bool:
        if not self._same(arguments, output):
            return False
        folder = self._folder(arguments)
        if (folder / "cgroup.events").exists():
            return "frozen 1" in (folder / "cgroup.events").read_text()
        return (folder / "freezer.state").read_text().strip() != "THAWED"

    def _folder(self, arguments: CgroupArguments) -> Path:
        return self.root / arguments.path

    def _same(self, arguments: CgroupArguments, output: dict[str, Any]) -> bool:
        folder = self._folder(arguments)
        return folder.is_dir() and folder.stat().st_ino == output.get("inode")

    @staticmethod
    def _switch(folder: Path) -> Path | None:
        return next((one for one in (folder / "cgroup.freeze", folder / "freezer.state") if one.exists()), None)

    @staticmethod
    def _members(folder: Path) -> list[str]:
        members: list[str] = []
        for path in folder.rglob("cgroup.procs") if folder.is_dir() else ():
            members += path.read_text().split()
        return members

    def _write(self, arguments: CgroupArguments, *, frozen: bool) -> None:
        switch = self._switch(self._folder(arguments))
        if switch is None:
            raise FileNotFoundError(f"{arguments.path} is no control group that can be frozen")
        words = ("0", "1") if switch.name == "cgroup.freeze" else ("THAWED", "FROZEN")
        switch.write_text(words[frozen])


def _target(one: dict[str, Any]) -> Target:
    return Target("process", one["name"], {"pid": one["pid"], "started": one["started"]})


PRESSURE_ACTIONS = (CpuPressure(), MemoryPressure(), DiskPressure(), LimitFiles(), FreezeCgroup())

"""Assay's own worker, scheduler, broker and database, so that it practises on itself."""

import json
import shutil
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

import psutil
from django.conf import settings
from django.db import connection
from pydantic import Field

from core.broker import SCHEME
from core.supervisor import RECORD, started_ticks
from drivers.data import ActionResult, Arguments, Plan, Risk, Support, Target
from drivers.services.commands import start_marked
from drivers.services.faults import OneWay, ReversibleFault, fault_name
from drivers.services.processes import (
    GoneError,
    find_marked,
    is_stopped,
    kill_marked,
    living,
    send,
    wait_until,
)

SETTLE_SECONDS = 5.0
MOST_LOCKED_SECONDS = 20
PARTS: dict[str, str] = {"worker": "celery", "scheduler": "scheduler", "web": "granian"}


class PartArguments(Arguments):
    """Which part of this site, of those that its supervisor on this machine has started."""

    part: Literal["worker", "scheduler"]


def _parts(part: str) -> list[Target]:
    """Return the processes of a part of this site; none when no supervisor of it runs on this machine."""
    try:
        record = json.loads((settings.STATE_DIR / "log" / RECORD).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    found = []
    for pid, started in record["children"]:
        if started_ticks(pid) != started:
            continue
        try:
            process = psutil.Process(pid)
            if PARTS[part] in process.cmdline() or any(PARTS[part] in word for word in process.cmdline()[1:3]):
                found.append(Target("site", part, {"pid": pid, "started": process.create_time()}))
        except psutil.NoSuchProcess:
            continue
    return found


def _support(part: str) -> Support:
    found = bool(_parts(part))
    return Support(supported=found, reason="" if found else f"no {part} of this site runs under a supervisor here")


class FreezePart(ReversibleFault):
    """Freezes a part of this site."""

    name: ClassVar[str] = "site.freeze"
    description: ClassVar[str] = "Freeze this site's own worker or scheduler (SIGSTOP)."
    arguments: ClassVar[type[Arguments]] = PartArguments
    proof: ClassVar[str] = "the process is in state T in /proc"

    def probe(self, arguments: PartArguments) -> Support:
        return _support(arguments.part)

    def plan(self, arguments: PartArguments) -> Plan:
        targets = _parts(arguments.part)
        return Plan(
            summary=f"Freeze this site's {arguments.part}",
            targets=tuple(targets),
            commands=tuple(f"kill -STOP {target.identity['pid']}" for target in targets),
            undo="kill -CONT the same process",
            matched=len(targets),
        )

    def foresee(
        self,
        arguments: PartArguments,
        *,
        idempotency_key: str,  # noqa: ARG002 a signal is its own key
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        return {"processes": [{"name": one.name, **one.identity} for one in _parts(arguments.part)]}

    def inject(self, arguments: PartArguments, foreseen: dict[str, Any]) -> ActionResult:
        targets = _targets(foreseen)
        for target in targets:
            send(target, signal.SIGSTOP)
        frozen = bool(targets) and wait_until(lambda: all(map(is_stopped, targets)), seconds=SETTLE_SECONDS)
        return ActionResult(ok=frozen, output=foreseen, error="" if frozen else f"no {arguments.part} was frozen")

    def undo(self, arguments: PartArguments, output: dict[str, Any]) -> ActionResult:
        outcome = {}
        for target in _targets(output):
            try:
                send(target, signal.SIGCONT)
                outcome[arguments.part] = "continued"
            except GoneError as gone:
                outcome[arguments.part] = f"already gone ({gone})"
        gone_on = wait_until(lambda: not any(map(is_stopped, _targets(output))), seconds=SETTLE_SECONDS)
        return ActionResult(ok=gone_on, output={"outcome": outcome})

    def is_active(self, arguments: PartArguments, output: dict[str, Any]) -> bool:  # noqa: ARG002
        return any(map(is_stopped, _targets(output)))


class KillPart(OneWay):
    """Kills a part of this site; its supervisor starts another one."""

    name: ClassVar[str] = "site.kill"
    description: ClassVar[str] = "Kill this site's own worker or scheduler; its supervisor starts another one."
    arguments: ClassVar[type[Arguments]] = PartArguments
    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    instead: ClassVar[str] = "its supervisor starts it again; there is nothing to take back"

    def probe(self, arguments: PartArguments) -> Support:
        return _support(arguments.part)

    def plan(self, arguments: PartArguments) -> Plan:
        targets = _parts(arguments.part)
        return Plan(
            summary=f"Kill this site's {arguments.part}",
            targets=tuple(targets),
            commands=tuple(f"kill -KILL {target.identity['pid']}" for target in targets),
            matched=len(targets),
        )

    def run(self, arguments: PartArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        done = []
        for target in _parts(arguments.part):
            try:
                process = living(target)
                family = [*process.children(recursive=True), process]
                for one in family:
                    one.kill()
                done.append({"name": target.name, **target.identity})
            except (GoneError, psutil.NoSuchProcess):
                continue
        return ActionResult(ok=bool(done), output={"processes": done}, error="" if done else "it does not run here")


class NoArguments(Arguments):
    """Nothing has to be said."""


class CutBroker(ReversibleFault):
    """Takes the embedded broker's folder away: no wake-up is sent or heard."""

    name: ClassVar[str] = "site.cut_broker"
    description: ClassVar[str] = "Take this site's embedded broker away: no wake-up is heard, rows must still be done."
    arguments: ClassVar[type[Arguments]] = NoArguments
    proof: ClassVar[str] = "the broker's folder is set aside"

    def probe(self, arguments: NoArguments) -> Support:  # noqa: ARG002
        if not settings.CELERY_BROKER_URL.startswith(f"{SCHEME}:"):
            reason = "the broker is a server of its own: put a fault proxy before it, or cut the network"
            return Support(supported=False, reason=reason)
        there = self._folder().is_dir()
        return Support(supported=there, reason="" if there else "the broker has no folder yet")

    def plan(self, arguments: NoArguments) -> Plan:  # noqa: ARG002
        return Plan(
            summary="Take this site's embedded broker away",
            targets=(Target("site", "broker"),),
            commands=(f"mv {self._folder()} {self._folder()}.assay_…",),
            undo="the folder is put back, with the messages that were in it",
            matched=1,
        )

    def foresee(
        self,
        arguments: NoArguments,  # noqa: ARG002
        *,
        idempotency_key: str,
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        folder = self._folder()
        return {"folder": str(folder), "aside": f"{folder}.{fault_name(idempotency_key)}"}

    def inject(self, arguments: NoArguments, foreseen: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        folder, aside = Path(foreseen["folder"]), Path(foreseen["aside"])
        if not aside.exists():
            folder.rename(aside)
            # A file in its place: whoever wants the folder gets an error instead of making a new one.
            folder.touch()
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: NoArguments, output: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        folder, aside = Path(output["folder"]), Path(output["aside"])
        if not aside.exists():
            return ActionResult(ok=True, output={"outcome": {"broker": "was over already"}})
        if folder.is_dir():
            shutil.rmtree(folder)
        folder.unlink(missing_ok=True)
        aside.rename(folder)
        return ActionResult(ok=True, output={"outcome": {"broker": "put back"}})

    def is_active(self, arguments: NoArguments, output: dict[str, Any]) -> bool:  # noqa: ARG002
        return Path(output["aside"]).exists()

    def remains(self) -> list[str]:
        """Return folders of the broker that are set aside."""
        folder = self._folder()
        return [str(path) for path in folder.parent.glob(f"{folder.name}.assay_*")]

    @staticmethod
    def _folder() -> Path:
        return Path(unquote(urlsplit(settings.CELERY_BROKER_URL).path))


class LockArguments(Arguments):
    """For how long; the runner itself cannot write meanwhile, so it is short."""

    seconds: int = Field(ge=1, le=MOST_LOCKED_SECONDS)


class LockDatabase(ReversibleFault):
    """Keeps everybody from writing to this site's database."""

    name: ClassVar[str] = "site.lock_database"
    description: ClassVar[str] = "Hold the write lock of this site's own SQLite database, for seconds."
    arguments: ClassVar[type[Arguments]] = LockArguments
    proof: ClassVar[str] = "the marked process runs, and no other gets the lock"

    def probe(self, arguments: LockArguments) -> Support:  # noqa: ARG002
        if connection.vendor != "sqlite":
            return Support(supported=False, reason="for a database server there are the actions of postgresql.*")
        return Support(supported=True)

    def plan(self, arguments: LockArguments) -> Plan:
        return Plan(
            summary=f"Let nobody write to this site's database for {arguments.seconds} s",
            targets=(Target("site", "database"),),
            commands=("BEGIN IMMEDIATE",),
            undo="end the marked process; it ends by itself when its time is up",
            matched=1,
        )

    def foresee(self, arguments: LockArguments, *, idempotency_key: str, ttl: timedelta) -> dict[str, Any]:
        seconds = min(float(arguments.seconds), ttl.total_seconds())
        return {"mark": fault_name(idempotency_key), "file": str(settings.DATABASES["default"]["NAME"]), "for": seconds}

    def inject(self, arguments: LockArguments, foreseen: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        command = [sys.executable, "-m", "drivers.locker", foreseen["file"], str(foreseen["for"])]
        start_marked(command, mark=foreseen["mark"], folder=Path(settings.BASE_DIR))
        there = wait_until(lambda: bool(find_marked(foreseen["mark"])), seconds=SETTLE_SECONDS)
        return ActionResult(ok=there, output=foreseen, error="" if there else "the process did not start")

    def undo(self, arguments: LockArguments, output: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        killed = kill_marked(output["mark"])
        outcome = "given back" if killed else "was over already"
        return ActionResult(ok=not find_marked(output["mark"]), output={"outcome": {"database": outcome}})

    def is_active(self, arguments: LockArguments, output: dict[str, Any]) -> bool:  # noqa: ARG002
        return bool(find_marked(output["mark"]))


def _targets(output: dict[str, Any]) -> list[Target]:
    return [
        Target("site", one["name"], {"pid": one["pid"], "started": one["started"]})
        for one in output.get("processes", [])
    ]


SITE_ACTIONS = (FreezePart(), KillPart(), CutBroker(), LockDatabase())

"""Linux processes: freeze, continue, kill, restart, count."""

import signal
import sys
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support, Target
from drivers.services.faults import OneWay
from drivers.services.processes import (
    GoneError,
    ProcessSelector,
    find_processes,
    is_stopped,
    send,
    wait_until,
)

SETTLE_SECONDS = 5.0


class ProcessArguments(Arguments):
    """Which processes; `count` limits how many of those found, in the order of their names."""

    process: ProcessSelector
    count: int | None = Field(default=None, ge=1, le=50)


class RestartArguments(ProcessArguments):
    """Which processes, and how long the supervisor may take to start new ones."""

    within_seconds: int = Field(default=20, ge=1, le=300)


class _ProcessAction(OneWay):
    arguments: ClassVar[type[Arguments]] = ProcessArguments
    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL
    sends: ClassVar[signal.Signals]
    verb: ClassVar[str]

    def probe(self, arguments: ProcessArguments) -> Support:  # noqa: ARG002
        if not sys.platform.startswith("linux"):
            return Support(supported=False, reason="processes are signalled on Linux only")
        return Support(supported=True)

    def targets(self, arguments: ProcessArguments) -> list[Target]:
        """Return the processes that are meant."""
        return find_processes(arguments.process)[: arguments.count]

    def plan(self, arguments: ProcessArguments) -> Plan:
        found = find_processes(arguments.process)
        targets = found[: arguments.count]
        return Plan(
            summary=f"{self.verb} {', '.join(target.name for target in targets) or 'nothing: no process matches'}",
            targets=tuple(targets),
            commands=tuple(f"kill -{self.sends.name[3:]} {target.identity['pid']}" for target in targets),
            undo="kill -CONT the same processes" if self.reversible else "",
            matched=len(found),
        )

    def run(self, arguments: ProcessArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        return self.signal(self.targets(arguments))

    def signal(self, targets: list[Target]) -> ActionResult:
        """Signal these processes; those that have ended meanwhile are left out."""
        if not targets:
            return ActionResult(ok=False, error="no process matches the selector")
        done: list[dict[str, Any]] = []
        for target in targets:
            try:
                send(target, self.sends)
            except GoneError:
                continue
            done.append({"name": target.name, **target.identity})
        return ActionResult(ok=bool(done), output={"processes": done}, error="" if done else "every process has ended")


class StopProcess(_ProcessAction):
    """Freezes processes: their sockets accept, nothing answers."""

    name: ClassVar[str] = "process.stop"
    description: ClassVar[str] = "Freeze processes with SIGSTOP; undone with SIGCONT."
    reversible: ClassVar[bool] = True
    sends: ClassVar[signal.Signals] = signal.SIGSTOP
    verb: ClassVar[str] = "Freeze"

    proof: ClassVar[str] = "each process is in state T in /proc"

    def foresee(
        self,
        arguments: ProcessArguments,
        *,
        idempotency_key: str,  # noqa: ARG002 a signal is its own key
        ttl: timedelta,  # noqa: ARG002 nothing here ends by itself: the watchdog keeps the time
    ) -> dict[str, Any]:
        return {"processes": [{"name": target.name, **target.identity} for target in self.targets(arguments)]}

    def run(self, arguments: ProcessArguments, *, idempotency_key: str) -> ActionResult:
        return self.inject(arguments, self.foresee(arguments, idempotency_key=idempotency_key, ttl=timedelta()))

    def inject(self, arguments: ProcessArguments, foreseen: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        result = self.signal(_targets_of(foreseen))
        # A stop signal is delivered, not obeyed: on a busy machine the process runs on for a moment.
        wait_until(lambda: all(is_stopped(target) for target in _targets_of(result.output)), seconds=SETTLE_SECONDS)
        return result

    def undo(self, arguments: ProcessArguments, output: dict[str, Any]) -> ActionResult:  # noqa: ARG002
        outcome: dict[str, str] = {}
        for target in _targets_of(output):
            try:
                send(target, signal.SIGCONT)
                outcome[target.name] = "continued"
            except GoneError as gone:
                # Somebody restarted it meanwhile: what was frozen is no more, and its successor was never touched.
                outcome[target.name] = f"already gone ({gone})"
        left = [target for target in _targets_of(output) if not _goes_on(target)]
        return ActionResult(
            ok=not left,
            output={"outcome": outcome},
            error=f"still stopped: {', '.join(target.name for target in left)}" if left else "",
        )

    def is_active(self, arguments: ProcessArguments, output: dict[str, Any]) -> bool:  # noqa: ARG002
        return any(is_stopped(target) for target in _targets_of(output))


class ContinueProcess(_ProcessAction):
    """Lets frozen processes go on."""

    name: ClassVar[str] = "process.continue"
    description: ClassVar[str] = "Let frozen processes go on (SIGCONT)."
    risk: ClassVar[Risk] = Risk.CHANGE
    sends: ClassVar[signal.Signals] = signal.SIGCONT
    verb: ClassVar[str] = "Continue"
    instead: ClassVar[str] = "what was frozen before is not known any more; freeze it again by a fault"


class KillProcess(_ProcessAction):
    """Kills processes."""

    name: ClassVar[str] = "process.kill"
    description: ClassVar[str] = "Kill processes with SIGKILL; what supervises them may start new ones."
    idempotency: ClassVar[Idempotency] = Idempotency.NONE
    sends: ClassVar[signal.Signals] = signal.SIGKILL
    verb: ClassVar[str] = "Kill"
    instead: ClassVar[str] = "what was killed is gone; its supervisor may start another"


class RestartProcess(KillProcess):
    """Kills processes and waits for the new ones of their supervisor."""

    name: ClassVar[str] = "process.restart"
    description: ClassVar[str] = "Kill processes and wait until what supervises them has started new ones."
    arguments: ClassVar[type[Arguments]] = RestartArguments
    verb: ClassVar[str] = "Restart"
    instead: ClassVar[str] = "the new processes stay"

    def run(self, arguments: ProcessArguments, *, idempotency_key: str) -> ActionResult:
        assert isinstance(arguments, RestartArguments)  # noqa: S101 the class names its arguments
        before = self.targets(arguments)
        killed = super().run(arguments, idempotency_key=idempotency_key)
        if not killed.ok:
            return killed
        old = {target.identity["pid"] for target in before}

        def replaced() -> bool:
            return len([t for t in self.targets(arguments) if t.identity["pid"] not in old]) >= len(before)

        if not wait_until(replaced, seconds=arguments.within_seconds):
            return ActionResult(
                ok=False, output=killed.output, error=f"no new processes within {arguments.within_seconds} s"
            )
        new = [{"name": target.name, **target.identity} for target in self.targets(arguments)]
        return ActionResult(ok=True, output={**killed.output, "new_processes": new})


class FrozenProcesses(_ProcessAction):
    """Counts frozen processes: a check."""

    name: ClassVar[str] = "process.frozen"
    description: ClassVar[str] = "Count the processes that are frozen (SIGSTOP)."
    risk: ClassVar[Risk] = Risk.READ
    sends: ClassVar[signal.Signals] = signal.SIGCONT
    verb: ClassVar[str] = "Look at"

    def plan(self, arguments: ProcessArguments) -> Plan:
        targets = self.targets(arguments)
        return Plan(
            summary=f"Look at {', '.join(target.name for target in targets) or 'nothing'}", targets=tuple(targets)
        )

    def run(self, arguments: ProcessArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        targets = self.targets(arguments)
        frozen = [target.name for target in targets if is_stopped(target)]
        return ActionResult(
            ok=bool(targets), output={"value": len(frozen), "frozen": frozen, "processes": len(targets)}
        )


def _goes_on(target: Target) -> bool:
    return wait_until(lambda: not is_stopped(target), seconds=SETTLE_SECONDS)


def _targets_of(output: dict[str, Any]) -> list[Target]:
    return [
        Target("process", entry["name"], {"pid": entry["pid"], "started": entry["started"]})
        for entry in output.get("processes", [])
    ]


PROCESS_ACTIONS = (StopProcess(), ContinueProcess(), KillProcess(), RestartProcess(), FrozenProcesses())

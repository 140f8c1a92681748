"""A trainer killed between two checkpoints, and how many steps that costs."""

import json
import signal
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from drivers.actions.processes import ProcessArguments
from drivers.data import ActionResult, Arguments, Plan, Risk, Support
from drivers.services.faults import OneWay
from drivers.services.processes import GoneError, find_processes, send, wait_until

MOST_BYTES = 100_000


class TrainerArguments(ProcessArguments):
    """Which trainer, the file where it writes `{"step": …}`, and what may be lost until it goes on."""

    progress: str = Field(pattern=r"^/[A-Za-z0-9_./-]{1,300}$")
    most_steps_lost: int | None = Field(default=None, ge=0)
    within_seconds: int = Field(default=120, ge=1, le=3600)


class KillTrainer(OneWay):
    """Kills a trainer and measures what is lost."""

    name: ClassVar[str] = "trainer.kill"
    description: ClassVar[str] = "Kill a trainer between two checkpoints and measure the loss in steps when it goes on."
    arguments: ClassVar[type[Arguments]] = TrainerArguments
    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    instead: ClassVar[str] = "what was killed does not come back by itself"

    def probe(self, arguments: TrainerArguments) -> Support:
        if _step(arguments) is None:
            return Support(supported=False, reason=f'{arguments.progress} does not hold {{"step": number}}')
        return Support(supported=True)

    def plan(self, arguments: TrainerArguments) -> Plan:
        found = find_processes(arguments.process)
        targets = tuple(found[: arguments.count])
        names = ", ".join(target.name for target in targets) or "nothing: no process matches"
        return Plan(
            summary=f"Kill {names} at step {_step(arguments)} and count the steps that are done again",
            targets=targets,
            commands=tuple(f"kill -KILL {target.identity['pid']}" for target in targets),
            matched=len(found),
        )

    def run(self, arguments: TrainerArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        before = find_processes(arguments.process)
        old = {one.identity["pid"] for one in before}
        killed = []
        for target in before[: arguments.count]:
            try:
                send(target, signal.SIGKILL)
                killed.append({"name": target.name, **target.identity})
            except GoneError:
                continue
        if not killed:
            return ActionResult(ok=False, error="no process matches the selector")
        reached = _step(arguments)
        seen: list[int] = []

        def goes_on() -> bool:
            replaced = any(one.identity["pid"] not in old for one in find_processes(arguments.process))
            step = _step(arguments)
            if replaced and step is not None and step != reached:
                seen.append(step)
            return bool(seen)

        # The first step that the successor writes is one after the checkpoint that it went on from.
        if not wait_until(goes_on, seconds=arguments.within_seconds):
            return ActionResult(
                ok=False, output={"processes": killed}, error=f"it did not go on within {arguments.within_seconds} s"
            )
        lost = max((reached or 0) - (seen[0] - 1), 0)
        output = {"processes": killed, "step_when_killed": reached, "went_on_after": seen[0] - 1, "steps_lost": lost}
        if arguments.most_steps_lost is not None and lost > arguments.most_steps_lost:
            error = f"{lost} steps are lost; at most {arguments.most_steps_lost} may be"
            return ActionResult(ok=False, output=output, error=error)
        return ActionResult(ok=True, output=output)


def _step(arguments: TrainerArguments) -> int | None:
    try:
        with Path(arguments.progress).open("rb") as file:
            step = json.loads(file.read(MOST_BYTES))["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return step if isinstance(step, int) and not isinstance(step, bool) else None


TRAINER_ACTIONS = (KillTrainer(),)

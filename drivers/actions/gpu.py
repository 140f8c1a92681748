"""Loss of an accelerator: what holds the device ends, as it does when the node or its driver fails."""

import os
import signal
from pathlib import Path
from typing import ClassVar

import psutil
from pydantic import Field

from drivers.data import ActionResult, Arguments, Plan, Risk, Support, Target
from drivers.services.faults import OneWay
from drivers.services.processes import GoneError, ProcessSelector, find_processes, living, send

DEVICES = ("nvidia", "kfd", "dri/render", "accel")
NO_DEVICE = "no accelerator (/dev/nvidia*, /dev/kfd, /dev/dri/render*, /dev/accel*) is on this host"


class LoseArguments(Arguments):
    """Which device, by its number. `simulated_by` names processes that stand for its users where there is none."""

    device: int | None = Field(default=None, ge=0, le=63)
    simulated_by: ProcessSelector | None = None


class LoseGpu(OneWay):
    """Kills what holds an accelerator."""

    name: ClassVar[str] = "gpu.lose"
    description: ClassVar[str] = (
        "Kill every process that holds an accelerator; simulated, and so labelled, without one."
    )
    arguments: ClassVar[type[Arguments]] = LoseArguments
    risk: ClassVar[Risk] = Risk.DESTRUCTIVE
    instead: ClassVar[str] = "what was killed does not come back by itself"
    devices: ClassVar[Path] = Path("/dev")

    def probe(self, arguments: LoseArguments) -> Support:
        if self._devices(arguments) or arguments.simulated_by is not None:
            return Support(supported=True)
        return Support(supported=False, reason=f"{NO_DEVICE}; simulated_by names what stands for its users")

    def plan(self, arguments: LoseArguments) -> Plan:
        devices, targets = self._devices(arguments), self._holders(arguments)
        names = ", ".join(target.name for target in targets) or "nothing: nobody holds it"
        what = f"Lose {', '.join(map(str, devices))}" if devices else "SIMULATED loss of an accelerator"
        return Plan(
            summary=f"{what}: kill {names}",
            targets=tuple(targets),
            commands=tuple(f"kill -KILL {target.identity['pid']}" for target in targets),
            matched=len(targets),
        )

    def run(self, arguments: LoseArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        simulated = not self._devices(arguments)
        done = []
        for target in self._holders(arguments):
            try:
                send(target, signal.SIGKILL)
                living(target).wait(5)
            except (GoneError, psutil.NoSuchProcess, psutil.TimeoutExpired):
                pass
            done.append({"name": target.name, **target.identity})
        output = {"simulated": simulated, "processes": done}
        return ActionResult(ok=bool(done), output=output, error="" if done else "nobody holds the accelerator")

    def _devices(self, arguments: LoseArguments) -> list[Path]:
        found = []
        for kind in DEVICES:
            number = "[0-9]*" if arguments.device is None else f"{arguments.device}"
            found += sorted(self.devices.glob(f"{kind}{number}"))
        return found

    def _holders(self, arguments: LoseArguments) -> list[Target]:
        devices = {str(device) for device in self._devices(arguments)}
        if not devices:
            return find_processes(arguments.simulated_by) if arguments.simulated_by else []
        own = {1, os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        return [
            Target("process", process.name(), {"pid": process.pid, "started": process.create_time()})
            for process in psutil.process_iter()
            if process.pid not in own and devices & _open_files(process.pid)
        ]


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            found.add(str(link.readlink()))
    except OSError:
        return found
    return found


GPU_ACTIONS = (LoseGpu(),)

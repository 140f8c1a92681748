"""Latency inside a network namespace by netem, where the kernel has it."""

import json
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from drivers.actions.network import NAMESPACES, namespace_problem
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Support, Target
from drivers.services.commands import CommandError, find_program, run_program
from drivers.services.faults import ReversibleFault, fault_name


class LatencyArguments(Arguments):
    """In which namespace, on which of its interfaces, and by how much; with jitter and loss if wanted."""

    namespace: str = Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@-]{1,15}$")]
    milliseconds: int = Field(ge=1, le=60_000)
    jitter_milliseconds: int = Field(default=0, ge=0, le=60_000)
    loss_percent: float = Field(default=0, ge=0, le=100)


class NetworkDelay(ReversibleFault):
    """Delays what leaves an interface."""

    name: ClassVar[str] = "network.delay"
    description: ClassVar[str] = "Delay packets that leave an interface of a network namespace (tc netem)."
    arguments: ClassVar[type[Arguments]] = LatencyArguments
    idempotency: ClassVar[Idempotency] = Idempotency.KEY
    proof: ClassVar[str] = "the kernel lists the queueing discipline under the fault's own handle"

    def probe(self, arguments: LatencyArguments) -> Support:
        if problem := namespace_problem(arguments.namespace, "tc", "ip", "unshare"):
            return Support(supported=False, reason=problem)
        try:
            # In a namespace that is gone when the command ends: nothing of this host is touched.
            run_program(["unshare", "-n", find_program("tc"), "qdisc", "add", "dev", "lo", "root", "netem"])
        except CommandError as error:
            return Support(supported=False, reason=f"this kernel has no netem; a fault proxy delays too ({error})")
        return Support(supported=True)

    def plan(self, arguments: LatencyArguments) -> Plan:
        exists = (NAMESPACES / arguments.namespace).exists()
        return Plan(
            summary=f"Delay what leaves {arguments.interface} of {arguments.namespace} by {arguments.milliseconds} ms "
            f"(± {arguments.jitter_milliseconds} ms)",
            targets=(Target("namespace", arguments.namespace),) if exists else (),
            commands=(" ".join(self._add(arguments, "…")),),
            undo="delete the queueing discipline, if it is still the fault's own",
            matched=1,
        )

    def foresee(
        self,
        arguments: LatencyArguments,
        *,
        idempotency_key: str,
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        handle = f"{int(fault_name(idempotency_key)[-4:], 16) | 0x1000:x}"
        return {"handle": handle, "inode": (NAMESPACES / arguments.namespace).stat().st_ino}

    def inject(self, arguments: LatencyArguments, foreseen: dict[str, Any]) -> ActionResult:
        run_program(self._add(arguments, foreseen["handle"]))
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: LatencyArguments, output: dict[str, Any]) -> ActionResult:
        if not self.is_active(arguments, output):
            return ActionResult(ok=True, output={"outcome": {arguments.namespace: "was over already"}})
        run_program(["tc", "-n", arguments.namespace, "qdisc", "del", "dev", arguments.interface, "root"])
        return ActionResult(ok=True, output={"outcome": {arguments.namespace: "taken back"}})

    def is_active(self, arguments: LatencyArguments, output: dict[str, Any]) -> bool:
        path = NAMESPACES / arguments.namespace
        if not path.exists() or path.stat().st_ino != output["inode"]:
            return False
        listed = run_program(["tc", "-n", arguments.namespace, "-j", "qdisc", "show", "dev", arguments.interface])
        return any(one.get("handle") == f"{output['handle']}:" for one in json.loads(listed or "[]"))

    @staticmethod
    def _add(arguments: LatencyArguments, handle: str) -> list[str]:
        command = ["tc", "-n", arguments.namespace, "qdisc", "add", "dev", arguments.interface, "root"]
        command += ["handle", f"{handle}:", "netem", "delay", f"{arguments.milliseconds}ms"]
        if arguments.jitter_milliseconds:
            command.append(f"{arguments.jitter_milliseconds}ms")
        return [*command, *(["loss", f"{arguments.loss_percent:g}%"] if arguments.loss_percent else [])]


LATENCY_ACTIONS = (NetworkDelay(),)

"""Servers behind HAProxy, through its runtime socket: drain, maintenance, weight."""

from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support, Target
from drivers.services.faults import OneWay, ReversibleFault
from drivers.services.haproxy import FORCED_DRAIN, FORCED_MAINTENANCE, HaproxyError, ServerState, ask, server_states

Name = r"^[A-Za-z0-9_.:-]{1,100}$"


class ServerArguments(Arguments):
    """Which servers of a backend, at which runtime socket (`stats socket PATH level admin`)."""

    socket: str = Field(pattern=r"^/[A-Za-z0-9_./-]{1,100}$")
    backend: str = Field(pattern=Name)
    servers: list[str] = Field(min_length=1, max_length=50)


class WeightArguments(ServerArguments):
    """The share of its configured weight that each server keeps."""

    percent: int = Field(ge=0, le=100)


class _HaproxyFault(ReversibleFault):
    proof: ClassVar[str] = "`show servers state`"
    name: ClassVar[str]
    says: ClassVar[str]

    def probe(self, arguments: ServerArguments) -> Support:
        try:
            known = server_states(arguments.socket, arguments.backend)
        except HaproxyError as error:
            return Support(supported=False, reason=str(error))
        if missing := [name for name in arguments.servers if name not in known]:
            return Support(supported=False, reason=f"{arguments.backend} has no server {missing[0]}")
        return Support(supported=True)

    def plan(self, arguments: ServerArguments) -> Plan:
        try:
            known = server_states(arguments.socket, arguments.backend)
        except HaproxyError as error:
            return Plan(summary=f"nothing: {error}")
        names = [name for name in arguments.servers if name in known]
        return Plan(
            summary=f"{self.says.format(**arguments.model_dump())} {', '.join(names)} of {arguments.backend}",
            targets=tuple(Target("server", f"{arguments.backend}/{name}") for name in names),
            commands=tuple(self.order(arguments, f"{arguments.backend}/{name}") for name in names),
            undo="the state and weight that each had before",
            matched=len(known),
        )

    def foresee(
        self,
        arguments: ServerArguments,
        *,
        idempotency_key: str,  # noqa: ARG002 a server's state is its own key
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        known = server_states(arguments.socket, arguments.backend)
        return {"servers": [vars(known[name]) for name in arguments.servers if name in known]}

    def inject(self, arguments: ServerArguments, foreseen: dict[str, Any]) -> ActionResult:
        for server in foreseen["servers"]:
            ask(arguments.socket, self.order(arguments, f"{arguments.backend}/{server['name']}"))
        return ActionResult(ok=bool(foreseen["servers"]), output=foreseen)

    def undo(self, arguments: ServerArguments, output: dict[str, Any]) -> ActionResult:
        known = server_states(arguments.socket, arguments.backend)
        outcome: dict[str, str] = {}
        for server in output["servers"]:
            name, path = server["name"], f"{arguments.backend}/{server['name']}"
            if name not in known:
                outcome[name] = "already gone"
                continue
            for order in self.orders_back(path, server):
                ask(arguments.socket, order)
            outcome[name] = "as before"
        return ActionResult(ok=True, output={"outcome": outcome})

    def is_active(self, arguments: ServerArguments, output: dict[str, Any]) -> bool:
        known = server_states(arguments.socket, arguments.backend)
        before = {server["name"]: ServerState(**server) for server in output["servers"]}
        return any(self.hurts(known[name], was) for name, was in before.items() if name in known)

    def order(self, arguments: Any, path: str) -> str:
        """Return the runtime command that injects."""
        raise NotImplementedError

    def orders_back(self, path: str, server: dict[str, Any]) -> list[str]:
        """Return the runtime commands that restore what was."""
        admin = server["admin"]
        state = "maint" if admin & FORCED_MAINTENANCE else "drain" if admin & FORCED_DRAIN else "ready"
        return [f"set server {path} state {state}"]

    def hurts(self, now: ServerState, before: ServerState) -> bool:
        """Say whether a server is in the state that this fault brings."""
        raise NotImplementedError


class DrainServer(_HaproxyFault):
    """Drains servers."""

    name: ClassVar[str] = "haproxy.drain"
    description: ClassVar[str] = "Give servers behind HAProxy no new sessions; those that are open go on."
    arguments: ClassVar[type[Arguments]] = ServerArguments
    says: ClassVar[str] = "Drain"

    def order(self, arguments: ServerArguments, path: str) -> str:  # noqa: ARG002
        return f"set server {path} state drain"

    def hurts(self, now: ServerState, before: ServerState) -> bool:
        return bool(now.admin & FORCED_DRAIN) and not before.admin & FORCED_DRAIN


class MaintainServer(_HaproxyFault):
    """Takes servers out."""

    name: ClassVar[str] = "haproxy.maintenance"
    description: ClassVar[str] = "Take servers behind HAProxy out: they get no traffic and no checks."
    arguments: ClassVar[type[Arguments]] = ServerArguments
    says: ClassVar[str] = "Take out"

    def order(self, arguments: ServerArguments, path: str) -> str:  # noqa: ARG002
        return f"set server {path} state maint"

    def hurts(self, now: ServerState, before: ServerState) -> bool:
        return bool(now.admin & FORCED_MAINTENANCE) and not before.admin & FORCED_MAINTENANCE


class WeighServer(_HaproxyFault):
    """Shifts traffic."""

    name: ClassVar[str] = "haproxy.weight"
    description: ClassVar[str] = "Give servers behind HAProxy a smaller share of the traffic."
    arguments: ClassVar[type[Arguments]] = WeightArguments
    says: ClassVar[str] = "Leave {percent} % of its weight to"

    def order(self, arguments: WeightArguments, path: str) -> str:
        return f"set server {path} weight {arguments.percent}%"

    def orders_back(self, path: str, server: dict[str, Any]) -> list[str]:
        return [f"set server {path} weight {server['weight']}"]

    def hurts(self, now: ServerState, before: ServerState) -> bool:
        return now.weight != before.weight


class ReadyServer(OneWay):
    """Puts servers back: no fault, what mends one."""

    name: ClassVar[str] = "haproxy.ready"
    description: ClassVar[str] = "Let servers behind HAProxy take traffic again, whoever took them out."
    arguments: ClassVar[type[Arguments]] = ServerArguments
    risk: ClassVar[Risk] = Risk.CHANGE
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL
    instead: ClassVar[str] = "name a step that takes them out again"

    def probe(self, arguments: ServerArguments) -> Support:
        return DrainServer().probe(arguments)

    def plan(self, arguments: ServerArguments) -> Plan:
        paths = [f"{arguments.backend}/{name}" for name in arguments.servers]
        return Plan(
            summary=f"Put back {', '.join(arguments.servers)} of {arguments.backend}",
            targets=tuple(Target("server", path) for path in paths),
            commands=tuple(f"set server {path} state ready" for path in paths),
            matched=len(paths),
        )

    def run(self, arguments: ServerArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        for name in arguments.servers:
            ask(arguments.socket, f"set server {arguments.backend}/{name} state ready")
        out = [
            one.name
            for one in server_states(arguments.socket, arguments.backend).values()
            if one.name in arguments.servers and one.admin
        ]
        error = f"{', '.join(out)} did not come back" if out else ""
        return ActionResult(ok=not out, output={"value": len(arguments.servers) - len(out)}, error=error)


class DelayArguments(Arguments):
    """Which list of addresses is delayed, by its file as the configuration names it, and who is put on it."""

    socket: str = Field(pattern=r"^/[A-Za-z0-9_./-]{1,100}$")
    acl: str = Field(pattern=r"^/[A-Za-z0-9_./-]{1,200}$")
    clients: str = Field(default="0.0.0.0/0", pattern=r"^[0-9a-fA-F.:]{2,45}(/[0-9]{1,3})?$")


class DelayClients(ReversibleFault):
    """Puts clients on the list whose connections the configuration delays."""

    name: ClassVar[str] = "haproxy.delay"
    description: ClassVar[str] = (
        "Delay connections of clients, by a list that inspect-delay in the configuration obeys."
    )
    arguments: ClassVar[type[Arguments]] = DelayArguments
    proof: ClassVar[str] = "`show acl` lists the clients"

    def probe(self, arguments: DelayArguments) -> Support:
        try:
            known = f"({arguments.acl})" in ask(arguments.socket, "show acl")
        except HaproxyError as error:
            return Support(supported=False, reason=str(error))
        return Support(supported=known, reason="" if known else f"the configuration has no list {arguments.acl}")

    def plan(self, arguments: DelayArguments) -> Plan:
        return Plan(
            summary=f"Delay connections of {arguments.clients} by what the configuration says at {arguments.acl}",
            targets=(Target("list", arguments.acl),),
            commands=(f"add acl {arguments.acl} {arguments.clients}",),
            undo=f"del acl {arguments.acl} {arguments.clients}",
            matched=1,
        )

    def foresee(
        self,
        arguments: DelayArguments,
        *,
        idempotency_key: str,  # noqa: ARG002 an entry is its own key
        ttl: timedelta,  # noqa: ARG002 the watchdog keeps the time
    ) -> dict[str, Any]:
        return {"was_there": arguments.clients in _entries(arguments)}

    def inject(self, arguments: DelayArguments, foreseen: dict[str, Any]) -> ActionResult:
        if not foreseen["was_there"]:
            ask(arguments.socket, f"add acl {arguments.acl} {arguments.clients}")
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: DelayArguments, output: dict[str, Any]) -> ActionResult:
        if output["was_there"] or arguments.clients not in _entries(arguments):
            return ActionResult(ok=True, output={"outcome": {arguments.acl: "as before"}})
        ask(arguments.socket, f"del acl {arguments.acl} {arguments.clients}")
        return ActionResult(ok=True, output={"outcome": {arguments.acl: "taken off the list"}})

    def is_active(self, arguments: DelayArguments, output: dict[str, Any]) -> bool:
        return not output["was_there"] and arguments.clients in _entries(arguments)


def _entries(arguments: DelayArguments) -> list[str]:
    lines = [line.split() for line in ask(arguments.socket, f"show acl {arguments.acl}").splitlines()]
    return [words[1] for words in lines if len(words) > 1]


HAPROXY_ACTIONS = (ReadyServer(), DrainServer(), MaintainServer(), WeighServer(), DelayClients())

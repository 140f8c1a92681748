"""Faults of a fault proxy: latency, resets, a narrow link, HTTP errors. Each ends inside the proxy by itself."""

from datetime import timedelta
from typing import Any, ClassVar

import psutil
from pydantic import Field

from drivers.data import ActionResult, Arguments, Idempotency, Plan, Support, Target
from drivers.services.faults import ReversibleFault, fault_name
from drivers.services.proxies import ProxyError, ask_proxy, find_proxy, proxy_is_gone, proxy_names


class ProxyArguments(Arguments):
    """Which proxy, by its name."""

    proxy: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")


class DelayArguments(ProxyArguments):
    """How long each piece of an answer waits, and by how much that varies."""

    milliseconds: int = Field(ge=1, le=60_000)
    jitter_milliseconds: int = Field(default=0, ge=0, le=60_000)


class ResetArguments(ProxyArguments):
    """The share of connections that are reset, open ones and new ones."""

    percent: float = Field(default=100, ge=1, le=100)


class ThrottleArguments(ProxyArguments):
    """How fast bytes pass in each direction of a connection."""

    bytes_per_second: int = Field(ge=1, le=10_000_000_000)


class ErrorRateArguments(ProxyArguments):
    """The share of HTTP requests that are answered with an error and never reach the server."""

    percent: float = Field(default=100, ge=1, le=100)
    status: int = Field(default=503, ge=400, le=599)


class _ProxyFault(ReversibleFault):
    idempotency: ClassVar[Idempotency] = Idempotency.KEY
    proof: ClassVar[str] = "the proxy lists the fault as active"
    name: ClassVar[str]
    says: ClassVar[str]

    def probe(self, arguments: ProxyArguments) -> Support:
        try:
            status = ask_proxy(find_proxy(arguments.proxy), "GET", "/status")
        except ProxyError as error:
            return Support(supported=False, reason=str(error))
        if self.kind == "error_rate" and not status["http"]:
            return Support(supported=False, reason=f"proxy {arguments.proxy} carries plain TCP; it needs --http")
        return Support(supported=True)

    @property
    def kind(self) -> str:
        """What the proxy calls it."""
        return self.name.removeprefix("proxy.")

    def plan(self, arguments: ProxyArguments) -> Plan:
        try:
            control = find_proxy(arguments.proxy)
        except ProxyError as error:
            return Plan(summary=f"nothing: {error}")
        route = f"{control['listen']} → {control['upstream']}"
        values = arguments.model_dump(exclude={"proxy"})
        return Plan(
            summary=f"{self.says.format(**values)} at the proxy {arguments.proxy} ({route})",
            targets=(Target("proxy", arguments.proxy, {"listen": control["listen"], "upstream": control["upstream"]}),),
            commands=(f"PUT /faults/… {{kind: {self.kind}, {', '.join(f'{k}: {v}' for k, v in values.items())}}}",),
            undo="DELETE the fault; the proxy drops it by itself when its time is up",
            matched=1,
        )

    def foresee(self, arguments: ProxyArguments, *, idempotency_key: str, ttl: timedelta) -> dict[str, Any]:
        control = find_proxy(arguments.proxy)
        process = {"pid": control["pid"], "started": psutil.Process(control["pid"]).create_time()}
        return {"fault": fault_name(idempotency_key), "process": process, "ttl_seconds": ttl.total_seconds()}

    def inject(self, arguments: ProxyArguments, foreseen: dict[str, Any]) -> ActionResult:
        values = arguments.model_dump(exclude={"proxy"})
        wanted = {"kind": self.kind, **values, "ttl_seconds": foreseen["ttl_seconds"]}
        ask_proxy(find_proxy(arguments.proxy), "PUT", f"/faults/{foreseen['fault']}", wanted)
        return ActionResult(ok=True, output=foreseen)

    def undo(self, arguments: ProxyArguments, output: dict[str, Any]) -> ActionResult:
        if "fault" not in output or proxy_is_gone(arguments.proxy, output["process"]):
            return ActionResult(ok=True, output={"outcome": {arguments.proxy: "the proxy ended, and its faults too"}})
        said = ask_proxy(find_proxy(arguments.proxy), "DELETE", f"/faults/{output['fault']}")
        outcome = "taken back" if said["removed"] else "was over already"
        return ActionResult(ok=True, output={"outcome": {arguments.proxy: outcome}})

    def is_active(self, arguments: ProxyArguments, output: dict[str, Any]) -> bool:
        if "fault" not in output or proxy_is_gone(arguments.proxy, output["process"]):
            return False
        status = ask_proxy(find_proxy(arguments.proxy), "GET", "/status")
        return any(fault["id"] == output["fault"] for fault in status["faults"])


class DelayProxy(_ProxyFault):
    """Delays answers."""

    name: ClassVar[str] = "proxy.delay"
    description: ClassVar[str] = "Delay what comes back through a fault proxy, with jitter."
    arguments: ClassVar[type[Arguments]] = DelayArguments
    says: ClassVar[str] = "Delay answers by {milliseconds} ms (± {jitter_milliseconds} ms)"

    def remains(self) -> list[str]:
        """Return every fault that a proxy of this site still has."""
        found = []
        for name in proxy_names():
            try:
                faults = ask_proxy(find_proxy(name), "GET", "/status")["faults"]
            except ProxyError:
                continue  # a proxy that does not run has no fault
            found += [f"{fault['kind']} at the proxy {name}" for fault in faults]
        return found


class ResetProxy(_ProxyFault):
    """Resets connections."""

    name: ClassVar[str] = "proxy.reset"
    description: ClassVar[str] = "Reset connections through a fault proxy, open ones and new ones."
    arguments: ClassVar[type[Arguments]] = ResetArguments
    says: ClassVar[str] = "Reset {percent:g} % of connections"


class ThrottleProxy(_ProxyFault):
    """Narrows the link."""

    name: ClassVar[str] = "proxy.throttle"
    description: ClassVar[str] = "Narrow each connection through a fault proxy to so many bytes a second."
    arguments: ClassVar[type[Arguments]] = ThrottleArguments
    says: ClassVar[str] = "Let {bytes_per_second} bytes a second pass"


class FailProxy(_ProxyFault):
    """Answers with errors."""

    name: ClassVar[str] = "proxy.error_rate"
    description: ClassVar[str] = "Answer a share of the HTTP requests through a fault proxy with an error."
    arguments: ClassVar[type[Arguments]] = ErrorRateArguments
    says: ClassVar[str] = "Answer {percent:g} % of requests with {status}"


PROXY_ACTIONS = (DelayProxy(), ResetProxy(), ThrottleProxy(), FailProxy())

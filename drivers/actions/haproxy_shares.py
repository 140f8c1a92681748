"""Shares of traffic behind HAProxy, moved and read through its runtime socket."""

from typing import Any, ClassVar

from pydantic import Field

from drivers.actions.haproxy import ServerArguments
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support, Target
from drivers.services.faults import OneWay
from drivers.services.haproxy import HaproxyError, ask, server_states, share_of, weights_for

NEAR_PERCENT = 1.0


class ShareArguments(ServerArguments):
    """Which share of the backend's traffic these servers get; the others get the rest."""

    percent: int = Field(ge=0, le=100)


class _SharesAction(OneWay):
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL

    def probe(self, arguments: ServerArguments) -> Support:
        try:
            known = server_states(arguments.socket, arguments.backend)
        except HaproxyError as error:
            return Support(supported=False, reason=str(error))
        if missing := [name for name in arguments.servers if name not in known]:
            return Support(supported=False, reason=f"{arguments.backend} has no server {missing[0]}")
        return Support(supported=True)


class ShiftTraffic(_SharesAction):
    """Moves traffic between servers: no fault, how a region is opened or emptied in steps."""

    name: ClassVar[str] = "haproxy.shift"
    description: ClassVar[str] = "Give servers behind HAProxy a percentage of the traffic, and the others the rest."
    arguments: ClassVar[type[Arguments]] = ShareArguments
    risk: ClassVar[Risk] = Risk.CHANGE
    instead: ClassVar[str] = "name a step that shifts the traffic back"

    def plan(self, arguments: ShareArguments) -> Plan:
        weights = self._weights(arguments)
        paths = {f"{arguments.backend}/{name}": weight for name, weight in weights.items()}
        return Plan(
            summary=f"Give {', '.join(arguments.servers)} {arguments.percent} % of the traffic of {arguments.backend}",
            targets=tuple(Target("server", path) for path in paths),
            commands=tuple(f"set server {path} weight {weight}" for path, weight in paths.items()),
            matched=len(paths),
        )

    def run(self, arguments: ShareArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        try:
            before = share_of(set(arguments.servers), server_states(arguments.socket, arguments.backend))
            # Who gets more comes first, so that at no moment nobody takes the traffic.
            known = server_states(arguments.socket, arguments.backend)
            weights = self._weights(arguments)
            for name in sorted(weights, key=lambda one: known[one].weight - weights[one]):
                ask(arguments.socket, f"set server {arguments.backend}/{name} weight {weights[name]}")
            now = share_of(set(arguments.servers), server_states(arguments.socket, arguments.backend))
        except HaproxyError as error:
            return ActionResult(ok=False, error=str(error))
        output = {"value": now, "before": before, "weights": weights}
        if now is None:
            return ActionResult(ok=False, output=output, error=f"no server of {arguments.backend} takes traffic")
        if abs(now - arguments.percent) > NEAR_PERCENT:
            return ActionResult(
                ok=False,
                output=output,
                error=f"they take {now:.1f} % and not {arguments.percent} %: some servers do not take traffic",
            )
        return ActionResult(ok=True, output=output)

    @staticmethod
    def _weights(arguments: ShareArguments) -> dict[str, int]:
        known = server_states(arguments.socket, arguments.backend)
        if missing := [name for name in arguments.servers if name not in known]:
            raise HaproxyError(f"{arguments.backend} has no server {missing[0]}")
        return weights_for(set(arguments.servers), known, percent=arguments.percent)


class TrafficShare(_SharesAction):
    """Reads shares: a check."""

    name: ClassVar[str] = "haproxy.share"
    description: ClassVar[str] = "The percentage of the traffic that servers behind HAProxy get by weight and state."
    arguments: ClassVar[type[Arguments]] = ServerArguments
    risk: ClassVar[Risk] = Risk.READ

    def plan(self, arguments: ServerArguments) -> Plan:
        targets = tuple(Target("server", f"{arguments.backend}/{name}") for name in arguments.servers)
        return Plan(summary=f"Look at the share of {', '.join(arguments.servers)}", targets=targets)

    def run(self, arguments: ServerArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        try:
            known = server_states(arguments.socket, arguments.backend)
        except HaproxyError as error:
            return ActionResult(ok=False, error=str(error))
        share = share_of(set(arguments.servers), known)
        # Weights are whole numbers up to 256, so a share is as it was asked for only to the nearest per cent.
        output: dict[str, Any] = {} if share is None else {"value": round(share), "percent": round(share, 2)}
        return ActionResult(
            ok=share is not None, output=output, error="" if share is not None else "no server takes traffic"
        )


SHARE_ACTIONS = (ShiftTraffic(), TrafficShare())

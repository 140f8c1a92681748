"""The one set of typed actions, and running them by name."""

import logging
from datetime import timedelta
from typing import Any

from core.parsing import parse_document, refuse
from drivers.data import Action, ActionResult, Arguments, Plan, ReversibleAction, Risk, Support
from drivers.services.agents import (
    ask_agent,
    ask_plan,
    ask_result,
    ask_support,
    split_host,
)
from drivers.services.faults import fault_name

logger = logging.getLogger(__name__)

_actions: dict[str, Action] = {}


def register_action(action: Action) -> None:
    """Add an action. Raises ValueError when its name is taken."""
    if action.name in _actions:
        raise ValueError(f"action {action.name!r} is registered twice")
    _actions[action.name] = action


def actions() -> dict[str, Action]:
    """Return every action by name."""
    return dict(sorted(_actions.items()))


def action(name: str, *, source: str = "action") -> Action:
    """Return an action. Raises InputRefusedError naming those that there are."""
    found = _actions.get(name)
    if found is None:
        raise refuse(source, found=name, allowed=f"one of {', '.join(sorted(_actions))} is allowed")
    return found


def parse_arguments(name: str, arguments: object, *, source: str = "with") -> Arguments:
    """Parse an action's arguments; `on_host`, which any action takes, is left out. Raises InputRefusedError."""
    return parse_document(action(name).arguments, split_host(arguments)[1], source=source)


def probe_action(name: str, arguments: object) -> Support:
    """Say whether an action works here with these arguments."""
    parsed, (host, rest) = parse_arguments(name, arguments), split_host(arguments)
    return ask_support(host, name, rest) if host else action(name).probe(parsed)


def plan_action(name: str, arguments: object) -> Plan:
    """Say what an action would do, with its real targets."""
    parsed, (host, rest) = parse_arguments(name, arguments), split_host(arguments)
    return ask_plan(host, name, rest) if host else action(name).plan(parsed)


def run_action(name: str, arguments: object, *, idempotency_key: str) -> ActionResult:
    """Run an action. An error of the action comes back as a result that is not ok."""
    found, parsed = action(name), parse_arguments(name, arguments)
    host, rest = split_host(arguments)
    if host:
        return ask_result(host, "run", name, rest, key=idempotency_key)
    support = found.probe(parsed)
    if not support.supported:
        return ActionResult(ok=False, error=f"not possible here: {support.reason}")
    try:
        return found.run(parsed, idempotency_key=idempotency_key)
    except Exception as error:  # noqa: BLE001 an action's failure is an answer, whatever it raises
        return ActionResult(ok=False, error=f"{type(error).__name__}: {error}")


def risk_of_action(name: str, arguments: object) -> Risk:
    """Return the risk of an action with these arguments: a request that only reads is not one that deletes."""
    found = action(name)
    weigh = getattr(found, "risk_of", None)
    return weigh(parse_arguments(name, arguments)) if weigh is not None else found.risk


def foresee_action(name: str, arguments: object, *, idempotency_key: str, ttl: timedelta) -> dict[str, Any]:
    """Return what undoing will need, before anything is touched. An action that cannot be undone needs nothing."""
    found = action(name)
    if not isinstance(found, ReversibleAction):
        return {}
    host, rest = split_host(arguments)
    if host:
        parse_arguments(name, arguments)
        ask = {"key": idempotency_key, "ttl_seconds": ttl.total_seconds()}
        told = ask_agent(host, "foresee", name, rest, **ask)
        return {"on_host": {"fault": fault_name(idempotency_key), **ask}, "foreseen": told["foreseen"]}
    return found.foresee(parse_arguments(name, arguments), idempotency_key=idempotency_key, ttl=ttl)


def inject_action(name: str, arguments: object, foreseen: dict[str, Any], *, idempotency_key: str) -> ActionResult:
    """Do an action to what was foreseen. An error of the action comes back as a result that is not ok."""
    found, parsed = action(name), parse_arguments(name, arguments)
    if not isinstance(found, ReversibleAction):
        return run_action(name, arguments, idempotency_key=idempotency_key)
    host, rest = split_host(arguments)
    if host:
        done = ask_result(host, "inject", name, rest, foreseen=foreseen["foreseen"], **foreseen["on_host"])
        # What undo needs was foreseen; what the host adds is kept beside it.
        return ActionResult(ok=done.ok, output={**foreseen, "told": done.output}, error=done.error)
    support = found.probe(parsed)
    if not support.supported:
        return ActionResult(ok=False, error=f"not possible here: {support.reason}")
    try:
        return found.inject(parsed, foreseen)
    except Exception as error:  # noqa: BLE001 an action's failure is an answer, whatever it raises
        return ActionResult(ok=False, error=f"{type(error).__name__}: {error}")


def undo_action(name: str, arguments: object, output: dict[str, Any]) -> ActionResult:
    """Take an action back, by what it put out. Harmless when it is undone already."""
    try:
        host, rest = split_host(arguments)
        if host:
            fault = output.get("on_host", {}).get("fault", "")
            return ask_result(host, "undo", name, rest, output=output.get("foreseen", {}), fault=fault)
        return action(name).undo(parse_arguments(name, arguments), output)
    except Exception as error:  # noqa: BLE001 a failing undo must become a dirty target, never a crash
        return ActionResult(ok=False, error=f"{type(error).__name__}: {error}")


def action_is_active(name: str, arguments: object, output: dict[str, Any]) -> bool | None:
    """Say whether the action's effect is there now; None when that cannot be told."""
    try:
        host, rest = split_host(arguments)
        if host:
            return bool(ask_agent(host, "is_active", name, rest, output=output.get("foreseen", {}))["active"])
        return action(name).is_active(parse_arguments(name, arguments), output)
    except Exception as error:  # noqa: BLE001 whatever keeps an action from looking, nothing is known
        logger.warning("%s: cannot tell whether it is active: %s", name, error)
        return None


def described_action(found: Action) -> dict[str, Any]:
    """Return what an action declares, with the schema of its arguments, as JSON."""
    return {
        "action": found.name,
        "description": found.description,
        "risk": found.risk.value,
        "idempotency": found.idempotency.value,
        "reversible": found.reversible,
        "proof": getattr(found, "proof", ""),
        "arguments": found.arguments.model_json_schema(),
    }


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON."""
    return {
        "summary": plan.summary,
        "targets": [{"kind": one.kind, "name": one.name, "identity": dict(one.identity)} for one in plan.targets],
        "matched": plan.matched,
        "commands": list(plan.commands),
        "undo": plan.undo,
    }


def remains() -> list[str]:
    """Return what is left of faults on this host, as the actions find it by looking, whoever made it."""
    found = []
    for one in actions().values():
        look = getattr(one, "remains", None)
        if look is not None:
            found += [f"{one.name}: {text}" for text in look()]
    return found

"""The actions of this host, and answering an order about one."""

import platform
import socket
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from drivers.actions.gpu import GPU_ACTIONS
from drivers.actions.latency import LATENCY_ACTIONS
from drivers.actions.network import NETWORK_ACTIONS
from drivers.actions.pressure import PRESSURE_ACTIONS
from drivers.actions.processes import PROCESS_ACTIONS
from drivers.actions.trainers import TRAINER_ACTIONS
from drivers.data import ActionResult, ReversibleAction

_GROUPS = (PROCESS_ACTIONS, PRESSURE_ACTIONS, NETWORK_ACTIONS, LATENCY_ACTIONS, GPU_ACTIONS, TRAINER_ACTIONS)
HOST_ACTIONS: dict[str, Any] = {
    action.name: action
    for action in (*PROCESS_ACTIONS, *PRESSURE_ACTIONS, *NETWORK_ACTIONS, *LATENCY_ACTIONS, *GPU_ACTIONS)
}


class OrderRefusedError(ValueError):
    """The host does not do that."""


def described_host() -> dict[str, Any]:
    """Return what this host is and which actions it has."""
    return {
        "hostname": socket.gethostname(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "actions": sorted(HOST_ACTIONS),
    }


def answer_question(
    question: str, name: str, arguments: dict[str, Any], more: dict[str, Any], *, allow: list[str]
) -> dict[str, Any]:
    """Do what is asked with an action and return the answer as JSON. Raises OrderRefusedError."""
    if question == "remains":
        return {"remains": [f"{one.name}: {text}" for one in HOST_ACTIONS.values() for text in _remains(one)]}
    found = HOST_ACTIONS.get(name)
    if found is None:
        raise OrderRefusedError(f"there is no action {name} on this host")
    if not any(fnmatchcase(name, pattern) for pattern in allow):
        raise OrderRefusedError(f"this agent's own configuration does not allow {name}")
    try:
        parsed = found.arguments.model_validate(arguments)
    except ValidationError as error:
        raise OrderRefusedError(str(error)) from None
    if question not in QUESTIONS:
        raise OrderRefusedError(f"{question} is not a question")
    return QUESTIONS[question](found, parsed, more)


def _foresee(found: Any, parsed: Any, more: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(found, ReversibleAction):
        return {"foreseen": {}}
    ttl = timedelta(seconds=more["ttl_seconds"])
    return {"foreseen": found.foresee(parsed, idempotency_key=more["key"], ttl=ttl)}


QUESTIONS: dict[str, Callable[[Any, Any, dict[str, Any]], dict[str, Any]]] = {
    "probe": lambda found, parsed, _: asdict(found.probe(parsed)),
    "plan": lambda found, parsed, _: asdict(found.plan(parsed)),
    "is_active": lambda found, parsed, more: {"active": found.is_active(parsed, more["output"])},
    "foresee": _foresee,
    "inject": lambda found, parsed, more: _result(found, "inject", parsed, more),
    "undo": lambda found, parsed, more: _result(found, "undo", parsed, more),
    "run": lambda found, parsed, more: _result(found, "run", parsed, more),
}


def _result(found: Any, question: str, parsed: Any, more: dict[str, Any]) -> dict[str, Any]:
    try:
        if question != "undo":
            support = found.probe(parsed)
            if not support.supported:
                return asdict(ActionResult(ok=False, error=f"not possible here: {support.reason}"))
        if question == "undo":
            result = found.undo(parsed, more["output"])
        elif question == "inject" and isinstance(found, ReversibleAction):
            result = found.inject(parsed, more["foreseen"])
        else:
            result = found.run(parsed, idempotency_key=more["key"])
    except Exception as error:  # noqa: BLE001 an action's failure is an answer, whatever it raises
        result = ActionResult(ok=False, error=f"{type(error).__name__}: {error}")
    return asdict(result)


def _remains(one: Any) -> list[str]:
    look = getattr(one, "remains", None)
    return look() if look is not None else []

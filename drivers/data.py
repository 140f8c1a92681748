"""Typed actions on real systems: what each declares, and what its methods answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict


class Risk(StrEnum):
    """What an action may do: look, change, or break."""

    READ = "read"
    CHANGE = "change"
    DESTRUCTIVE = "destructive"


class Idempotency(StrEnum):
    """What a second run of the same action does after its outcome is unknown."""

    NONE = "none"
    KEY = "key"
    NATURAL = "natural"


@dataclass(frozen=True)
class Support:
    """Whether an action can work here, and if not, why."""

    supported: bool
    reason: str = ""


@dataclass(frozen=True)
class Target:
    """One real thing that an action touches. `identity` tells it from whatever takes its place later."""

    kind: str
    name: str
    identity: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What an action would do, before it does it. `matched` counts what the selector means before any limit."""

    summary: str
    targets: tuple[Target, ...] = ()
    commands: tuple[str, ...] = ()
    undo: str = ""
    matched: int | None = None


@dataclass(frozen=True)
class ActionResult:
    """What came of an action. `output` is what `undo` and `is_active` need, as JSON."""

    ok: bool
    output: dict[str, Any] = field(default_factory=dict)
    error: str = ""


class Arguments(BaseModel):
    """The base of every action's arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Action(Protocol):
    """A typed action. All methods but `run` and `undo` only look."""

    name: ClassVar[str]
    description: ClassVar[str]
    arguments: ClassVar[type[Arguments]]
    risk: ClassVar[Risk]
    idempotency: ClassVar[Idempotency]
    reversible: ClassVar[bool]

    def probe(self, arguments: Any) -> Support:
        """Say whether this works here."""

    def plan(self, arguments: Any) -> Plan:
        """Resolve the targets and say what would be done."""

    def run(self, arguments: Any, *, idempotency_key: str) -> ActionResult:
        """Do it."""

    def undo(self, arguments: Any, output: dict[str, Any]) -> ActionResult:
        """Take it back; doing so twice is harmless."""

    def is_active(self, arguments: Any, output: dict[str, Any]) -> bool:
        """Say whether its effect is there now."""


@runtime_checkable
class ReversibleAction(Action, Protocol):
    """An action that is taken back later, also by somebody who was not there when it was done."""

    proof: ClassVar[str]

    def foresee(self, arguments: Any, *, idempotency_key: str, ttl: timedelta) -> dict[str, Any]:
        """Return all that `undo` and `is_active` need, before anything is touched."""

    def inject(self, arguments: Any, foreseen: dict[str, Any]) -> ActionResult:
        """Do it to what was foreseen, and to nothing else."""

"""Values of runbooks that other rooms hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import models


class RunState(models.TextChoices):
    """Where a run stands."""

    RUNNING = "running", "Running"
    WAITING = "waiting", "Waiting for a person"
    TIMER = "waiting_timer", "Waiting for time"
    PAUSED = "paused", "Paused"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    ROLLED_BACK = "rolled_back", "Rolled back"


class StepState(models.TextChoices):
    """Where a step stands; `unknown` means that its process died and nobody can tell what it did."""

    PENDING = "pending", "Pending"
    STARTED = "started", "Started"
    VERIFYING = "verifying", "Being verified"
    WAITING = "waiting", "Waiting"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    TIMED_OUT = "timed_out", "Timed out"
    UNKNOWN = "unknown", "Unknown"
    SKIPPED = "skipped", "Skipped"


EXERCISE_DAYS = 180
ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.ROLLED_BACK)
UNKNOWN_EXITS = ("done", "verify", "retry", "rollback")


@dataclass(frozen=True)
class PlannedBlock:
    """What a block would do, with its arguments filled in, before anything is done."""

    id: str
    kind: str
    item: str = ""
    action: str = ""
    risk: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    summary: str = ""
    commands: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    guarded_by: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class StepRecord:
    """How a block of a runbook has fared over its runs."""

    id: str
    kind: str
    runs: int
    succeeded: int
    median_seconds: float | None
    longest_seconds: float | None


@dataclass(frozen=True)
class KnownAlert:
    """An alert that the site has seen, and the runbook that its route names, if any."""

    name: str
    labels: Mapping[str, str]
    service: str = ""
    runbook: str = ""
    last_seen_at: datetime | None = None


@dataclass(frozen=True)
class Uncovered:
    """What no runbook covers, and what nobody has looked at or exercised for too long."""

    services: tuple[tuple[str, str], ...] = ()
    alerts: tuple[KnownAlert, ...] = ()
    never_exercised: tuple[Any, ...] = ()
    exercise_overdue: tuple[Any, ...] = ()
    stale: tuple[Any, ...] = ()

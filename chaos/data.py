"""Values of chaos that other rooms hold."""

from dataclasses import dataclass

from django.db import models


class RunState(models.TextChoices):
    """Where a run stands."""

    STARTING = "starting", "Starting"
    RUNNING = "running", "Running"
    STOPPING = "stopping", "Stopping"
    FINISHED = "finished", "Finished"


class Verdict(models.TextChoices):
    """What a run has shown."""

    PASSED = "passed", "PASSED"
    FAILED = "failed", "FAILED"
    INCONCLUSIVE = "inconclusive", "INCONCLUSIVE"
    ABORTED = "aborted", "ABORTED"
    REFUSED = "refused", "REFUSED"
    DIRTY = "dirty", "DIRTY"


class FaultState(models.TextChoices):
    """Where a fault stands; what is intended may be there already and is undone like what is active."""

    INTENDED = "intended", "Intended"
    ACTIVE = "active", "Active"
    REVERTED = "reverted", "Reverted"
    LASTING = "lasting", "One way"
    DIRTY = "dirty", "Dirty"
    CLEARED = "cleared", "Cleared by hand"


# States in which nothing of a fault is left that could be undone, so that its targets are free.
SETTLED = (FaultState.REVERTED, FaultState.LASTING, FaultState.CLEARED)


class TurnOutcome(models.TextChoices):
    """What came of a turn of a schedule."""

    STARTED = "started", "Started"
    REFUSED = "refused", "Refused"
    MISSED = "missed", "Missed"


@dataclass(frozen=True)
class GuardDecision:
    """One guard's answer, in words."""

    guard: str
    allowed: bool
    reason: str

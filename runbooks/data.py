"""Values of runbooks that other rooms hold."""

from django.db import models


class RunState(models.TextChoices):
    """Where a run stands."""

    RUNNING = "running", "Running"
    WAITING = "waiting", "Waiting for a person"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class StepState(models.TextChoices):
    """Where a step stands; `unknown` means that its process died and nobody can tell what it did."""

    PENDING = "pending", "Pending"
    STARTED = "started", "Started"
    WAITING = "waiting", "Waiting"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    UNKNOWN = "unknown", "Unknown"
    SKIPPED = "skipped", "Skipped"


ENDED = (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)

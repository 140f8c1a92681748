"""Runbooks, their immutable revisions, and their runs."""

from django.db import models

from core.leases import LeasedModel
from runbooks.data import RunState, StepState


class Runbook(models.Model):
    """What to do when something is wrong, step by step."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=160)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, null=True, blank=True, related_name="runbooks")
    services = models.ManyToManyField("catalog.Service", related_name="runbooks", blank=True)
    review_by = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.title


class RunbookRevision(models.Model):
    """A runbook's file as of a change; named by the SHA-256 of its text, never edited."""

    runbook = models.ForeignKey(Runbook, on_delete=models.CASCADE, related_name="revisions")
    sha256 = models.CharField(max_length=64)
    source = models.TextField()
    blocks = models.JSONField(help_text="Executable blocks in order, as parsed.")
    inputs = models.JSONField(default=dict)
    author = models.CharField(max_length=80)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-created_at", "-pk")
        constraints = (models.UniqueConstraint(fields=("runbook", "sha256"), name="one_revision_per_text"),)

    def __str__(self) -> str:
        return f"{self.runbook} {self.sha256[:12]}"


class RunbookRun(LeasedModel):
    """A run of one revision. The row is due whenever there is something to do that no person has to do first."""

    reference = models.CharField(max_length=40, unique=True)
    idempotency_key = models.CharField(max_length=200, unique=True)
    revision = models.ForeignKey(RunbookRevision, on_delete=models.PROTECT, related_name="runs")
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.RUNNING)
    inputs = models.JSONField(default=dict)
    trigger = models.CharField(max_length=200)
    operator = models.CharField(max_length=80, help_text="Reference of who runs it.")
    incident_reference = models.CharField(max_length=60, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True)

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return self.reference


class RunStep(models.Model):
    """One block of a run, and what became of it."""

    run = models.ForeignKey(RunbookRun, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    step_id = models.CharField(max_length=40)
    kind = models.CharField(max_length=10)
    state = models.CharField(max_length=10, choices=StepState.choices, default=StepState.PENDING)
    waiting_until = models.DateTimeField(null=True, blank=True)
    performed_by = models.CharField(max_length=80, blank=True)
    arguments_sha256 = models.CharField(max_length=64, blank=True, help_text="What an approval is bound to.")
    answer = models.CharField(max_length=300, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("run", "position")
        constraints = (models.UniqueConstraint(fields=("run", "step_id"), name="one_row_per_run_and_step"),)

    def __str__(self) -> str:
        return f"{self.run} {self.step_id}"


class StepAttempt(models.Model):
    """One try of a step; written as started before its effect."""

    step = models.ForeignKey(RunStep, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    idempotency_key = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=StepState.choices, default=StepState.STARTED)
    output = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("step", "number")
        constraints = (models.UniqueConstraint(fields=("step", "number"), name="one_attempt_per_number"),)

    def __str__(self) -> str:
        return f"{self.step} attempt {self.number}"

"""Runbooks, their immutable revisions, and their runs."""

from django.db import models

from core.fields import EncryptedTextField
from core.leases import LeasedModel
from runbooks.data import RunState, StepState


class Runbook(models.Model):
    """What to do when something is wrong, step by step."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=160)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, null=True, blank=True, related_name="runbooks")
    services = models.ManyToManyField("catalog.Service", related_name="runbooks", blank=True)
    review_by = models.DateField(null=True, blank=True)
    triggers = models.JSONField(default=list, help_text="Labels of alerts that call for it.")
    schedule = models.JSONField(null=True, blank=True, help_text="When it is run by itself: cron and zone.")
    scheduled_until = models.DateTimeField(null=True, blank=True, help_text="Turns up to here were started.")

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
    policy = models.JSONField(default=dict, help_text="Permissions, time limit and what may go on without a person.")
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
    state = models.CharField(max_length=20, choices=RunState.choices, default=RunState.RUNNING)
    rolling_back = models.BooleanField(default=False)
    inputs = models.JSONField(default=dict)
    trigger = models.CharField(max_length=200)
    operator = models.CharField(max_length=80, help_text="Reference of who runs it.")
    operated_by = models.JSONField(
        null=True, default=list, help_text="References of all who ran it: none of them approves."
    )
    incident_reference = models.CharField(max_length=60, blank=True)
    started_at = models.DateTimeField()
    deadline_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
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
    item_index = models.PositiveSmallIntegerField(default=0)
    item = models.CharField(max_length=200, blank=True, help_text="Which of `foreach`.")
    kind = models.CharField(max_length=10)
    state = models.CharField(max_length=20, choices=StepState.choices, default=StepState.PENDING)
    waiting_until = models.DateTimeField(null=True, blank=True)
    escalated_at = models.DateTimeField(null=True, blank=True)
    released_by = models.CharField(max_length=80, blank=True, help_text="Who let it go on without an approval.")
    performed_by = models.CharField(max_length=80, blank=True)
    arguments_sha256 = models.CharField(max_length=64, blank=True, help_text="What an approval is bound to.")
    answer = models.CharField(max_length=300, blank=True)
    evidence = models.TextField(blank=True, help_text="Link or text that an answer rests on.")
    detail = models.TextField(blank=True)
    effect = models.BooleanField(default=False, help_text="Something of it may have happened outside.")
    began_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("run", "position", "item_index")
        constraints = (
            models.UniqueConstraint(fields=("run", "step_id", "item_index"), name="one_row_per_run_step_and_item"),
        )

    def __str__(self) -> str:
        return f"{self.run} {self.step_id}{f' {self.item}' if self.item else ''}"


class StepApproval(models.Model):
    """Somebody's agreement to what an approval guards, bound to the arguments as they were."""

    step = models.ForeignKey(RunStep, on_delete=models.CASCADE, related_name="approvals")
    by = models.CharField(max_length=80)
    by_label = models.CharField(max_length=200)
    user_id = models.PositiveBigIntegerField(null=True, blank=True)
    at = models.DateTimeField()
    arguments_sha256 = models.CharField(max_length=64)
    break_glass_reason = models.TextField(blank=True, help_text="Why nobody else was asked.")

    class Meta:
        ordering = ("step", "at", "pk")
        constraints = (
            models.UniqueConstraint(fields=("step", "by", "arguments_sha256"), name="one_approval_per_person"),
        )

    def __str__(self) -> str:
        return f"{self.step} by {self.by_label}"


class StepAttempt(models.Model):
    """One try of a step; written as started before its effect."""

    step = models.ForeignKey(RunStep, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveSmallIntegerField()
    idempotency_key = models.CharField(max_length=200)
    state = models.CharField(max_length=20, choices=StepState.choices, default=StepState.STARTED)
    arguments = models.JSONField(default=dict, help_text="As they were given to the action; secrets by reference.")
    output = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    artifact_sha256 = models.CharField(max_length=64, blank=True, help_text="Output that was too long to keep here.")
    started_at = models.DateTimeField()
    deadline_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("step", "number")
        constraints = (models.UniqueConstraint(fields=("step", "number"), name="one_attempt_per_number"),)

    def __str__(self) -> str:
        return f"{self.step} attempt {self.number}"


class OutputLine(models.Model):
    """A line that an action said while it ran, numbered within its attempt."""

    attempt = models.ForeignKey(StepAttempt, on_delete=models.CASCADE, related_name="lines")
    number = models.PositiveIntegerField()
    at = models.DateTimeField()
    text = models.TextField()

    class Meta:
        ordering = ("attempt", "number")
        constraints = (models.UniqueConstraint(fields=("attempt", "number"), name="one_line_per_number"),)

    def __str__(self) -> str:
        return f"{self.attempt} line {self.number}"


class RunNote(models.Model):
    """What people did with a run: paused, taken over, handed over, overridden."""

    run = models.ForeignKey(RunbookRun, on_delete=models.CASCADE, related_name="notes")
    at = models.DateTimeField()
    by = models.CharField(max_length=80)
    by_label = models.CharField(max_length=200)
    text = models.TextField()

    class Meta:
        ordering = ("run", "at", "pk")

    def __str__(self) -> str:
        return f"{self.run}: {self.text[:60]}"


class FenceTick(models.Model):
    """A command in the text of a runbook, not run by the site, that somebody says they have run."""

    run = models.ForeignKey(RunbookRun, on_delete=models.CASCADE, related_name="ticks")
    position = models.PositiveSmallIntegerField(help_text="Which of the commands in the text, from 0.")
    by_label = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        ordering = ("run", "position")
        constraints = (models.UniqueConstraint(fields=("run", "position"), name="one_tick_per_command"),)

    def __str__(self) -> str:
        return f"{self.run} command {self.position} by {self.by_label}"


class RunbookSecret(models.Model):
    """A value that runbooks name as `secret://NAME`; read by the worker alone, at the last moment."""

    name = models.SlugField(max_length=63, unique=True)
    value = EncryptedTextField()
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class RemoteHost(models.Model):
    """A host that `ssh.command` may reach, with the commands that it may run there."""

    name = models.SlugField(max_length=63, unique=True)
    address = models.CharField(max_length=253)
    port = models.PositiveIntegerField(default=22)
    username = models.CharField(max_length=63)
    private_key = EncryptedTextField()
    host_key = models.TextField(help_text="The host's public key, as in known_hosts without the name.")
    commands = models.JSONField(default=dict, help_text="Name to words, arguments with patterns, and whether it reads.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return f"{self.name} ({self.username}@{self.address})"

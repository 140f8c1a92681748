"""Experiments, approvals, runs, and the faults they have written ahead."""

from django.db import models

from chaos import program_models, recovery_models  # noqa: F401 their tables belong to the app
from chaos.data import FaultState, RunState, TurnOutcome, Verdict
from core.leases import LeasedModel


class Experiment(models.Model):
    """Something that is tried on real services, to learn whether they survive it."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=120)
    environment = models.ForeignKey("catalog.Environment", on_delete=models.PROTECT, related_name="experiments")
    services = models.ManyToManyField("catalog.Service", related_name="experiments")

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.title or self.slug


class ExperimentRevision(models.Model):
    """What an experiment says, as of a change; never edited."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="revisions")
    number = models.PositiveIntegerField()
    definition = models.JSONField()
    sha256 = models.CharField(max_length=64)
    author = models.CharField(max_length=80, help_text="Reference of who wrote it.")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("experiment", "-number")
        constraints = (models.UniqueConstraint(fields=("experiment", "number"), name="one_revision_per_number"),)

    def __str__(self) -> str:
        return f"{self.experiment} r{self.number}"


class PlanApproval(models.Model):
    """Somebody else than the author has agreed to a plan: this revision on these targets, until it expires."""

    revision = models.ForeignKey(ExperimentRevision, on_delete=models.CASCADE, related_name="approvals")
    plan_sha256 = models.CharField(max_length=64)
    approved_by = models.CharField(max_length=80)
    approved_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        ordering = ("-approved_at",)

    def __str__(self) -> str:
        return f"{self.revision} by {self.approved_by}"


class ApprovalRequest(models.Model):
    """Someone asks for a plan to be approved; it waits until the plan is approved or no longer the newest."""

    revision = models.ForeignKey(ExperimentRevision, on_delete=models.CASCADE, related_name="approval_requests")
    plan_sha256 = models.CharField(max_length=64)
    asked_by = models.CharField(max_length=80)
    asked_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-asked_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("revision", "plan_sha256"),
                condition=models.Q(settled_at__isnull=True),
                name="one_open_request_per_plan",
            ),
        )

    def __str__(self) -> str:
        return f"{self.revision} asked by {self.asked_by}"


class ChaosRun(LeasedModel):
    """One run of an experiment. Its row is due until the runner has been started."""

    reference = models.CharField(max_length=40, unique=True)
    revision = models.ForeignKey(ExperimentRevision, on_delete=models.PROTECT, related_name="runs")
    plan_sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.STARTING)
    verdict = models.CharField(max_length=14, choices=Verdict.choices, blank=True)
    reason = models.TextField(blank=True)
    requested_by = models.CharField(max_length=80)
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField()
    stop_requested_by = models.CharField(max_length=80, blank=True)
    stop_reason = models.TextField(blank=True)
    steady_before = models.BooleanField(null=True, blank=True)
    steady_during = models.BooleanField(null=True, blank=True)
    steady_after = models.BooleanField(null=True, blank=True)
    guards = models.JSONField(default=list)
    budgets_at_start = models.JSONField(default=dict, help_text="Percent of each SLO's budget that was left.")
    budgets_at_end = models.JSONField(default=dict, help_text="The same when the run had ended.")
    recovery_seconds = models.FloatField(
        null=True, blank=True, help_text="From the last undo until the steady state held again."
    )
    compiled = models.JSONField(default=dict, help_text="The experiment that the Chaos Toolkit ran.")
    compiled_sha256 = models.CharField(max_length=64, blank=True)
    journal = models.JSONField(default=dict)

    class Meta:
        ordering = ("-requested_at",)

    def __str__(self) -> str:
        return self.reference

    @property
    def source_key(self) -> str:
        """What the run is called as an activity."""
        return f"chaos:{self.reference}"


class Fault(models.Model):
    """A fault of a run, written before it is injected, with what is needed to undo it."""

    run = models.ForeignKey(ChaosRun, on_delete=models.CASCADE, related_name="faults")
    position = models.PositiveSmallIntegerField()
    action = models.CharField(max_length=80)
    arguments = models.JSONField()
    output = models.JSONField(default=dict)
    targets = models.JSONField(default=list)
    state = models.CharField(max_length=10, choices=FaultState.choices, default=FaultState.INTENDED)
    intended_at = models.DateTimeField()
    expires_at = models.DateTimeField(help_text="The watchdog undoes it then, whatever else is dead.")
    injected_at = models.DateTimeField(null=True, blank=True)
    reverted_at = models.DateTimeField(null=True, blank=True)
    took_effect = models.BooleanField(null=True, blank=True)
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ("run", "position")
        constraints = (models.UniqueConstraint(fields=("run", "position"), name="one_fault_per_position"),)

    def __str__(self) -> str:
        return f"{self.action} of {self.run}"


class RunEvent(models.Model):
    """Something that happened in a run, or that its watcher decided."""

    run = models.ForeignKey(ChaosRun, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=20, help_text="run, fault, probe or watcher.")
    text = models.CharField(max_length=500)

    class Meta:
        ordering = ("run", "at", "pk")

    def __str__(self) -> str:
        return self.text


class StartGate(models.Model):
    """One row that every start writes first, so that two starts ask their guards one after the other."""

    starts = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.starts} starts"


class Blackout(models.Model):
    """When nothing runs, everywhere or in one environment."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=120, blank=True)
    environment = models.ForeignKey(
        "catalog.Environment", on_delete=models.CASCADE, null=True, blank=True, related_name="blackouts"
    )
    windows = models.JSONField(help_text="As the file writes them.")

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.title or self.slug


class ExperimentSchedule(LeasedModel):
    """When an experiment runs by itself next; `due_at` has the turn's jitter in it."""

    experiment = models.OneToOneField(Experiment, on_delete=models.CASCADE, related_name="schedule")
    definition = models.JSONField()
    nominal_at = models.DateTimeField(help_text="The turn's time by the cron expression.")
    paused_by = models.CharField(max_length=80, blank=True)

    class Meta:
        ordering = ("experiment",)

    def __str__(self) -> str:
        return f"schedule of {self.experiment}"


class ScheduleTurn(models.Model):
    """What came of a turn: a run, a refusal with its reason, or turns that were missed and are not made up for."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="turns")
    nominal_at = models.DateTimeField()
    at = models.DateTimeField()
    outcome = models.CharField(max_length=10, choices=TurnOutcome.choices)
    missed = models.PositiveIntegerField(default=0)
    reason = models.TextField(blank=True)
    run = models.ForeignKey(ChaosRun, on_delete=models.SET_NULL, null=True, blank=True, related_name="turns")

    class Meta:
        ordering = ("-at", "-pk")
        constraints = (models.UniqueConstraint(fields=("experiment", "nominal_at"), name="one_turn_per_nominal_time"),)

    def __str__(self) -> str:
        return f"{self.experiment} {self.nominal_at:%Y-%m-%d %H:%M} {self.outcome}"


class KillSwitch(models.Model):
    """While it is engaged no run starts and every run stops; faults are still undone."""

    engaged_by = models.CharField(max_length=80)
    engaged_at = models.DateTimeField()
    reason = models.CharField(max_length=300)
    drill = models.BooleanField(default=False, help_text="Engaged for a moment by the weekly self-test.")
    released_by = models.CharField(max_length=80, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-engaged_at",)
        verbose_name_plural = "kill switches"

    def __str__(self) -> str:
        return self.reason


class KillSwitchTest(models.Model):
    """What a self-test of the kill switch has shown: does it block a start, and does it let a fault be undone."""

    at = models.DateTimeField()
    passed = models.BooleanField()
    detail = models.TextField()

    class Meta:
        ordering = ("-at", "-pk")

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'failed'} {self.at:%Y-%m-%d %H:%M}"


class TargetList(models.Model):
    """Which targets may be hurt in an environment, and which never."""

    environment = models.OneToOneField("catalog.Environment", on_delete=models.CASCADE, related_name="target_list")
    title = models.CharField(max_length=120, blank=True)
    allow = models.JSONField(help_text="Patterns over kind:name, as process:model-server-*.")
    never = models.JSONField(default=list)

    class Meta:
        ordering = ("environment",)

    def __str__(self) -> str:
        return self.title or f"targets of {self.environment}"

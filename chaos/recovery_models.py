"""Recovery tests, their runs, and the markers that measure Assay's own."""

from django.db import models
from django.urls import reverse

from chaos.data import RunState, Verdict
from core.leases import LeasedModel


class RecoveryTest(models.Model):
    """Something that proves, on a calendar, how fast a service comes back and how much it loses."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=120)
    service = models.ForeignKey("catalog.Service", on_delete=models.PROTECT, related_name="recovery_tests")
    kind = models.CharField(max_length=20)
    definition = models.JSONField()
    sha256 = models.CharField(max_length=64)
    author = models.CharField(max_length=80, help_text="Reference of who wrote it.")
    changed_at = models.DateTimeField()
    next_due_at = models.DateTimeField(null=True, blank=True, help_text="None: only by hand.")
    missed = models.PositiveIntegerField(default=0, help_text="Turns that passed while one was going on or held.")
    last_refusal = models.TextField(blank=True, help_text="Why the newest turn was not started; empty when it was.")

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.title or self.slug

    def get_absolute_url(self) -> str:
        """Return the test's page."""
        return reverse("chaos:recovery_detail", args=(self.slug,))


class RecoveryTestRun(LeasedModel):
    """One run of a recovery test. Its row is due until its runner has been started."""

    reference = models.CharField(max_length=40, unique=True)
    test = models.ForeignKey(RecoveryTest, on_delete=models.PROTECT, related_name="runs")
    definition = models.JSONField(help_text="What the test said when the run was asked for.")
    definition_sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.STARTING)
    verdict = models.CharField(max_length=14, choices=Verdict.choices, blank=True)
    reason = models.TextField(blank=True)
    requested_by = models.CharField(max_length=80)
    requested_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    rto = models.DurationField(null=True, blank=True, help_text="Promised when the run was asked for.")
    rpo = models.DurationField(null=True, blank=True, help_text="Promised when the run was asked for.")
    guards = models.JSONField(default=list, help_text="What was asked before, and the answers.")
    cleared_at = models.DateTimeField(null=True, blank=True)
    cleared_by = models.CharField(max_length=80, blank=True, help_text="Who declared that nothing dirty is left.")
    cleared_reason = models.CharField(max_length=300, blank=True)
    steps = models.JSONField(default=list, help_text="What it did, in order, with times.")
    result = models.JSONField(default=dict, help_text="What was measured.")
    folder = models.CharField(max_length=300, blank=True, help_text="Its working folder while it runs.")

    class Meta:
        ordering = ("-requested_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("test",),
                condition=~models.Q(state=RunState.FINISHED),
                name="one_recovery_run_of_a_test_at_a_time",
                violation_error_message="A run of this test is going on.",
            ),
        )

    def __str__(self) -> str:
        return self.reference

    def get_absolute_url(self) -> str:
        """Return the run's page."""
        return reverse("chaos:recovery_run_detail", args=(self.reference,))

    @property
    def source_key(self) -> str:
        """What the run is called as an activity."""
        return f"recovery:{self.reference}"


class RecoveryMarker(models.Model):
    """A numbered row that a recovery test of this site wrote through the site's own database."""

    run = models.CharField(max_length=40)
    number = models.PositiveIntegerField()
    written_at = models.DateTimeField()

    class Meta:
        ordering = ("run", "number")
        constraints = (models.UniqueConstraint(fields=("run", "number"), name="one_recovery_marker_per_number"),)

    def __str__(self) -> str:
        return f"{self.run} {self.number}"

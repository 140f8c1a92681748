"""What belongs to the programme around runs: findings, game days, suites."""

from datetime import datetime

from django.db import models
from django.urls import reverse

from core.leases import LeasedModel


class FindingState(models.TextChoices):
    """Where a finding stands."""

    OPEN = "open", "Open"
    MENDED = "mended", "Mended, to be tried again"
    PROVEN = "proven", "Proven mended"
    WAIVED = "waived", "Closed without a retest"


SETTLED_FINDINGS = (FindingState.PROVEN, FindingState.WAIVED)


class FindingKind(models.TextChoices):
    """What was found."""

    WEAKNESS = "weakness", "Weakness"
    REGRESSION = "regression", "Recovery takes longer"


class ChaosFinding(models.Model):
    """Something that a run has shown to be wrong, until another run has shown that it is mended."""

    experiment = models.ForeignKey("chaos.Experiment", on_delete=models.CASCADE, related_name="findings")
    kind = models.CharField(max_length=12, choices=FindingKind.choices)
    state = models.CharField(max_length=8, choices=FindingState.choices, default=FindingState.OPEN)
    text = models.CharField(max_length=500)
    found_in = models.ForeignKey("chaos.ChaosRun", on_delete=models.PROTECT, related_name="findings")
    found_at = models.DateTimeField()
    times = models.PositiveIntegerField(default=1, help_text="How many runs have shown it.")
    mended_by = models.CharField(max_length=80, blank=True)
    mended_at = models.DateTimeField(null=True, blank=True)
    mended_how = models.CharField(max_length=500, blank=True)
    retest_due_at = models.DateTimeField(
        null=True, blank=True, db_index=True, help_text="Until when another run must show that it is mended."
    )
    overdue_told_at = models.DateTimeField(null=True, blank=True, help_text="When it was said that nobody tried.")
    waived_by = models.CharField(max_length=80, blank=True)
    waived_at = models.DateTimeField(null=True, blank=True)
    waived_reason = models.CharField(max_length=500, blank=True, help_text="Why no retest is needed.")
    proven_in = models.ForeignKey(
        "chaos.ChaosRun", on_delete=models.PROTECT, null=True, blank=True, related_name="proven_findings"
    )
    proven_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-found_at", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=("experiment", "kind"),
                condition=~models.Q(state__in=["proven", "waived"]),
                name="one_finding_of_a_kind_at_a_time",
            ),
        )

    def __str__(self) -> str:
        return self.text

    def get_absolute_url(self) -> str:
        """Return the finding's page."""
        return reverse("chaos:finding_detail", args=(self.pk,))

    @property
    def source_key(self) -> str:
        """What its follow-up is called in the catalog."""
        return f"chaos-finding:{self.pk}"

    @property
    def retest_key(self) -> str:
        """What the follow-up is called that asks for the retest of what was mended last."""
        return f"{self.source_key}:retest:{self.times}"

    def is_overdue(self, now: datetime) -> bool:
        """Say whether it is said to be mended and should have been tried again by now."""
        return self.state == FindingState.MENDED and self.retest_due_at is not None and self.retest_due_at <= now


class RetestPolicy(models.Model):
    """Within what time a mended finding must be tried again, for each tier; the site has at most one."""

    only = models.BooleanField(default=True, unique=True, editable=False)
    title = models.CharField(max_length=120, blank=True)
    definition = models.JSONField()

    class Meta:
        ordering = ("pk",)
        verbose_name_plural = "retest policies"

    def __str__(self) -> str:
        return self.title or "retest policy"


class GameDay(models.Model):
    """A rehearsal with people: steps done by hand with a time for each, and experiments in between."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=120, blank=True)
    environment = models.ForeignKey("catalog.Environment", on_delete=models.PROTECT, related_name="game_days")
    services = models.ManyToManyField("catalog.Service", related_name="game_days")
    definition = models.JSONField()
    author = models.CharField(max_length=80)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.title or self.slug


class GameDaySession(models.Model):
    """One time that a game day is held; `steps` grows as they are begun and ended."""

    reference = models.CharField(max_length=40, unique=True)
    game_day = models.ForeignKey(GameDay, on_delete=models.PROTECT, related_name="sessions")
    definition = models.JSONField(help_text="What the game day said when it was begun.")
    led_by = models.CharField(max_length=80)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    steps = models.JSONField(default=list)
    summary = models.TextField(blank=True)

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return self.reference


class Suite(LeasedModel):
    """Experiments that take turns by themselves: each turn, the one whose last proof is the oldest."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=120, blank=True)
    service = models.ForeignKey("catalog.Service", on_delete=models.CASCADE, related_name="suites")
    experiments = models.ManyToManyField("chaos.Experiment", related_name="suites")
    definition = models.JSONField()
    nominal_at = models.DateTimeField()

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.title or self.slug

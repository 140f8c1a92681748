"""SLOs, their versions, and the alerts on them."""

from datetime import datetime
from decimal import Decimal

from django.db import models
from django.db.models import Q

from reliability.domain.objectives import Objective, objective_from_json
from reliability.domain.windows import Window, window_from_json
from reliability.models.sources import DataSource

COMPOSITE = "composite"


class SLO(models.Model):
    """A promise about a service: which events count, which are good, and the share that must be."""

    slug = models.SlugField(max_length=120, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    service = models.ForeignKey("catalog.Service", on_delete=models.PROTECT, related_name="slos")
    labels = models.JSONField(default=dict, blank=True)
    part_of = models.ForeignKey(
        "self",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="parts",
        help_text="The composite SLO that this one counts for; it has no page and no alerts of its own.",
    )

    class Meta:
        ordering = ("slug",)
        verbose_name = "SLO"

    def __str__(self) -> str:
        return self.name


class SLOVersion(models.Model):
    """One definition of an SLO. A changed definition is a new version; their counts are never mixed."""

    slo = models.ForeignKey(SLO, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    definition = models.JSONField(help_text="The OpenSLO document.")
    definition_sha256 = models.CharField(max_length=64)
    indicator = models.JSONField(help_text="What is counted, as parsed.")
    source_type = models.CharField(max_length=20)
    data_source = models.ForeignKey(
        DataSource, on_delete=models.PROTECT, null=True, blank=True, related_name="versions"
    )
    counts_with = models.ForeignKey(
        "self",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="continued_by",
        help_text="The version whose tallies this one continues: the same events with another target, window or alert.",
    )
    target = models.DecimalField(max_digits=9, decimal_places=8)
    window_days = models.PositiveIntegerField()
    calendar = models.JSONField(null=True, blank=True, help_text="Count, unit, start and zone of a calendar window.")
    period_reported_until = models.DateTimeField(null=True, blank=True)
    windows = models.JSONField(default=list, help_text="All windows, the first of them the one that is alerted on.")
    method = models.CharField(max_length=20, default="Occurrences", help_text="The budgeting method.")
    objectives = models.JSONField(default=list, help_text="All objectives, the first of them the one alerted on.")
    exclusion_rule = models.CharField(max_length=20, default="drop-events")
    tiers = models.JSONField(default=list, help_text="Burn-rate alert tiers.")
    effective_from = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)
    backfilled_from = models.DateTimeField(null=True, blank=True, help_text="Events are counted from here on.")

    class Meta:
        ordering = ("slo", "-number")
        verbose_name = "SLO version"
        constraints = (
            models.UniqueConstraint(fields=("slo", "number"), name="one_slo_version_per_number"),
            models.UniqueConstraint(
                fields=("slo",), condition=Q(retired_at__isnull=True), name="one_slo_version_in_force"
            ),
            models.CheckConstraint(condition=Q(target__gt=Decimal(0), target__lt=Decimal(1)), name="slo_target_in_0_1"),
        )

    def __str__(self) -> str:
        return f"{self.slo} v{self.number}"

    @property
    def tally_id(self) -> int:
        """The version that holds this one's tallies."""
        return self.counts_with_id or self.pk

    @property
    def counted_from(self) -> datetime:
        """Since when events were counted."""
        root = self.counts_with or self
        return root.backfilled_from or root.effective_from

    @property
    def window(self) -> Window:
        """What the budget is for: the first of its windows."""
        return self.all_windows[0]

    @property
    def all_windows(self) -> tuple[Window, ...]:
        """Every window that a budget is reckoned for."""
        if self.windows:
            return tuple(window_from_json(one) for one in self.windows)
        return (window_from_json(self.calendar or {"minutes": self.window_days * 1440}),)

    @property
    def all_objectives(self) -> tuple[Objective, ...]:
        """Every promise; of a composite SLO, its components."""
        if self.objectives:
            return tuple(objective_from_json(one) for one in self.objectives)
        return (Objective("", self.target),)

    @property
    def is_composite(self) -> bool:
        """Say whether its counts are those of its parts."""
        return self.source_type == COMPOSITE


class Definition(models.Model):
    """An OpenSLO document other than an SLO, as it was applied; SLOs refer to it by name."""

    kind = models.CharField(max_length=40)
    slug = models.SlugField(max_length=120)
    document = models.JSONField()

    class Meta:
        ordering = ("kind", "slug")
        constraints = (models.UniqueConstraint(fields=("kind", "slug"), name="one_definition_per_kind_and_name"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.slug}"


class BurnAlert(models.Model):
    """A tier of an SLO's alert policy and whether it is firing."""

    class State(models.TextChoices):
        OK = "ok", "OK"
        FIRING = "firing", "FIRING"

    slo = models.ForeignKey(SLO, on_delete=models.CASCADE, related_name="burn_alerts")
    tier = models.CharField(max_length=60)
    severity = models.CharField(max_length=20)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OK)
    alert_key = models.CharField(max_length=200, blank=True, help_text="Names this firing; a new firing has a new key.")
    burn_rate_long = models.FloatField(null=True, blank=True)
    burn_rate_short = models.FloatField(null=True, blank=True)
    changed_at = models.DateTimeField()
    frozen_at = models.DateTimeField(
        null=True, blank=True, help_text="Too little is measured since: the state is held, not judged."
    )
    pending_since = models.DateTimeField(
        null=True, blank=True, help_text="Since when the threshold is exceeded, where the tier waits before it fires."
    )
    evaluated_at = models.DateTimeField()

    class Meta:
        ordering = ("slo", "tier")
        constraints = (models.UniqueConstraint(fields=("slo", "tier"), name="one_burn_alert_per_tier"),)

    def __str__(self) -> str:
        return f"{self.slo}: {self.tier} {self.state}"

    @property
    def shown_state(self) -> str:
        """The state as a page says it."""
        return "frozen" if self.frozen_at else self.state

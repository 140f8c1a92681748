"""The risk register: what could hurt, how much, what is done about it, and what warns early."""

from datetime import date

from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from compliance.models.controls import Control


class RiskMatrix(models.Model):
    """The scales of likelihood and impact and what each of their products means. Only ever added; the newest counts."""

    number = models.PositiveIntegerField(unique=True)
    likelihoods = models.JSONField(help_text="Names, the least likely first.")
    impacts = models.JSONField(help_text="Names, the mildest first.")
    levels = models.JSONField(help_text="For each likelihood a list of levels by impact: low, medium, high, critical.")
    changed_at = models.DateTimeField()
    changed_by = models.CharField(max_length=120)

    class Meta:
        ordering = ("-number",)
        verbose_name_plural = "risk matrices"

    def __str__(self) -> str:
        return f"matrix {self.number}"


class Risk(models.Model):
    """Something that could hurt the organization."""

    class Category(models.TextChoices):
        TECHNICAL = "technical", "Technical"
        SECURITY = "security", "Security"
        OPERATIONAL = "operational", "Operational"
        BUSINESS = "business", "Business"
        FINANCIAL = "financial", "Financial"

    class Treatment(models.TextChoices):
        MITIGATE = "mitigate", "Mitigate"
        ACCEPT = "accept", "Accept"
        TRANSFER = "transfer", "Transfer"
        AVOID = "avoid", "Avoid"

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=160)
    description = models.TextField(blank=True)
    category = models.CharField(max_length=12, choices=Category.choices)
    owner = models.CharField(max_length=120)
    inherent_likelihood = models.PositiveSmallIntegerField()
    inherent_impact = models.PositiveSmallIntegerField()
    residual_likelihood = models.PositiveSmallIntegerField()
    residual_impact = models.PositiveSmallIntegerField()
    treatment = models.CharField(max_length=10, choices=Treatment.choices, default=Treatment.MITIGATE)
    plan = models.TextField(blank=True, help_text="What is done about it.")
    due_on = models.DateField(null=True, blank=True, help_text="When the plan is to be done.")
    review_on = models.DateField(help_text="When it is to be assessed again.")
    controls = models.ManyToManyField(Control, blank=True, related_name="risks")
    services = models.ManyToManyField("catalog.Service", blank=True, related_name="+")
    incidents = models.JSONField(default=list, help_text="References of incidents in which it came true.")
    assessed_at = models.DateTimeField()
    assessed_by = models.CharField(max_length=120)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("slug",)
        constraints = (
            models.CheckConstraint(
                condition=Q(inherent_likelihood__gte=1, inherent_impact__gte=1)
                & Q(residual_likelihood__gte=1, residual_impact__gte=1),
                name="risk_scores_start_at_one",
                violation_error_message="Likelihood and impact start at 1.",
            ),
        )

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the risk's page."""
        return reverse("compliance:risk_detail", args=(self.slug,))

    @property
    def inherent_score(self) -> int:
        """Likelihood times impact, before anything is done."""
        return self.inherent_likelihood * self.inherent_impact

    @property
    def residual_score(self) -> int:
        """Likelihood times impact, with what is done."""
        return self.residual_likelihood * self.residual_impact


class RiskAcceptance(models.Model):
    """Somebody with the right to has accepted a residual risk until a day. The rating is frozen."""

    risk = models.ForeignKey(Risk, on_delete=models.CASCADE, related_name="acceptances")
    residual_score = models.PositiveSmallIntegerField()
    reason = models.TextField()
    accepted_by = models.CharField(max_length=120)
    accepted_by_label = models.CharField(max_length=160)
    accepted_at = models.DateTimeField()
    expires_on = models.DateField()

    class Meta:
        ordering = ("-accepted_at",)

    def __str__(self) -> str:
        return f"{self.risk} until {self.expires_on}"

    def counts_on(self, day: date) -> bool:
        """Say whether it still holds: not past its day, and the risk has not grown since."""
        return day < self.expires_on and self.risk.residual_score <= self.residual_score


class RiskIndicator(models.Model):
    """A number from the ledger that rises before a risk comes true."""

    class State(models.TextChoices):
        FINE = "fine", "Fine"
        WARNING = "warning", "Warning"
        BREACHED = "breached", "Breached"
        UNKNOWN = "unknown", "Unknown"

    risk = models.ForeignKey(Risk, on_delete=models.CASCADE, related_name="indicators")
    slug = models.SlugField(max_length=63)
    title = models.CharField(max_length=160)
    measure = models.JSONField(help_text="What is read from the ledger, and how.")
    warn_at = models.DecimalField(max_digits=14, decimal_places=4)
    breach_at = models.DecimalField(max_digits=14, decimal_places=4)
    value = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.UNKNOWN)
    breach_in_days = models.PositiveIntegerField(null=True, help_text="If it goes on as it did lately.")
    evaluated_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("risk", "slug")
        constraints = (
            models.UniqueConstraint(fields=("risk", "slug"), name="one_indicator_per_slug"),
            models.CheckConstraint(
                condition=~Q(warn_at=F("breach_at")),
                name="indicator_warns_before_it_breaches",
                violation_error_message="The warning must come before the breach.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.risk}: {self.title}"


class IndicatorPoint(models.Model):
    """An indicator's value on a day."""

    indicator = models.ForeignKey(RiskIndicator, on_delete=models.CASCADE, related_name="points")
    day = models.DateField()
    value = models.DecimalField(max_digits=14, decimal_places=4)

    class Meta:
        ordering = ("indicator", "day")
        constraints = (models.UniqueConstraint(fields=("indicator", "day"), name="one_point_per_day"),)

    def __str__(self) -> str:
        return f"{self.indicator} {self.day}: {self.value}"

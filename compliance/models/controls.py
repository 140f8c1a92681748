"""The organization's controls, what judges them, and what was found."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from compliance.data import Cadence, Outcome, Strength
from compliance.models.frameworks import Requirement


def _choices(kind: type[Cadence] | type[Outcome] | type[Strength]) -> list[tuple[str, str]]:
    return [(one.value, one.value) for one in kind]


class Control(models.Model):
    """Something that the organization does so that requirements are met."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=160)
    objective = models.TextField()
    owner = models.CharField(max_length=120)
    tier = models.PositiveSmallIntegerField(default=2, help_text="1: the organization cannot do without it.")
    frequency = models.CharField(max_length=60)
    version = models.PositiveIntegerField(default=1)
    definition = models.JSONField()
    declared_at = models.DateTimeField()
    retired_at = models.DateTimeField(null=True, blank=True)
    retired_reason = models.CharField(max_length=500, blank=True, default="")
    requirements = models.ManyToManyField(Requirement, through="ControlRequirement", related_name="controls")

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the control's page."""
        return reverse("compliance:control_detail", args=(self.slug,))


class ControlVersion(models.Model):
    """A control as it was declared; versions are only ever added."""

    control = models.ForeignKey(Control, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    definition = models.JSONField()
    declared_at = models.DateTimeField()
    declared_by = models.CharField(max_length=120)

    class Meta:
        ordering = ("control", "-number")
        constraints = (models.UniqueConstraint(fields=("control", "number"), name="one_control_version_per_number"),)

    def __str__(self) -> str:
        return f"{self.control} v{self.number}"


class ControlRequirement(models.Model):
    """A control serves a requirement, by how much and why."""

    control = models.ForeignKey(Control, on_delete=models.CASCADE, related_name="links")
    requirement = models.ForeignKey(Requirement, on_delete=models.CASCADE, related_name="links")
    strength = models.CharField(max_length=12, choices=_choices(Strength))
    rationale = models.CharField(max_length=300)

    class Meta:
        ordering = ("requirement", "control")
        constraints = (
            models.UniqueConstraint(fields=("control", "requirement"), name="one_link_per_control_and_requirement"),
        )

    def __str__(self) -> str:
        return f"{self.control} serves {self.requirement.ref} ({self.strength})"


class Check(models.Model):
    """A rule over ledger entries that judges a control."""

    control = models.ForeignKey(Control, on_delete=models.CASCADE, related_name="checks")
    slug = models.SlugField(max_length=63)
    title = models.CharField(max_length=160)
    strength = models.CharField(max_length=12, choices=_choices(Strength))
    cadence = models.CharField(max_length=12, choices=_choices(Cadence))
    rule = models.JSONField()
    version = models.PositiveIntegerField(default=1)
    started_at = models.DateTimeField(help_text="From here on occurrences are due.")
    checked_seq = models.PositiveBigIntegerField(
        default=0, help_text="The log's entries before this place were looked at."
    )
    last_run_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    attested_until = models.DateTimeField(
        null=True, blank=True, help_text="Up to here each month without an occurrence was attested."
    )
    alive_at = models.DateTimeField(null=True, blank=True, help_text="When the collector was last seen working.")
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("control", "slug")
        constraints = (models.UniqueConstraint(fields=("control", "slug"), name="one_check_per_control_and_slug"),)

    def __str__(self) -> str:
        return self.title


class Occurrence(models.Model):
    """What one check found at one time that it was due."""

    check_run = models.ForeignKey(Check, on_delete=models.CASCADE, related_name="occurrences")
    key = models.CharField(max_length=80, help_text="`2026-11` or `entry:123`.")
    due_at = models.DateTimeField()
    happened_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=10, choices=_choices(Outcome))
    reason = models.CharField(max_length=500, blank=True)
    entries = models.JSONField(default=list, help_text="Primary keys of the ledger entries it rests on.")
    verified = models.BooleanField(default=False, help_text="Every entry is sealed and its content is unchanged.")
    check_version = models.PositiveIntegerField()
    evaluated_at = models.DateTimeField()

    class Meta:
        ordering = ("-due_at", "-pk")
        constraints = (models.UniqueConstraint(fields=("check_run", "key"), name="one_occurrence_per_check_and_key"),)
        indexes = (models.Index(fields=("check_run", "due_at"), name="occurrences_by_due"),)

    def __str__(self) -> str:
        return f"{self.check_run} {self.key}: {self.outcome}"


class OccurrenceDay(models.Model):
    """How many occurrences of a check by event fell on a day (UTC), so that a window is one sum."""

    check_run = models.ForeignKey(Check, on_delete=models.CASCADE, related_name="days")
    day = models.DateField()
    due = models.PositiveIntegerField(default=0)
    passed = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("check_run", "day")
        constraints = (models.UniqueConstraint(fields=("check_run", "day"), name="one_day_of_a_check"),)

    def __str__(self) -> str:
        return f"{self.check_run} {self.day}: {self.passed} of {self.due}"


class ControlException(models.Model):
    """A deviation that somebody accepts for a while. It counts only once somebody else has approved it."""

    control = models.ForeignKey(Control, on_delete=models.CASCADE, related_name="exceptions")
    reason = models.TextField()
    compensation = models.TextField(blank=True, help_text="What protects meanwhile.")
    covers = models.CharField(
        max_length=200, blank=True, help_text="A scanner's check, or its check and resource, that it excuses."
    )
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    requested_by = models.CharField(max_length=120)
    requested_at = models.DateTimeField()
    approved_by = models.CharField(max_length=120, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    rejected_by = models.CharField(max_length=120, blank=True)
    rejected_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-starts_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("starts_at")),
                name="exception_expires_after_it_starts",
                violation_error_message="An exception must expire after it starts.",
            ),
            models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("requested_by")),
                name="exception_is_approved_by_another",
                violation_error_message="Somebody else must approve an exception.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.control} until {self.expires_at:%Y-%m-%d}"

    def get_absolute_url(self) -> str:
        """Return the exception's page."""
        return reverse("compliance:exception_detail", args=(self.pk,))

    def state_at(self, now: datetime) -> str:
        """Return what it is worth at an instant."""
        if self.rejected_at is not None:
            return "rejected"
        if now >= self.expires_at:
            return "expired"
        return "waiting" if self.approved_at is None else "approved"

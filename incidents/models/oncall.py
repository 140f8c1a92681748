"""Schedules: configuration in versions, and people who stand in. Who is on call is computed, never stored."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class Schedule(models.Model):
    """A named answer to "who is on call?"."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    time_zone = models.CharField(max_length=64, default="UTC")
    team = models.ForeignKey("accounts.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="schedules")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class ScheduleVersion(models.Model):
    """A schedule's layers from an instant on. Versions are added, never changed: the past stays as it was."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    effective_from = models.DateTimeField()
    layers = models.JSONField()
    created_by = models.CharField(max_length=80)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("schedule_id", "number")
        constraints = (models.UniqueConstraint(fields=("schedule", "number"), name="one_row_per_schedule_version"),)

    def __str__(self) -> str:
        return f"{self.schedule_id} version {self.number}"


class ScheduleOverride(models.Model):
    """Somebody who stands in for whoever would be on call."""

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="overrides")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="stand_ins")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=200, blank=True, default="")
    created_by = models.CharField(max_length=80)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")),
                name="override_ends_after_it_starts",
                violation_error_message="An override ends after it starts.",
            ),
        )

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        """The name by which a shift refers to it."""
        return f"OVR-{self.pk}"

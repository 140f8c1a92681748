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


class SwapRequest(models.Model):
    """Somebody on call asks to be stood in for; whoever takes it becomes an override."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        TAKEN = "taken", "taken"
        CANCELLED = "cancelled", "cancelled"

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="swap_requests")
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="swap_requests")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    reason = models.CharField(max_length=200, blank=True, default="")
    state = models.CharField(max_length=16, choices=State.choices, default=State.OPEN)
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="swaps_taken"
    )
    settled_at = models.DateTimeField(null=True, blank=True)
    override = models.OneToOneField(
        ScheduleOverride, null=True, blank=True, on_delete=models.SET_NULL, related_name="swap_request"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.requester_id} asks for a stand-in ({self.state})"


class Absence(models.Model):
    """A time in which a person is away: entered by hand, or read from their calendar."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="absences")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    title = models.CharField(max_length=200, blank=True, default="")
    source_key = models.CharField(max_length=200, blank=True, default="", help_text="Event of the calendar.")

    class Meta:
        ordering = ("starts_at", "pk")
        constraints = (
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="absence_ends_after_it_starts"),
            models.UniqueConstraint(
                fields=("user", "source_key"), condition=~Q(source_key=""), name="one_absence_per_calendar_event"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user_id} is away from {self.starts_at:%Y-%m-%d}"


class FeedToken(models.Model):
    """A secret address of a calendar: of one person's shifts, or of a whole schedule."""

    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="feed_tokens")
    schedule = models.ForeignKey(
        Schedule,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="feed_tokens",
        help_text="Empty: own shifts.",
    )
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"calendar of {self.schedule or self.user}"

"""Silences and maintenance windows."""

from django.db import models
from django.db.models import F, Q


class Silence(models.Model):
    """Alerts that fit its matchers page nobody while it holds; they are kept and shown all the same."""

    class Kind(models.TextChoices):
        SILENCE = "silence", "silence"
        MAINTENANCE = "maintenance", "maintenance window"

    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.SILENCE)
    matchers = models.JSONField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="Of the first occurrence, where it recurs.")
    time_zone = models.CharField(max_length=64, default="UTC")
    recurrence = models.CharField(max_length=200, blank=True, default="", help_text="RRULE, as FREQ=WEEKLY;BYDAY=SU.")
    reason = models.CharField(max_length=200)
    team = models.ForeignKey("accounts.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    created_by = models.CharField(max_length=80)
    created_by_label = models.CharField(max_length=160)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True, help_text="Ended early, or the recurrence stopped.")

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")),
                name="silence_ends_after_it_starts",
                violation_error_message="A silence ends after it starts.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.reference} {self.reason}"

    @property
    def reference(self) -> str:
        """The name by which decisions refer to it."""
        return f"SIL-{self.pk}"

"""Time that does not count against a budget."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from reliability.models.slos import SLO


class Exclusion(models.Model):
    """Time that does not count for an SLO or all SLOs of a service: asked for by one person, approved by another.

    A change is a new row that replaces this one when it is approved, so what was known on any day can be told.
    """

    class State(models.TextChoices):
        REQUESTED = "requested", "Requested"
        APPROVED = "approved", "Approved"
        REJECTED = "rejected", "Rejected"
        WITHDRAWN = "withdrawn", "Withdrawn"
        REPLACED = "replaced", "Replaced"

    reference = models.CharField(max_length=20, unique=True)
    slo = models.ForeignKey(SLO, on_delete=models.CASCADE, null=True, blank=True, related_name="exclusions")
    service = models.ForeignKey(
        "catalog.Service", on_delete=models.CASCADE, null=True, blank=True, related_name="exclusions"
    )
    reason = models.CharField(max_length=500)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    recurrence = models.CharField(max_length=200, blank=True, help_text="RRULE, as FREQ=WEEKLY;BYDAY=SU.")
    zone = models.CharField(max_length=60, default="UTC")
    state = models.CharField(max_length=10, choices=State.choices, default=State.REQUESTED)
    requested_by = models.CharField(max_length=150)
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    requested_at = models.DateTimeField()
    decided_by = models.CharField(max_length=150, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When it was withdrawn or replaced.")
    replaces = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="replaced_by")

    class Meta:
        ordering = ("-starts_at", "-pk")
        constraints = (
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("starts_at")),
                name="exclusion_ends_after_it_starts",
                violation_error_message="An exclusion ends after it starts.",
            ),
            models.CheckConstraint(
                condition=Q(slo__isnull=False, service__isnull=True) | Q(slo__isnull=True, service__isnull=False),
                name="exclusion_of_an_slo_or_a_service",
                violation_error_message="An exclusion is for an SLO or for a service.",
            ),
        )

    def __str__(self) -> str:
        return self.reference

    @property
    def subject(self) -> str:
        """What it is for, in words."""
        return f"SLO {self.slo}" if self.slo is not None else f"all SLOs of {self.service}"

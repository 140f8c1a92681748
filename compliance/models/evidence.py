"""Evidence that people or outside collectors hand in."""

from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from compliance.models.controls import Control


class Evidence(models.Model):
    """A file or a statement that shows that a control operated. Never overwritten: a correction supersedes it.

    Four times are kept apart: the period it speaks of, when it was observed, when it was collected, when it came here.
    """

    class Kind(models.TextChoices):
        UPLOAD = "upload", "Uploaded file"
        ATTESTATION = "attestation", "Attestation"
        PUSHED = "pushed", "Pushed by a collector"

    class State(models.TextChoices):
        SUBMITTED = "submitted", "Waiting for review"
        ACCEPTED = "accepted", "Accepted"
        REJECTED = "rejected", "Rejected"
        QUARANTINED = "quarantined", "Quarantined"
        SUPERSEDED = "superseded", "Superseded"

    class Sensitivity(models.TextChoices):
        INTERNAL = "internal", "Internal"
        CONFIDENTIAL = "confidential", "Confidential"
        PERSONAL = "personal", "Holds personal data"

    reference = models.CharField(max_length=40, unique=True)
    control = models.ForeignKey(Control, on_delete=models.PROTECT, related_name="evidence")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    state = models.CharField(max_length=12, choices=State.choices)
    title = models.CharField(max_length=160)
    statement = models.TextField(blank=True)
    evidence_type = models.CharField(max_length=3, blank=True)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    observed_at = models.DateTimeField(help_text="When the thing was seen.")
    collected_at = models.DateTimeField(help_text="When it was taken down.")
    received_at = models.DateTimeField(help_text="When it came here; never set by the sender.")
    expires_at = models.DateTimeField(null=True, blank=True)
    source = models.CharField(max_length=160, blank=True, help_text="System that it comes from.")
    collector = models.CharField(max_length=160, blank=True, help_text="Person or tool that took it down.")
    query = models.TextField(blank=True, help_text="What was asked of the source.")
    sensitivity = models.CharField(max_length=12, choices=Sensitivity.choices, default=Sensitivity.INTERNAL)
    external_id = models.CharField(max_length=160, null=True, blank=True, unique=True)
    sha256 = models.CharField(max_length=64, blank=True)
    file_name = models.CharField(max_length=160, blank=True)
    media_type = models.CharField(max_length=80, blank=True)
    supersedes = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="superseded_by"
    )
    submitted_by = models.CharField(max_length=120)
    submitted_by_label = models.CharField(max_length=160)
    reviewed_by = models.CharField(max_length=120, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True, help_text="Why it was rejected or put aside.")

    class Meta:
        ordering = ("-received_at", "-pk")
        verbose_name_plural = "evidence"
        constraints = (
            models.CheckConstraint(
                condition=Q(reviewed_by="") | ~Q(reviewed_by=F("submitted_by")),
                name="evidence_is_reviewed_by_another",
                violation_error_message="Somebody else must review evidence.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.reference} {self.title}"

    def get_absolute_url(self) -> str:
        """Return the page of this evidence."""
        return reverse("compliance:submitted_detail", args=(self.reference,))

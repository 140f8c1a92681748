"""Audits: their scope, who may read them, and the packs made for them."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from compliance.models.frameworks import Framework
from core.leases import LeasedModel


class Engagement(models.Model):
    """An audit: which frameworks, over which window, and what of the organization."""

    class Kind(models.TextChoices):
        TYPE_1 = "type-1", "Type I (at a date)"
        TYPE_2 = "type-2", "Type II (over a period)"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=160)
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.TYPE_2)
    frameworks = models.ManyToManyField(Framework, related_name="engagements")
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    scope = models.TextField(blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=120)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-window_start",)
        constraints = (
            models.CheckConstraint(
                condition=Q(window_end__gt=F("window_start")),
                name="engagement_ends_after_it_starts",
                violation_error_message="The window must end after it starts.",
            ),
        )

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the audit room."""
        return reverse("compliance:engagement_detail", args=(self.slug,))

    def default_expiry(self) -> datetime:
        """Return until when an auditor may read unless somebody says otherwise: 90 days after the window."""
        return self.window_end + timedelta(days=90)


class AuditorGrant(models.Model):
    """A person may read one engagement until a date."""

    engagement = models.ForeignKey(Engagement, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="auditor_grants")
    expires_at = models.DateTimeField()
    granted_by = models.CharField(max_length=120)
    granted_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("engagement", "user")
        constraints = (
            models.UniqueConstraint(
                fields=("engagement", "user"), condition=Q(revoked_at__isnull=True), name="one_live_auditor_grant"
            ),
        )

    def __str__(self) -> str:
        return f"{self.user}: {self.engagement} until {self.expires_at:%Y-%m-%d}"


class PackExport(LeasedModel):
    """An evidence pack that somebody asked for; a worker makes it."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"

    engagement = models.ForeignKey(Engagement, on_delete=models.CASCADE, related_name="exports")
    reference = models.CharField(max_length=40, unique=True)
    requested_by = models.CharField(max_length=120)
    requested_by_label = models.CharField(max_length=160)
    requested_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    step = models.CharField(max_length=160, blank=True)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=160, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    entries = models.PositiveIntegerField(default=0)
    omissions = models.JSONField(default=list)
    key = models.TextField(blank=True)

    class Meta:
        ordering = ("-requested_at",)

    def __str__(self) -> str:
        return f"{self.engagement} {self.reference}"

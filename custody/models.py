"""How long data is kept, what is held, and whose data was erased."""

from django.conf import settings
from django.db import models
from django.urls import reverse

from core.fields import EncryptedTextField
from core.leases import LeasedModel


class RetentionRule(models.Model):
    """How long one class of data is kept, where that differs from its default, and what went last."""

    key = models.CharField(max_length=60, unique=True, help_text="Of a registered class of data.")
    changed = models.BooleanField(default=False, help_text="Somebody has set it; else the default holds.")
    keep_days = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: for ever.")
    reason = models.CharField(max_length=500, blank=True, default="")
    changed_by = models.CharField(max_length=120, blank=True, default="")
    changed_at = models.DateTimeField(null=True, blank=True)
    looked_at = models.DateTimeField(null=True, blank=True, help_text="When old rows were last looked for.")
    removed_last = models.PositiveBigIntegerField(default=0)
    removed_in_all = models.PositiveBigIntegerField(default=0)
    error = models.CharField(max_length=1000, blank=True, default="")

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key


class LegalHold(models.Model):
    """Data that must not go: asked for by one person, confirmed by another. It holds as soon as it is asked for."""

    class Kind(models.TextChoices):
        CLASS = "class", "a class of data"
        SERVICE = "service", "a service"
        INCIDENT = "incident", "an incident"
        ENGAGEMENT = "engagement", "an audit engagement"
        TEAM = "team", "a team and its services"
        PERSON = "person", "a person"
        SUBJECT = "subject", "a subject of ledger entries"
        WINDOW = "window", "a window of time"

    class Status(models.TextChoices):
        REQUESTED = "requested", "requested"
        ACTIVE = "active", "active"
        RELEASE_REQUESTED = "release-requested", "release requested"
        RELEASED = "released", "released"
        REJECTED = "rejected", "rejected"

    kind = models.CharField(max_length=10, choices=Kind.choices)
    target = models.CharField(max_length=120, help_text="Key, slug or reference.")
    reason = models.CharField(max_length=500)
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.REQUESTED)
    requested_by = models.CharField(max_length=120)
    requested_at = models.DateTimeField()
    decided_by = models.CharField(max_length=120, blank=True, default="")
    decided_at = models.DateTimeField(null=True, blank=True)
    release_reason = models.CharField(max_length=500, blank=True, default="")
    release_requested_by = models.CharField(max_length=120, blank=True, default="")
    release_requested_at = models.DateTimeField(null=True, blank=True)
    released_by = models.CharField(max_length=120, blank=True, default="")
    released_at = models.DateTimeField(null=True, blank=True)
    kept = models.JSONField(default=list, help_text="Rows and bytes of each class that it keeps, as last counted.")
    counted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.reference

    def get_absolute_url(self) -> str:
        """Return the hold's page."""
        return reverse("custody:hold_detail", args=(self.pk,))

    @property
    def reference(self) -> str:
        """`HOLD-3`."""
        return f"HOLD-{self.pk}"


class Erasure(LeasedModel):
    """The erasure of a person's data: due until everything that may go has gone."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="erasures")
    names = EncryptedTextField(blank=True, default="", help_text="What the person was called; empty once all is done.")
    reason = models.CharField(max_length=500)
    requested_by = models.CharField(max_length=120)
    requested_at = models.DateTimeField()
    outcome = models.JSONField(default=list, help_text="For each kind of data: how many rows went, or why they stay.")
    payloads_erased = models.PositiveIntegerField(default=0)
    payloads_kept = models.PositiveIntegerField(default=0)
    account_erased_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"erasure of person {self.user_id}"

    @property
    def status(self) -> str:
        """The state as a word."""
        if self.dead_at is not None:
            return "failed"
        if self.finished_at is not None:
            return "done"
        return "partial" if self.account_erased_at is not None else "waiting"

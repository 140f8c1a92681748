"""What comes from elsewhere: access reviews, changes of a forge, keys of collectors, waivers of scorecards."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from core.fields import EncryptedTextField


class AccessCampaign(models.Model):
    """A review of who has access to a system."""

    class Source(models.TextChoices):
        ASSAY = "assay", "People and tokens of this site"
        CSV = "csv", "CSV file"
        GITHUB = "github", "GitHub organization"
        REST = "rest", "REST address"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=160)
    system = models.CharField(max_length=120)
    source = models.CharField(max_length=8, choices=Source.choices)
    due_on = models.DateField()
    opened_at = models.DateTimeField()
    opened_by = models.CharField(max_length=120)
    accounts_in_source = models.PositiveIntegerField(default=0)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ("-opened_at",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the campaign's page."""
        return reverse("compliance:campaign_detail", args=(self.slug,))


class AccessEntry(models.Model):
    """One account of a campaign, what was decided about it, and whether a revocation was carried out."""

    class Decision(models.TextChoices):
        PENDING = "pending", "Not decided"
        KEEP = "keep", "Keep"
        REVOKE = "revoke", "Take away"

    campaign = models.ForeignKey(AccessCampaign, on_delete=models.CASCADE, related_name="entries")
    account = models.CharField(max_length=160)
    person = models.CharField(max_length=160, blank=True, help_text="User name or mail address of whose it is.")
    roles = models.CharField(max_length=300, blank=True)
    privileged = models.BooleanField(default=False)
    second_factor = models.BooleanField(null=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    decision = models.CharField(max_length=8, choices=Decision.choices, default=Decision.PENDING)
    note = models.CharField(max_length=300, blank=True)
    decided_by = models.CharField(max_length=120, blank=True)
    decided_by_label = models.CharField(max_length=160, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.CharField(max_length=120, blank=True)

    class Meta:
        ordering = ("campaign", "account")
        verbose_name_plural = "access entries"
        constraints = (models.UniqueConstraint(fields=("campaign", "account"), name="one_entry_per_account"),)

    def __str__(self) -> str:
        return f"{self.account}: {self.decision}"


class ChangeSource(models.Model):
    """A repository whose merged changes are recorded."""

    class Forge(models.TextChoices):
        GITHUB = "github", "GitHub"
        GITLAB = "gitlab", "GitLab"

    slug = models.SlugField(max_length=63, unique=True)
    forge = models.CharField(max_length=8, choices=Forge.choices)
    repository = models.CharField(max_length=200, help_text="owner/name, or group/project.")
    api_url = models.CharField(max_length=200)
    token = EncryptedTextField(blank=True, help_text="Reads approvals and checks.")
    secret = EncryptedTextField(help_text="Signs webhooks (GitHub), or comes with them (GitLab).")
    allow = models.JSONField(default=list, help_text="Private hosts or networks that may be reached.")
    created_at = models.DateTimeField()
    last_received_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return f"{self.forge} {self.repository}"


class ChangeRecord(models.Model):
    """A merged change as the forge told it."""

    source = models.ForeignKey(ChangeSource, on_delete=models.CASCADE, related_name="changes")
    change = models.CharField(max_length=40)
    title = models.CharField(max_length=300)
    author = models.CharField(max_length=120)
    approvers = models.JSONField(default=list)
    checks_passed = models.BooleanField(null=True)
    commit = models.CharField(max_length=64, blank=True)
    merged_by = models.CharField(max_length=120, blank=True)
    merged_at = models.DateTimeField(null=True, blank=True)
    url = models.CharField(max_length=300, blank=True)
    recorded_at = models.DateTimeField(null=True, blank=True, help_text="When it went into the ledger.")

    class Meta:
        ordering = ("-merged_at", "-pk")
        constraints = (models.UniqueConstraint(fields=("source", "change"), name="one_record_per_change"),)

    def __str__(self) -> str:
        return f"{self.source} {self.change}"

    @property
    def approved_by_another(self) -> bool:
        """Say whether somebody other than the author approved it."""
        return any(one != self.author for one in self.approvers)


class CollectorKey(models.Model):
    """A key with which a collector elsewhere signs the evidence that it pushes (DSSE, Ed25519)."""

    name = models.SlugField(max_length=63, unique=True)
    public_key = models.CharField(max_length=64, help_text="Ed25519, 32 bytes in base64.")
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=120)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class ScorecardWaiver(models.Model):
    """A service need not show something for a while. It counts only once somebody else has approved it."""

    service = models.ForeignKey("catalog.Service", on_delete=models.CASCADE, related_name="+")
    item = models.SlugField(max_length=63)
    reason = models.CharField(max_length=500)
    requested_by = models.CharField(max_length=120)
    requested_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    approved_by = models.CharField(max_length=120, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-requested_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("requested_by")),
                name="waiver_is_approved_by_another",
                violation_error_message="Somebody else must approve a waiver.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.service} {self.item}"

    def counts_at(self, now: datetime) -> bool:
        """Say whether it excuses at an instant."""
        return self.approved_at is not None and now < self.expires_at

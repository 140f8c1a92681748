"""Registers that people keep: vendors, policies, scanners' and testers' findings, and what does not apply."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse

from compliance.models.frameworks import Requirement


class Applicability(models.Model):
    """Whether a requirement applies to the organization, for the Statement of Applicability."""

    requirement = models.OneToOneField(Requirement, on_delete=models.CASCADE, related_name="applicability")
    applies = models.BooleanField()
    justification = models.CharField(max_length=500)
    decided_by = models.CharField(max_length=120)
    decided_at = models.DateTimeField()

    class Meta:
        ordering = ("requirement",)
        verbose_name_plural = "applicability"

    def __str__(self) -> str:
        return f"{self.requirement}: {'applies' if self.applies else 'does not apply'}"


class Vendor(models.Model):
    """Somebody outside on whom the organization relies."""

    class Tier(models.TextChoices):
        CRITICAL = "critical", "Critical"
        HIGH = "high", "High"
        STANDARD = "standard", "Standard"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=160)
    tier = models.CharField(max_length=10, choices=Tier.choices, default=Tier.STANDARD)
    owner = models.CharField(max_length=120)
    provides = models.CharField(max_length=300, help_text="What they do for the organization.")
    data_shared = models.CharField(max_length=300, blank=True)
    subprocessors = models.JSONField(default=list)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the vendor's page."""
        return reverse("compliance:vendor_detail", args=(self.slug,))

    @property
    def review_days(self) -> int:
        """After how many days its assurance must be read again."""
        return 180 if self.tier == self.Tier.CRITICAL else 370


class VendorReport(models.Model):
    """A report on a vendor that somebody has read, with the period that it speaks of."""

    class Kind(models.TextChoices):
        SOC_1 = "soc1", "SOC 1"
        SOC_2 = "soc2", "SOC 2"
        ISO_27001 = "iso27001", "ISO/IEC 27001 certificate"
        QUESTIONNAIRE = "questionnaire", "Questionnaire"
        OTHER = "other", "Other"

    vendor = models.ForeignKey(Vendor, on_delete=models.CASCADE, related_name="reports")
    kind = models.CharField(max_length=14, choices=Kind.choices)
    period_start = models.DateField()
    period_end = models.DateField()
    bridged_until = models.DateField(null=True, blank=True, help_text="What a bridge letter covers.")
    exceptions_read = models.BooleanField(default=False)
    conclusion = models.TextField()
    reviewed_by = models.CharField(max_length=120)
    reviewed_by_label = models.CharField(max_length=160)
    reviewed_at = models.DateTimeField()

    class Meta:
        ordering = ("-period_end", "-pk")
        constraints = (
            models.CheckConstraint(
                condition=Q(period_end__gte=F("period_start")),
                name="vendor_report_ends_after_it_starts",
                violation_error_message="The period must end after it starts.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.vendor} {self.get_kind_display()} to {self.period_end}"


class Policy(models.Model):
    """A rule that people are asked to follow; what it says are its versions."""

    slug = models.SlugField(max_length=63, unique=True)
    title = models.CharField(max_length=160)
    owner = models.CharField(max_length=120)
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("title",)
        verbose_name_plural = "policies"

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Return the policy's page."""
        return reverse("compliance:policy_detail", args=(self.slug,))


class PolicyVersion(models.Model):
    """A version of a policy. In force once somebody other than its author approved it."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    text = models.TextField()
    review_on = models.DateField()
    due_at = models.DateTimeField(help_text="Until when people have to have read it.")
    author = models.CharField(max_length=120)
    author_label = models.CharField(max_length=160)
    written_at = models.DateTimeField()
    approved_by = models.CharField(max_length=120, blank=True)
    approved_by_label = models.CharField(max_length=160, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True, help_text="When acknowledging ended.")

    class Meta:
        ordering = ("policy", "-number")
        constraints = (
            models.UniqueConstraint(fields=("policy", "number"), name="one_policy_version_per_number"),
            models.CheckConstraint(
                condition=Q(approved_by="") | ~Q(approved_by=F("author")),
                name="policy_is_approved_by_another",
                violation_error_message="Somebody other than the author must approve a policy.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.policy} v{self.number}"


class PolicyAcknowledgement(models.Model):
    """A person says that they have read a version."""

    version = models.ForeignKey(PolicyVersion, on_delete=models.CASCADE, related_name="acknowledgements")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ("version", "at")
        constraints = (models.UniqueConstraint(fields=("version", "user"), name="one_acknowledgement_each"),)

    def __str__(self) -> str:
        return f"{self.user} {self.version}"


class FindingReport(models.Model):
    """A report of a scanner (SARIF) or of a penetration test that was taken in."""

    class Kind(models.TextChoices):
        SARIF = "sarif", "Scanner"
        PENETRATION_TEST = "penetration-test", "Penetration test"

    reference = models.CharField(max_length=40, unique=True)
    kind = models.CharField(max_length=18, choices=Kind.choices)
    tool = models.CharField(max_length=120, help_text="The scanner, or who tested.")
    tool_version = models.CharField(max_length=60, blank=True)
    scope = models.CharField(max_length=200)
    scanned_at = models.DateTimeField()
    received_at = models.DateTimeField()
    received_by = models.CharField(max_length=120)
    sha256 = models.CharField(max_length=64)
    results = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("-received_at", "-pk")

    def __str__(self) -> str:
        return f"{self.tool} on {self.scope}"


class SecurityFinding(models.Model):
    """A weakness that a scanner or a tester reported, until a later report of the same scope has it no more."""

    class Severity(models.TextChoices):
        CRITICAL = "critical", "Critical"
        HIGH = "high", "High"
        MEDIUM = "medium", "Medium"
        LOW = "low", "Low"

    tool = models.CharField(max_length=120)
    scope = models.CharField(max_length=200)
    fingerprint = models.CharField(max_length=64)
    rule = models.CharField(max_length=160)
    severity = models.CharField(max_length=8, choices=Severity.choices)
    title = models.CharField(max_length=300)
    location = models.CharField(max_length=300, blank=True)
    first_report = models.ForeignKey(FindingReport, on_delete=models.PROTECT, related_name="+")
    last_report = models.ForeignKey(FindingReport, on_delete=models.PROTECT, related_name="findings")
    first_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("gone_at", "severity", "pk")
        constraints = (
            models.UniqueConstraint(fields=("tool", "scope", "fingerprint"), name="one_finding_per_fingerprint"),
        )

    def __str__(self) -> str:
        return self.title

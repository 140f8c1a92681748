"""What happens in the audit room: populations, samples, requests, findings, and who looked at what."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from compliance.models.audits import Engagement
from compliance.models.controls import Control
from compliance.models.evidence import Evidence


class Population(models.Model):
    """All of a kind that happened in a window, frozen with its digest so that a sample can be drawn again."""

    engagement = models.ForeignKey(Engagement, on_delete=models.PROTECT, related_name="populations")
    slug = models.SlugField(max_length=63)
    title = models.CharField(max_length=160)
    query = models.JSONField(help_text="Kinds of entry and conditions.")
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    items = models.JSONField(help_text="Numbers of the entries in the log, in order.")
    count = models.PositiveIntegerField()
    digest = models.CharField(max_length=64, help_text="SHA-256 of the items, one a line.")
    frozen_at = models.DateTimeField()
    frozen_by = models.CharField(max_length=120)

    class Meta:
        ordering = ("engagement", "slug")
        constraints = (models.UniqueConstraint(fields=("engagement", "slug"), name="one_population_per_slug"),)

    def __str__(self) -> str:
        return f"{self.title} ({self.count})"


class Sample(models.Model):
    """Items drawn from a population by a seed; anybody can draw them again."""

    population = models.ForeignKey(Population, on_delete=models.PROTECT, related_name="samples")
    seed = models.CharField(max_length=120)
    size = models.PositiveIntegerField()
    drawn_at = models.DateTimeField()
    drawn_by = models.CharField(max_length=120)

    class Meta:
        ordering = ("population", "pk")

    def __str__(self) -> str:
        return f"{self.size} of {self.population}"


class SampleItem(models.Model):
    """One drawn item and what its test found."""

    class Result(models.TextChoices):
        UNTESTED = "untested", "Not tested"
        PASSED = "passed", "No exception noted"
        DEVIATION = "deviation", "Deviation"
        NOT_APPLICABLE = "not-applicable", "Not applicable"

    sample = models.ForeignKey(Sample, on_delete=models.CASCADE, related_name="items")
    position = models.PositiveIntegerField()
    seq = models.PositiveBigIntegerField(help_text="Number of the entry in the log.")
    result = models.CharField(max_length=16, choices=Result.choices, default=Result.UNTESTED)
    note = models.CharField(max_length=500, blank=True)
    tested_by = models.CharField(max_length=120, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("sample", "position")
        constraints = (models.UniqueConstraint(fields=("sample", "seq"), name="one_item_of_a_sample"),)

    def __str__(self) -> str:
        return f"entry {self.seq}: {self.result}"


class AuditRequest(models.Model):
    """Something that the auditor asks for, until they accept it or take it back."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        SUBMITTED = "submitted", "Submitted"
        FLAGGED = "flagged", "Flagged"
        ACCEPTED = "accepted", "Accepted"
        WITHDRAWN = "withdrawn", "Withdrawn"

    engagement = models.ForeignKey(Engagement, on_delete=models.PROTECT, related_name="requests")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    control = models.ForeignKey(Control, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    due_on = models.DateField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    asked_by = models.CharField(max_length=120)
    asked_by_label = models.CharField(max_length=160)
    asked_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ("engagement", "number")
        constraints = (models.UniqueConstraint(fields=("engagement", "number"), name="one_request_per_number"),)

    def __str__(self) -> str:
        return f"R-{self.number} {self.title}"


class RequestMessage(models.Model):
    """A line in a request's thread: what was said, handed over, or decided."""

    request = models.ForeignKey(AuditRequest, on_delete=models.CASCADE, related_name="messages")
    author = models.CharField(max_length=120)
    author_label = models.CharField(max_length=160)
    at = models.DateTimeField()
    text = models.TextField(blank=True)
    state = models.CharField(max_length=10, blank=True, help_text="The state that it led to, if it changed.")
    evidence = models.ForeignKey(Evidence, on_delete=models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ("request", "pk")

    def __str__(self) -> str:
        return f"{self.author_label}: {self.text[:40]}"


class AuditFinding(models.Model):
    """A shortcoming that an audit found, with the management's answer."""

    class Severity(models.TextChoices):
        OBSERVATION = "observation", "Observation"
        MINOR = "minor", "Minor nonconformity"
        MAJOR = "major", "Major nonconformity"

    engagement = models.ForeignKey(Engagement, on_delete=models.PROTECT, related_name="findings")
    number = models.PositiveIntegerField()
    control = models.ForeignKey(Control, on_delete=models.PROTECT, null=True, blank=True, related_name="findings")
    severity = models.CharField(max_length=12, choices=Severity.choices)
    title = models.CharField(max_length=200)
    text = models.TextField(blank=True)
    raised_by = models.CharField(max_length=120)
    raised_at = models.DateTimeField()
    response = models.TextField(blank=True, help_text="The management's answer.")
    due_on = models.DateField(null=True, blank=True)
    responded_by = models.CharField(max_length=120, blank=True)
    responded_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=120, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("engagement", "number")
        constraints = (
            models.UniqueConstraint(fields=("engagement", "number"), name="one_finding_per_number"),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | ~Q(closed_by=""),
                name="finding_is_closed_by_somebody",
                violation_error_message="A closed finding names who closed it.",
            ),
        )

    def __str__(self) -> str:
        return f"F-{self.number} {self.title}"

    @property
    def status(self) -> str:
        """The state as a word."""
        if self.closed_at is not None:
            return "closed"
        return "answered" if self.responded_at is not None else "open"


class AuditorAccess(models.Model):
    """An auditor looked at a page of their audit."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    engagement = models.ForeignKey(Engagement, on_delete=models.CASCADE, null=True, related_name="accesses")
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=300)
    at = models.DateTimeField()

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.user} {self.path}"

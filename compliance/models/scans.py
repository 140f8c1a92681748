"""Scans of infrastructure code that somebody asked for."""

from django.db import models
from django.urls import reverse

from core.leases import LeasedModel


class ScanRun(LeasedModel):
    """A scan that somebody asked for; a worker runs it. What it found is recorded in the ledger, valid or not."""

    class Source(models.TextChoices):
        ARCHIVE = "archive", "Archive"
        GIT = "git", "Git repository"
        PATH = "path", "Folder on this machine"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"

    reference = models.CharField(max_length=40, unique=True)
    source = models.CharField(max_length=8, choices=Source.choices)
    place = models.CharField(max_length=500, help_text="Name of the archive, address, or folder.")
    ref = models.CharField(max_length=120, blank=True, help_text="Branch or tag of a repository.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the archive.")
    requested_by = models.CharField(max_length=120)
    requested_by_label = models.CharField(max_length=160)
    requested_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    step = models.CharField(max_length=160, blank=True)
    valid = models.BooleanField(null=True, help_text="Whether it proves anything.")
    reason = models.CharField(max_length=500, blank=True)
    commit = models.CharField(max_length=64, blank=True)
    resources = models.PositiveIntegerField(default=0)
    passed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    unexcused_skips = models.PositiveIntegerField(default=0)
    findings = models.JSONField(default=list, help_text="What failed or was skipped, by a list of allowed fields.")
    entry = models.PositiveBigIntegerField(null=True, help_text="The ledger entry that holds the result.")

    class Meta:
        ordering = ("-requested_at", "-pk")

    def __str__(self) -> str:
        return f"{self.place} {self.requested_at:%Y-%m-%d %H:%M}"

    def get_absolute_url(self) -> str:
        """Return the scan's page."""
        return reverse("compliance:scan_detail", args=(self.reference,))

    @property
    def word(self) -> str:
        """How it stands, in a word or two."""
        if self.state != self.State.COMPLETED:
            return str(self.state)
        if not self.valid:
            return "proves nothing"
        return "deviates" if self.failed or self.unexcused_skips else "clean"

    @property
    def tone(self) -> str:
        """The tone of that word."""
        tones = {"clean": "ok", "deviates": "bad", "proves nothing": "unknown", "failed": "bad"}
        return tones.get(self.word, "plain")

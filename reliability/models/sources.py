"""Where events come from, and what was already taken from there."""

from django.db import models
from django.db.models import Q

from core.fields import EncryptedTextField
from core.leases import LeasedModel
from reliability.data import DataState, SourceSettings


class DataSource(models.Model):
    """Where counts are read from: a Prometheus server. OTLP is received and needs none."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    url = models.URLField()
    allow_private = models.BooleanField(default=False, help_text="The set-up asks for a private address on purpose.")
    stored_settings = EncryptedTextField(blank=True, default="", help_text="A SourceSettings as JSON.")
    last_success_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name

    @property
    def settings(self) -> SourceSettings:
        """How to ask it."""
        return SourceSettings.from_stored(self.stored_settings)


class Collection(LeasedModel):
    """The reading of an SLO version's series from its Prometheus, chunk after chunk up to a watermark."""

    version = models.OneToOneField("reliability.SLOVersion", on_delete=models.CASCADE, related_name="collection")
    watermark = models.DateTimeField(help_text="Everything up to here has been read and counted.")
    failures = models.PositiveIntegerField(default=0, help_text="Failed readings since the last good one.")
    succeeded_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=20, default=DataState.WAITING, help_text="What became of the last reading.")
    note = models.CharField(max_length=300, blank=True, help_text="What the last good reading found odd.")

    class Meta:
        ordering = ("pk",)
        indexes = (
            models.Index(
                fields=("due_at",),
                name="due_collection",
                condition=Q(finished_at__isnull=True, dead_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.version} up to {self.watermark:%Y-%m-%d %H:%M:%S}"


class SeriesState(models.Model):
    """The last sample of a scraped series: the next chunk's increments begin there."""

    version = models.ForeignKey("reliability.SLOVersion", on_delete=models.CASCADE, related_name="series")
    side = models.CharField(max_length=5)
    digest = models.CharField(max_length=64)
    labels = models.JSONField()
    time = models.FloatField()
    value = models.FloatField()

    class Meta:
        ordering = ("pk",)
        constraints = (models.UniqueConstraint(fields=("version", "side", "digest"), name="one_state_per_series"),)

    def __str__(self) -> str:
        return f"{self.side} {self.digest[:12]}"


class StreamState(models.Model):
    """What was counted of an OTLP metric stream, so that each event is credited once."""

    digest = models.CharField(max_length=64, unique=True)
    state = models.JSONField()
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.digest[:12]


class SeenSpan(models.Model):
    """A span that has been counted; a repeated export must not count it again."""

    digest = models.CharField(max_length=64, unique=True)
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.digest[:12]

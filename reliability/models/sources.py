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
    flavour_found = models.CharField(max_length=20, blank=True, help_text="What kind of store answered.")
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
    begins_at = models.DateTimeField(help_text="What happened before is not counted.")
    watermark = models.DateTimeField(help_text="Everything from begins_at up to here has been read and counted.")
    carried = models.BinaryField(default=bytes, help_text="Where each counter stood at the watermark.")
    approximate = models.BooleanField(default=False, help_text="Too many series: counted by the source's increase.")
    resets = models.PositiveIntegerField(default=0, help_text="Counter resets seen since reading began.")
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


class Backfill(LeasedModel):
    """The reading of a version's events from before it was declared, chunk after chunk."""

    version = models.ForeignKey("reliability.SLOVersion", on_delete=models.CASCADE, related_name="backfills")
    since = models.DateTimeField()
    until = models.DateTimeField()
    position = models.DateTimeField(help_text="Everything from since up to here has been read and counted.")
    carried = models.BinaryField(default=bytes, help_text="Where each counter stood at the position.")
    failures = models.PositiveIntegerField(default=0, help_text="Failed readings since the last good one.")
    state = models.CharField(max_length=20, default=DataState.BACKFILLING)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.CheckConstraint(condition=Q(since__lt=models.F("until")), name="backfill_since_before_until"),
        )

    def __str__(self) -> str:
        return f"{self.version} from {self.since:%Y-%m-%d %H:%M} at {self.position:%Y-%m-%d %H:%M}"

    @property
    def done_ratio(self) -> float:
        """How much has been read, 0 to 1."""
        return 1.0 if self.finished_at else (self.position - self.since) / (self.until - self.since)


class ProbeTurns(LeasedModel):
    """Checks of a target: one turn each time it falls due, on a grid from the first."""

    allow_private = models.BooleanField(default=False, help_text="Whoever set it up may allow a private address.")
    begins_at = models.DateTimeField()
    last_started_at = models.DateTimeField(null=True, blank=True)
    last_seconds = models.FloatField(null=True, blank=True)
    last_problem = models.CharField(max_length=300, blank=True, help_text="Why the last turn was bad or not sent.")
    missed = models.PositiveIntegerField(default=0, help_text="Turns that could not be run in time.")
    state = models.CharField(max_length=20, default=DataState.WAITING)

    class Meta:
        abstract = True


class Probe(ProbeTurns):
    """A version's own checks of a target from where the site's workers are."""

    version = models.OneToOneField("reliability.SLOVersion", on_delete=models.CASCADE, related_name="probe")

    class Meta:
        ordering = ("pk",)
        indexes = (
            models.Index(
                fields=("due_at",), name="due_probe", condition=Q(finished_at__isnull=True, dead_at__isnull=True)
            ),
        )

    def __str__(self) -> str:
        return f"probe of {self.version}"


class LocationProbe(ProbeTurns):
    """A version's own checks of a target from one location, where a prober of that name runs them."""

    version = models.ForeignKey("reliability.SLOVersion", on_delete=models.CASCADE, related_name="location_probes")
    location = models.CharField(max_length=40)
    good = models.PositiveBigIntegerField(default=0, help_text="Good events from here so far.")
    bad = models.PositiveBigIntegerField(default=0, help_text="Bad events from here so far.")

    class Meta:
        ordering = ("version", "location")
        constraints = (models.UniqueConstraint(fields=("version", "location"), name="one_probe_per_location"),)
        indexes = (
            models.Index(
                fields=("location", "due_at"),
                name="due_location_probe",
                condition=Q(finished_at__isnull=True, dead_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"probe of {self.version} from {self.location}"


class IntakeProblem(models.Model):
    """What was refused of pushed events: for one version, or (without) for whatever a sender's body held."""

    version = models.ForeignKey(
        "reliability.SLOVersion", on_delete=models.CASCADE, null=True, blank=True, related_name="intake_problems"
    )
    state = models.CharField(max_length=20)
    note = models.CharField(max_length=300)
    refused = models.PositiveBigIntegerField(default=0, help_text="Points, spans or bodies so far.")
    last_at = models.DateTimeField()

    class Meta:
        ordering = ("-last_at", "pk")
        constraints = (
            models.UniqueConstraint(fields=("version", "state"), name="one_intake_problem_per_state"),
            models.UniqueConstraint(
                fields=("state",), condition=Q(version__isnull=True), name="one_body_problem_per_state"
            ),
        )

    def __str__(self) -> str:
        return f"{self.state}: {self.note}"


class BucketHour(models.Model):
    """How a latency SLO's values were spread, minute by minute of one hour, where its buckets are kept (30 days)."""

    version = models.ForeignKey("reliability.SLOVersion", on_delete=models.CASCADE, related_name="bucket_hours")
    hour = models.PositiveIntegerField(help_text="Hours since 1970 UTC.")
    body = models.BinaryField(help_text="Packed counts by bucket and minute.")

    class Meta:
        ordering = ("version", "hour")
        constraints = (models.UniqueConstraint(fields=("version", "hour"), name="one_bucket_hour_per_version"),)

    def __str__(self) -> str:
        return f"{self.version}, hour {self.hour}"


class StreamBlock(models.Model):
    """What was counted of the OTLP streams of one metric of one resource, so that each event is credited once."""

    digest = models.CharField(max_length=64, unique=True)
    revision = models.BigIntegerField(help_text="Changes at random with each write.")
    shape = models.BinaryField(default=bytes, help_text="Streams with one life: attributes, start and bounds.")
    numbers = models.BinaryField(default=bytes, help_text="Their last time and counts.")
    others = models.BinaryField(default=bytes, help_text="Streams that need more than numbers.")
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


class Exemplar(models.Model):
    """A trace of a bad event: up to five for each SLO and minute, for as long as minutes are kept."""

    version = models.ForeignKey("reliability.SLOVersion", on_delete=models.CASCADE, related_name="exemplars")
    minute = models.PositiveIntegerField(help_text="Minutes since 1970 UTC.")
    trace_id = models.CharField(max_length=32)
    span_id = models.CharField(max_length=16, blank=True)
    value = models.FloatField(help_text="Of the metric; of a span, its seconds.")

    class Meta:
        ordering = ("-minute", "pk")
        constraints = (
            models.UniqueConstraint(fields=("version", "minute", "trace_id", "span_id"), name="one_exemplar_per_trace"),
        )

    def __str__(self) -> str:
        return self.trace_id


class RulesRevision(models.Model):
    """One row with a random number that changes whenever a definition comes into force or ends.

    A receiver keeps the rules of pushed events in memory and reads this number to know that they are still the ones.
    """

    revision = models.BigIntegerField()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return str(self.revision)

"""The log's tables. Entries are only ever inserted; the database refuses to change or delete them."""

from datetime import timedelta

import orjson
from django.db import models
from django.urls import reverse

from core.fields import EncryptedTextField
from core.leases import LeasedModel


class LedgerEntry(models.Model):
    """Something that happened, recorded in the transaction of the change. Its place in the log is its `Seal`."""

    entry_type = models.CharField(max_length=80)
    version = models.PositiveSmallIntegerField()
    evidence_type = models.CharField(max_length=3, blank=True, default="")
    actor = models.CharField(max_length=120)
    subject = models.CharField(max_length=200)
    recorded_at = models.DateTimeField()
    occurred_at = models.DateTimeField()
    period_start = models.DateTimeField(null=True)
    period_end = models.DateTimeField(null=True)
    payload_sha256 = models.CharField(max_length=64)
    artifacts = models.JSONField(default=list)

    class Meta:
        ordering = ("-pk",)
        verbose_name_plural = "ledger entries"
        indexes = (
            models.Index(fields=("entry_type", "occurred_at"), name="ledger_by_type"),
            models.Index(fields=("evidence_type", "occurred_at"), name="ledger_by_evidence"),
            models.Index(fields=("subject", "recorded_at"), name="ledger_by_subject"),
            models.Index(fields=("recorded_at",), name="ledger_by_recording"),
            models.Index(fields=("actor", "recorded_at"), name="ledger_by_actor"),
            models.Index(fields=("entry_type", "recorded_at"), name="ledger_by_type_recorded"),
        )

    def __str__(self) -> str:
        return f"{self.entry_type} {self.subject}"

    def get_absolute_url(self) -> str:
        """Return the entry's page."""
        return reverse("ledger:entry_detail", args=(self.pk,))

    @property
    def seq(self) -> int | None:
        """The entry's place in the log, from 0; None until it is sealed (seconds after its commit)."""
        seal: Seal | None = getattr(self, "seal", None)
        return None if seal is None else seal.seq

    @property
    def payload(self) -> dict[str, object] | None:
        """What the entry says, or None when its content was erased or its time was over."""
        kept = self.kept_content
        value: dict[str, object] | None = None if kept is None else orjson.loads(bytes(kept.body))
        return value

    @property
    def kept_content(self) -> "EntryContent | None":
        """The payload and its nonce, unless they were erased or their time was over."""
        content: EntryContent | None = getattr(self, "content", None)
        return None if content is None or content.erased_at else content

    @property
    def content_gone(self) -> str:
        """Why there is no payload any more, in a word; empty while there is one."""
        content: EntryContent | None = getattr(self, "content", None)
        if content is None:
            return "erased by retention"
        return "erased" if content.erased_at else ""


class EntryContent(models.Model):
    """An entry's payload and the nonce it was committed with. May be erased; the entry and its proof stay.

    Its row is gone when the payload's time was over; PostgreSQL keeps these rows by month and drops a month at once.
    """

    # Written together with the entry in one statement; a constraint would cost each record a second look-up.
    entry = models.OneToOneField(
        LedgerEntry, on_delete=models.PROTECT, primary_key=True, related_name="content", db_constraint=False
    )
    nonce = models.BinaryField(max_length=32)
    body = models.BinaryField(help_text="Canonical JSON (RFC 8785); empty once erased.")
    erased_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"content of entry {self.pk}"


class PendingEntry(models.Model):
    """An entry that waits for its place in the log. The sealer deletes the row, so that entries are only inserted."""

    entry = models.OneToOneField(
        LedgerEntry, on_delete=models.PROTECT, primary_key=True, related_name="pending", db_constraint=False
    )

    class Meta:
        ordering = ("pk",)
        verbose_name_plural = "pending entries"

    def __str__(self) -> str:
        return f"entry {self.pk} waits"


class Seal(models.Model):
    """An entry's place in the log: its sequence number and the hash that the tree and the next entry hold."""

    entry = models.OneToOneField(LedgerEntry, on_delete=models.PROTECT, primary_key=True, related_name="seal")
    seq = models.PositiveBigIntegerField(unique=True)
    leaf_hash = models.BinaryField(max_length=32)
    sealed_at = models.DateTimeField()

    class Meta:
        ordering = ("-seq",)

    def __str__(self) -> str:
        return f"seal {self.seq}"


class TreeNode(models.Model):
    """The hash of a perfect subtree of level 1 and up; `position` is `index << 6 | level`."""

    position = models.PositiveBigIntegerField(primary_key=True)
    hash = models.BinaryField(max_length=32)

    class Meta:
        ordering = ("position",)

    def __str__(self) -> str:
        return f"node {self.position & 63}/{self.position >> 6}"


class LogHead(models.Model):
    """The end of the log: one row, locked by the sealer."""

    origin = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField(default=0)
    last_leaf_hash = models.BinaryField(max_length=32, default=b"")
    frontier = models.JSONField(default=list, help_text="Hashes of the perfect subtrees, left to right, in hex.")

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.origin} at {self.size}"


class Checkpoint(models.Model):
    """A signed statement of the log's size and root at an instant."""

    size = models.PositiveBigIntegerField()
    root = models.BinaryField(max_length=32)
    note = models.TextField(help_text="C2SP signed note.")
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"checkpoint at {self.size}"


class Artifact(models.Model):
    """A file that entries refer to by its SHA-256."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=255)
    media_type = models.CharField(max_length=120)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    stored_at = models.DateTimeField()
    region = models.CharField(max_length=63, blank=True, default="", help_text="Of the site that stored it.")

    class Meta:
        ordering = ("-stored_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:12]})"


class LogVerification(LeasedModel):
    """A verification of the whole log that somebody asked for, and what it found."""

    requested_by = models.CharField(max_length=120, help_text="A principal's reference.")
    requested_at = models.DateTimeField()
    entries_done = models.PositiveBigIntegerField(default=0)
    entries_total = models.PositiveBigIntegerField(default=0)
    result = models.JSONField(null=True, help_text="What was found; null until it has ended.")

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"verification of {self.requested_at:%Y-%m-%d %H:%M}"

    @property
    def status(self) -> str:
        """The state as a word."""
        if self.dead_at is not None:
            return "failed"
        if self.result is None:
            return "running"
        return "broken" if self.result["problems"] else "verified"


class KeyRotation(models.Model):
    """The log's key was replaced; the note that says so is signed by the old key and by the new one."""

    old_key = models.TextField(help_text="Verifier key, as handed to auditors.")
    new_key = models.TextField()
    size = models.PositiveBigIntegerField(help_text="Entries in the log when it happened.")
    note = models.TextField()
    rotated_at = models.DateTimeField()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"rotation at {self.size}"


class Anchor(models.Model):
    """A place outside the database that is told each checkpoint, so that a rewritten log shows."""

    class Kind(models.TextChoices):
        RFC3161 = "rfc3161", "Time-stamping authority (RFC 3161)"
        GIT = "git", "Git folder"
        MAIL = "mail", "Mail"
        WEBHOOK = "webhook", "Webhook"

    name = models.SlugField(max_length=63, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    target = models.CharField(max_length=500, help_text="Address of the authority, folder, mail address, or endpoint.")
    roots = models.TextField(blank=True, help_text="Certificates (PEM) that a time-stamping authority must lead to.")
    allow = models.JSONField(default=list, help_text="Private hosts or networks that this anchor may reach.")
    every_hours = models.PositiveSmallIntegerField(default=24)
    created_at = models.DateTimeField()
    disabled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class AnchorReceipt(LeasedModel):
    """A checkpoint that an anchor is to be told, and what it answered."""

    anchor = models.ForeignKey(Anchor, on_delete=models.CASCADE, related_name="receipts")
    checkpoint = models.ForeignKey(Checkpoint, on_delete=models.PROTECT, related_name="receipts")
    evidence = models.BinaryField(default=b"", help_text="A time-stamp token, whole.")
    says = models.CharField(max_length=300, blank=True, help_text="What came back, in words.")
    anchored_at = models.DateTimeField(null=True, blank=True, help_text="The time that the outside says.")
    asked_at = models.DateTimeField()

    class Meta:
        ordering = ("-pk",)
        constraints = (models.UniqueConstraint(fields=("anchor", "checkpoint"), name="one_receipt_per_checkpoint"),)

    def __str__(self) -> str:
        return f"{self.anchor} for {self.checkpoint}"

    @property
    def status(self) -> str:
        """The state as a word."""
        if self.dead_at is not None:
            return "failed"
        return "delivered" if self.finished_at is not None else "waiting"


class Forwarder(LeasedModel):
    """A place outside, as a SIEM, that is told every entry in order. The row is its cursor and its lease."""

    class Kind(models.TextChoices):
        SYSLOG = "syslog", "Syslog (RFC 5424)"
        OTLP = "otlp", "OTLP logs (HTTP)"
        WEBHOOK = "webhook", "Signed webhook"

    class Confirmation(models.TextChoices):
        CLOSE_NOTIFY = "close-notify", "the receiver's close_notify"
        END = "end", "the end of the connection"

    name = models.SlugField(max_length=63, unique=True)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    address = models.CharField(max_length=500)
    next_seq = models.PositiveBigIntegerField(default=0, help_text="The entry that is told next.")
    allow = models.JSONField(default=list, help_text="Private hosts or networks that this destination may be at.")
    trust = models.TextField(blank=True, default="", help_text="Certificates (PEM) that the receiver must lead to.")
    secret = EncryptedTextField(blank=True, default="", help_text="Signing secret, headers, or client certificate.")
    confirmation = models.CharField(
        max_length=16, choices=Confirmation.choices, default=Confirmation.CLOSE_NOTIFY, help_text="Syslog only."
    )
    region = models.CharField(max_length=63, blank=True, default="", help_text="Where it is, by the catalog.")
    region_reason = models.CharField(
        max_length=500, blank=True, default="", help_text="Why it is told although it is elsewhere."
    )
    alarm_after = models.DurationField(default=timedelta(minutes=15), help_text="Behind by more: an alarm.")
    circuit = models.CharField(max_length=10, default="closed")
    failures_in_row = models.PositiveIntegerField(default=0)
    circuit_until = models.DateTimeField(null=True, blank=True)
    told = models.PositiveBigIntegerField(default=0, help_text="Entries that were accepted, repeats included.")
    refused = models.PositiveBigIntegerField(default=0, help_text="Entries that the receiver took and then refused.")
    last_told_at = models.DateTimeField(null=True, blank=True)
    alarmed_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=120)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def status(self) -> str:
        """The state as a word."""
        if self.paused_at is not None:
            return "paused"
        if self.alarmed_at is not None or self.circuit != "closed":
            return "failing"
        return "retrying" if self.failures_in_row else "connected"

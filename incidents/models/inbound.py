"""What other systems send: integrations, stored events, alerts, and the routes that decide what follows."""

from datetime import timedelta

from django.db import models
from django.db.models import Q

from core.fields import EncryptedTextField
from core.leases import LeasedModel
from incidents.data import AlertStatus, InboundState, IntegrationKind, Severity
from incidents.models.choices import choices_of
from incidents.models.escalation import EscalationPolicy
from incidents.models.incident import Incident


class Integration(models.Model):
    """A sender. Its token stands in the address or in a header; two may live at once, for a change-over."""

    class State(models.TextChoices):
        ACTIVE = "active", "active"
        PAUSED = "paused", "paused"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=24, choices=choices_of(IntegrationKind))
    state = models.CharField(max_length=16, choices=State.choices, default=State.ACTIVE)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    previous_token_hash = models.CharField(max_length=64, blank=True, default="", editable=False, db_index=True)
    previous_token_until = models.DateTimeField(null=True, blank=True, editable=False)
    signing_secret = EncryptedTextField(blank=True, default="")
    previous_signing_secret = EncryptedTextField(blank=True, default="")
    mapping = models.JSONField(default=dict, blank=True)
    team = models.ForeignKey("accounts.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    heartbeat_every = models.DurationField(null=True, blank=True, help_text="A beat is expected this often.")
    heartbeat_grace = models.DurationField(default=timedelta(minutes=1), help_text="How late a beat may be.")
    last_beat_at = models.DateTimeField(null=True, blank=True)
    heartbeat_missed_at = models.DateTimeField(null=True, blank=True, help_text="Since then no beat has come.")
    flooded_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="It sends more than can be worked off; its events wait apart.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class InboundEvent(LeasedModel):
    """What a sender was told was received, and what became of it. Its bytes are its `InboundBody`."""

    reference = models.CharField(max_length=40, unique=True)
    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="inbound_events")
    idempotency_key = models.CharField(max_length=160)
    received_at = models.DateTimeField()
    method = models.CharField(max_length=8)
    content_type = models.CharField(max_length=200, blank=True, default="")
    # Only of events that the release before has stored.
    headers = models.JSONField(default=dict)
    body = models.BinaryField(default=b"")
    state = models.CharField(max_length=16, choices=choices_of(InboundState), default=InboundState.RECEIVED)
    processed_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=1000, blank=True, default="")
    decisions = models.JSONField(default=list, help_text="What was decided for each alert in the body.")
    duplicates = models.PositiveIntegerField(default=0)
    last_duplicate_at = models.DateTimeField(null=True, blank=True)
    replays = models.PositiveIntegerField(default=0)
    taken = models.PositiveIntegerField(default=0, help_text="Alerts of the body that have been worked through.")
    spilled = models.BooleanField(default=False, help_text="Waits behind a flood of its own sender.")

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("integration", "idempotency_key"), name="one_inbound_event_per_idempotency_key"
            ),
        )
        indexes = (
            models.Index(
                fields=("due_at",),
                name="due_inbound_event",
                condition=Q(finished_at__isnull=True, dead_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.reference} from {self.integration_id}"


class InboundBody(models.Model):
    """The headers and bytes of a stored event. PostgreSQL keeps these rows by month and drops a month at once."""

    # Written together with the event; its row may outlive the event's until the month goes.
    event = models.OneToOneField(
        InboundEvent, on_delete=models.DO_NOTHING, primary_key=True, related_name="stored", db_constraint=False
    )
    headers = models.JSONField(default=dict)
    body = models.BinaryField()

    class Meta:
        ordering = ("pk",)
        verbose_name_plural = "inbound bodies"

    def __str__(self) -> str:
        return f"body of event {self.pk}"


class Route(models.Model):
    """A rule: alerts with these labels go to this service, severity, policy and runbook. The first match wins."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    position = models.PositiveIntegerField(help_text="Routes are tried in this order.")
    matchers = models.JSONField(default=list)
    service = models.ForeignKey("catalog.Service", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    service_label = models.CharField(
        max_length=120, blank=True, default="service", help_text="Without a service: the label that names it."
    )
    severity = models.CharField(max_length=8, choices=choices_of(Severity), default=Severity.SEV3)
    policy = models.ForeignKey(EscalationPolicy, null=True, blank=True, on_delete=models.PROTECT, related_name="routes")
    runbook_slug = models.CharField(max_length=120, blank=True, default="")
    opens_incident = models.BooleanField(default=True)
    continues = models.BooleanField(default=False, help_text="After a match, later routes are tried too.")
    hold_behind_providers = models.BooleanField(
        default=False, help_text="While something that the service needs has a severe incident, page nobody."
    )
    quiet_period = models.DurationField(default=timedelta(minutes=5), null=True, blank=True)

    class Meta:
        ordering = ("position", "slug")

    def __str__(self) -> str:
        return self.name


class Alert(models.Model):
    """One episode of an alert: from its start until its source says that it is over."""

    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="alerts")
    fingerprint = models.CharField(max_length=128)
    episode_at = models.DateTimeField(help_text="The start that its source gave last; names the episode.")
    status = models.CharField(max_length=16, choices=choices_of(AlertStatus))
    title = models.CharField(max_length=200)
    labels = models.JSONField(default=dict)
    annotations = models.JSONField(default=dict)
    url = models.CharField(max_length=500, blank=True, default="")
    starts_at = models.DateTimeField()
    resolved_at = models.DateTimeField(null=True, blank=True)
    first_received_at = models.DateTimeField()
    last_received_at = models.DateTimeField()
    occurrences = models.PositiveIntegerField(default=1)
    is_tombstone = models.BooleanField(default=False, help_text="Its resolution came first; it never paged anyone.")
    route = models.ForeignKey(Route, null=True, blank=True, on_delete=models.SET_NULL, related_name="alerts")
    service = models.ForeignKey(
        "catalog.Service", null=True, blank=True, on_delete=models.PROTECT, related_name="alerts"
    )
    team = models.ForeignKey("accounts.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="alerts")
    group_key = models.CharField(max_length=500, blank=True, default="")
    suppressed_by = models.CharField(
        max_length=160, blank=True, default="", db_index=True, help_text="What keeps it from paging: `silence:SIL-3`."
    )
    flapping = models.BooleanField(default=False)
    trail = models.JSONField(default=list, help_text="Each decision on the way, first to last, in words.")
    decision = models.CharField(max_length=1000, help_text="What was done with it, and why, in words.")
    incident = models.ForeignKey(Incident, null=True, blank=True, on_delete=models.PROTECT, related_name="alerts")
    handled_at = models.DateTimeField(null=True, blank=True, help_text="Written to the ledger as handled.")
    event = models.ForeignKey(InboundEvent, null=True, on_delete=models.SET_NULL, related_name="alerts")

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=("integration", "fingerprint", "episode_at"), name="one_alert_per_episode"),
            models.UniqueConstraint(
                fields=("integration", "fingerprint"),
                condition=Q(status="firing"),
                name="one_firing_alert_per_fingerprint",
            ),
        )
        indexes = (
            models.Index(fields=("status", "-id"), name="alert_by_status"),
            # As the stream asks for them: latest word first, and the number where two came at once.
            models.Index(fields=("-last_received_at", "id"), name="alert_by_last_word"),
            models.Index(fields=("first_received_at",), name="alert_by_first_word"),
            models.Index(fields=("resolved_at",), name="alert_by_resolution"),
        )

    def __str__(self) -> str:
        return f"{self.title} ({self.status})"

    @property
    def key(self) -> str:
        """The name by which events refer to it."""
        return f"alert:{self.pk}"

    @property
    def short_decision(self) -> str:
        """The decision without the routes that were tried before the one that matched."""
        return self.decision.partition("; before it, ")[0]

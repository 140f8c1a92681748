"""The outbox, its attempts, the endpoints of signed webhooks, and people's notifications."""

import json

from django.db import models
from django.db.models import Q

from core.fields import EncryptedTextField
from core.leases import LeasedModel
from delivery.data import AttemptOutcome, Channel, ConnectorKind, DeliveryState
from delivery.domain.breaker import Breaker, Circuit
from delivery.domain.standard_webhooks import new_secret

URGENT_BELOW = 5


def _choices(
    values: type[Channel] | type[DeliveryState] | type[AttemptOutcome] | type[Circuit],
) -> list[tuple[str, str]]:
    return [(value.value, value.value) for value in values]


class Endpoint(models.Model):
    """A receiver of signed webhooks. Two secrets may live at once: a receiver changes over in its own time."""

    class State(models.TextChoices):
        ACTIVE = "active", "active"
        DISABLED = "disabled", "disabled"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    url = models.URLField(max_length=500)
    secret = EncryptedTextField(default=new_secret)
    previous_secret = EncryptedTextField(blank=True, default="")
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    allow = models.JSONField(
        default=list, blank=True, help_text="Private hosts or networks (CIDR) that this endpoint may be at."
    )
    event_kinds = models.JSONField(
        default=list, blank=True, help_text="Kinds of events to send here; `incident.*` means all of a room."
    )
    ordered = models.BooleanField(
        default=False, help_text="What concerns one thing is delivered in order; a failure holds up what follows."
    )
    state = models.CharField(max_length=16, choices=State.choices, default=State.ACTIVE)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_reason = models.CharField(max_length=200, blank=True, default="")
    circuit = models.CharField(max_length=16, choices=_choices(Circuit), default=Circuit.CLOSED)
    circuit_until = models.DateTimeField(null=True, blank=True)
    failures_in_row = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name

    @property
    def breaker(self) -> Breaker:
        """The circuit breaker as it is kept."""
        return Breaker(Circuit(self.circuit), self.failures_in_row, self.circuit_until)


class Connector(models.Model):
    """A service that carries messages: a Slack workspace, a Teams workflow, a Twilio-compatible account, Apprise."""

    slug = models.SlugField(max_length=63, unique=True)
    kind = models.CharField(max_length=16, choices=[(one.value, one.value) for one in ConnectorKind])
    secrets = EncryptedTextField(help_text="JSON of what the kind needs, encrypted.")
    allow = models.JSONField(default=list, blank=True, help_text="Private hosts that it may be at.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.slug

    @property
    def settings(self) -> dict[str, str]:
        """What it needs, decrypted."""
        found: dict[str, str] = json.loads(self.secrets)
        return found


class Delivery(LeasedModel):
    """Something that leaves the site, once: one row for each idempotency key, whatever happens."""

    reference = models.CharField(max_length=40, unique=True)
    idempotency_key = models.CharField(max_length=255, unique=True)
    channel = models.CharField(max_length=16, choices=_choices(Channel))
    address = models.CharField(max_length=320)
    subject = models.CharField(max_length=300)
    text = models.TextField(blank=True, default="")
    payload = models.JSONField(null=True, blank=True)
    link = models.CharField(max_length=500, blank=True, default="")
    about = models.CharField(max_length=120, blank=True, default="", db_index=True)
    priority = models.PositiveSmallIntegerField(default=5)
    order_key = models.CharField(max_length=200, blank=True, default="", help_text="One thing at one ordered endpoint.")
    state = models.CharField(max_length=16, choices=_choices(DeliveryState), default=DeliveryState.PENDING)
    tries = models.PositiveIntegerField(default=0, help_text="Times it was handed over since it was last released.")
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)
        verbose_name_plural = "deliveries"
        indexes = (
            models.Index(
                fields=("due_at",),
                name="due_delivery",
                condition=Q(finished_at__isnull=True, dead_at__isnull=True),
            ),
            models.Index(fields=("channel", "address"), name="delivery_by_address"),
            models.Index(
                fields=("order_key", "id"), name="pending_in_order", condition=Q(state="pending") & ~Q(order_key="")
            ),
            models.Index(fields=("state", "-id"), name="delivery_by_state"),
        )

    def __str__(self) -> str:
        return f"{self.channel} to {self.address}: {self.subject}"


class DeliveryAttempt(models.Model):
    """One try at a delivery: written before the outside is touched, settled once after, then never changed."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tried")
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=16, choices=_choices(AttemptOutcome), default=AttemptOutcome.STARTED)
    http_status = models.PositiveIntegerField(null=True, blank=True)
    error = models.CharField(max_length=1000, blank=True, default="")
    response_excerpt = models.CharField(max_length=1000, blank=True, default="")
    request_sha256 = models.CharField(max_length=64, blank=True, default="")

    class Meta:
        ordering = ("delivery_id", "number")
        constraints = (
            models.UniqueConstraint(fields=("delivery", "number"), name="one_row_per_delivery_attempt"),
            models.UniqueConstraint(
                fields=("delivery",),
                condition=Q(outcome="started"),
                name="one_delivery_attempt_at_a_time",
            ),
        )

    def __str__(self) -> str:
        return f"{self.delivery_id} try {self.number}: {self.outcome}"


class OutsideWatch(LeasedModel):
    """Somebody outside who is told that this site lives, and who calls for help when the word stays out."""

    slug = models.SlugField(max_length=63, unique=True)
    url = EncryptedTextField(help_text="Often a secret: whoever knows it can say that the site lives.")
    every = models.DurationField(help_text="How often the word is sent.")
    allow = models.JSONField(default=list, blank=True, help_text="Private hosts that it may be at.")
    last_word_at = models.DateTimeField(null=True, blank=True, help_text="The last word that arrived.")
    last_tried_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)
        verbose_name_plural = "outside watches"

    def __str__(self) -> str:
        return self.slug


class Notification(models.Model):
    """A message to a person inside the site. The recipient is a reference (`user:12`): people live in a room above."""

    delivery = models.OneToOneField(Delivery, on_delete=models.CASCADE, related_name="notification")
    recipient = models.CharField(max_length=80)
    title = models.CharField(max_length=300)
    text = models.TextField(blank=True, default="")
    link = models.CharField(max_length=500, blank=True, default="")
    created_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)
        indexes = (
            models.Index(fields=("recipient", "-id"), name="notification_by_recipient"),
            models.Index(fields=("recipient",), name="unread_notification", condition=Q(read_at__isnull=True)),
        )

    def __str__(self) -> str:
        return f"{self.recipient}: {self.title}"

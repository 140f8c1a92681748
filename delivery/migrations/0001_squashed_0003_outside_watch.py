"""Every table as of the last migration that it replaces: a new site makes them in one step."""

import django.db.models.deletion
from django.db import migrations, models

import core.fields
import delivery.data
import delivery.domain.breaker
import delivery.domain.standard_webhooks
from core.first_migration import AllTablesAtOnce


class Migration(AllTablesAtOnce):
    replaces = [
        ("delivery", "0001_initial"),
        ("delivery", "0002_connectors"),
        ("delivery", "0003_outside_watch"),
    ]

    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Connector",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("slack", "slack"), ("teams", "teams"), ("twilio", "twilio"), ("apprise", "apprise")],
                        max_length=16,
                    ),
                ),
                ("secrets", core.fields.EncryptedTextField(help_text="JSON of what the kind needs, encrypted.")),
                ("allow", models.JSONField(blank=True, default=list, help_text="Private hosts that it may be at.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="Endpoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("url", models.URLField(max_length=500)),
                ("secret", core.fields.EncryptedTextField(default=delivery.domain.standard_webhooks.new_secret)),
                ("previous_secret", core.fields.EncryptedTextField(blank=True, default="")),
                ("previous_secret_until", models.DateTimeField(blank=True, null=True)),
                (
                    "allow",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Private hosts or networks (CIDR) that this endpoint may be at.",
                    ),
                ),
                (
                    "event_kinds",
                    models.JSONField(
                        blank=True,
                        default=list,
                        help_text="Kinds of events to send here; `incident.*` means all of a room.",
                    ),
                ),
                (
                    "ordered",
                    models.BooleanField(
                        default=False,
                        help_text="What concerns one thing is delivered in order; a failure holds up what follows.",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("active", "active"), ("disabled", "disabled")], default="active", max_length=16
                    ),
                ),
                ("disabled_at", models.DateTimeField(blank=True, null=True)),
                ("disabled_reason", models.CharField(blank=True, default="", max_length=200)),
                (
                    "circuit",
                    models.CharField(
                        choices=[("closed", "closed"), ("open", "open"), ("half-open", "half-open")],
                        default=delivery.domain.breaker.Circuit["CLOSED"],
                        max_length=16,
                    ),
                ),
                ("circuit_until", models.DateTimeField(blank=True, null=True)),
                ("failures_in_row", models.PositiveIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="OutsideWatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("due_at", models.DateTimeField(help_text="Not before this instant.")),
                ("lease_owner", models.CharField(blank=True, default="", editable=False, max_length=80)),
                ("lease_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("fence", models.PositiveBigIntegerField(default=0, editable=False)),
                ("attempts", models.PositiveIntegerField(default=0, editable=False)),
                ("finished_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "dead_at",
                    models.DateTimeField(
                        blank=True, editable=False, help_text="Given up at this instant; a person must look.", null=True
                    ),
                ),
                ("last_error", models.TextField(blank=True, default="", editable=False)),
                ("slug", models.SlugField(max_length=63, unique=True)),
                (
                    "url",
                    core.fields.EncryptedTextField(
                        help_text="Often a secret: whoever knows it can say that the site lives."
                    ),
                ),
                ("every", models.DurationField(help_text="How often the word is sent.")),
                ("allow", models.JSONField(blank=True, default=list, help_text="Private hosts that it may be at.")),
                ("last_word_at", models.DateTimeField(blank=True, help_text="The last word that arrived.", null=True)),
                ("last_tried_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={"verbose_name_plural": "outside watches", "ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("due_at", models.DateTimeField(help_text="Not before this instant.")),
                ("lease_owner", models.CharField(blank=True, default="", editable=False, max_length=80)),
                ("lease_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("fence", models.PositiveBigIntegerField(default=0, editable=False)),
                ("attempts", models.PositiveIntegerField(default=0, editable=False)),
                ("finished_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "dead_at",
                    models.DateTimeField(
                        blank=True, editable=False, help_text="Given up at this instant; a person must look.", null=True
                    ),
                ),
                ("last_error", models.TextField(blank=True, default="", editable=False)),
                ("reference", models.CharField(max_length=40, unique=True)),
                ("idempotency_key", models.CharField(max_length=255, unique=True)),
                (
                    "channel",
                    models.CharField(
                        choices=[
                            ("email", "email"),
                            ("webhook", "webhook"),
                            ("in-app", "in-app"),
                            ("slack", "slack"),
                            ("teams", "teams"),
                            ("sms", "sms"),
                            ("voice", "voice"),
                            ("apprise", "apprise"),
                        ],
                        max_length=16,
                    ),
                ),
                ("address", models.CharField(max_length=320)),
                ("subject", models.CharField(max_length=300)),
                ("text", models.TextField(blank=True, default="")),
                ("payload", models.JSONField(blank=True, null=True)),
                ("link", models.CharField(blank=True, default="", max_length=500)),
                ("about", models.CharField(blank=True, db_index=True, default="", max_length=120)),
                ("priority", models.PositiveSmallIntegerField(default=5)),
                (
                    "order_key",
                    models.CharField(
                        blank=True, default="", help_text="One thing at one ordered endpoint.", max_length=200
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("sent", "sent"),
                            ("dead", "dead"),
                            ("withdrawn", "withdrawn"),
                        ],
                        default=delivery.data.DeliveryState["PENDING"],
                        max_length=16,
                    ),
                ),
                (
                    "tries",
                    models.PositiveIntegerField(
                        default=0, help_text="Times it was handed over since it was last released."
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                ("withdrawn_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ("-pk",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("dead_at__isnull", True), ("finished_at__isnull", True)),
                        fields=["due_at"],
                        name="due_delivery",
                    ),
                    models.Index(fields=["channel", "address"], name="delivery_by_address"),
                    models.Index(
                        condition=models.Q(("state", "pending"), models.Q(("order_key", ""), _negated=True)),
                        fields=["order_key", "id"],
                        name="pending_in_order",
                    ),
                    models.Index(fields=["state", "-id"], name="delivery_by_state"),
                ],
            },
        ),
        migrations.CreateModel(
            name="DeliveryAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("started", "started"),
                            ("accepted", "accepted"),
                            ("failed", "failed"),
                            ("unknown", "unknown"),
                        ],
                        default=delivery.data.AttemptOutcome["STARTED"],
                        max_length=16,
                    ),
                ),
                ("http_status", models.PositiveIntegerField(blank=True, null=True)),
                ("error", models.CharField(blank=True, default="", max_length=1000)),
                ("response_excerpt", models.CharField(blank=True, default="", max_length=1000)),
                ("request_sha256", models.CharField(blank=True, default="", max_length=64)),
                (
                    "delivery",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="tried", to="delivery.delivery"
                    ),
                ),
            ],
            options={
                "ordering": ("delivery_id", "number"),
                "constraints": [
                    models.UniqueConstraint(fields=("delivery", "number"), name="one_row_per_delivery_attempt"),
                    models.UniqueConstraint(
                        condition=models.Q(("outcome", "started")),
                        fields=("delivery",),
                        name="one_delivery_attempt_at_a_time",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("recipient", models.CharField(max_length=80)),
                ("title", models.CharField(max_length=300)),
                ("text", models.TextField(blank=True, default="")),
                ("link", models.CharField(blank=True, default="", max_length=500)),
                ("created_at", models.DateTimeField()),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                (
                    "delivery",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="notification", to="delivery.delivery"
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "indexes": [
                    models.Index(fields=["recipient", "-id"], name="notification_by_recipient"),
                    models.Index(
                        condition=models.Q(("read_at__isnull", True)), fields=["recipient"], name="unread_notification"
                    ),
                ],
            },
        ),
    ]

"""Every table as of the last migration that it replaces: a new site makes them in one step."""

import datetime as dt

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import core.fields
import incidents.data
from core.first_migration import AllTablesAtOnce


class Migration(AllTablesAtOnce):
    replaces = [
        ("incidents", "0001_initial"),
        ("incidents", "0002_inbound_kinds"),
        ("incidents", "0003_alert_rules"),
        ("incidents", "0004_stand_ins"),
        ("incidents", "0005_contact_methods"),
        ("incidents", "0006_coordination"),
        ("incidents", "0007_stream_indexes"),
    ]

    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
        ("catalog", "0002_deployment_committed_at"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ContactMethod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
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
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="contact_methods",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("user_id", "pk"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("user", "channel", "address"), name="one_contact_method_per_address"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="EscalationPolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("repeat", models.PositiveSmallIntegerField(default=1, help_text="Times all steps are gone through.")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="escalation_policies",
                        to="accounts.team",
                    ),
                ),
            ],
            options={"verbose_name_plural": "escalation policies", "ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="Incident",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=200)),
                (
                    "severity",
                    models.CharField(
                        choices=[("sev1", "sev1"), ("sev2", "sev2"), ("sev3", "sev3"), ("sev4", "sev4")],
                        default=incidents.data.Severity["SEV3"],
                        max_length=8,
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("triggered", "triggered"),
                            ("acknowledged", "acknowledged"),
                            ("mitigated", "mitigated"),
                            ("resolved", "resolved"),
                        ],
                        default=incidents.data.IncidentStatus["TRIGGERED"],
                        max_length=16,
                    ),
                ),
                (
                    "grouping_key",
                    models.CharField(
                        help_text="Service and route, or something unique when declared by a person.", max_length=140
                    ),
                ),
                ("route_name", models.CharField(blank=True, default="", max_length=63)),
                ("caused_by", models.CharField(blank=True, default="", max_length=120)),
                ("runbook_slug", models.CharField(blank=True, default="", max_length=120)),
                ("declared_by", models.CharField(max_length=80)),
                ("impact_started_at", models.DateTimeField()),
                ("detected_at", models.DateTimeField()),
                ("triggered_at", models.DateTimeField()),
                ("first_notified_at", models.DateTimeField(blank=True, null=True)),
                ("acknowledged_at", models.DateTimeField(blank=True, null=True)),
                ("mitigated_at", models.DateTimeField(blank=True, null=True)),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("resolved_by", models.CharField(blank=True, default="", max_length=80)),
                (
                    "detected_by",
                    models.CharField(blank=True, default="", help_text="`alert:prometheus`, or person.", max_length=80),
                ),
                (
                    "engaged_at",
                    models.DateTimeField(blank=True, help_text="A person first did something about it.", null=True),
                ),
                (
                    "aware_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Known from then on to be one that an authority must be told of.",
                        null=True,
                    ),
                ),
                ("authority_notified_at", models.DateTimeField(blank=True, null=True)),
                (
                    "targets",
                    models.JSONField(
                        blank=True, default=dict, help_text="The targets as they stood when it was opened."
                    ),
                ),
                (
                    "quiet_since",
                    models.DateTimeField(
                        blank=True, help_text="All of its alerts have been resolved since then.", null=True
                    ),
                ),
                (
                    "quiet_period",
                    models.DurationField(
                        blank=True,
                        help_text="Resolved by itself after this quiet time; empty: a person resolves it.",
                        null=True,
                    ),
                ),
                (
                    "acknowledged_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="acknowledged_incidents",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "merged_into",
                    models.ForeignKey(
                        blank=True,
                        help_text="What it turned out to be.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="merged",
                        to="incidents.incident",
                    ),
                ),
                ("services", models.ManyToManyField(blank=True, related_name="incidents", to="catalog.service")),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="incidents",
                        to="accounts.team",
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "indexes": [
                    models.Index(fields=["status", "-id"], name="incident_by_status"),
                    models.Index(fields=["triggered_at"], name="incident_by_opening"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "resolved"), _negated=True),
                        fields=("grouping_key",),
                        name="one_open_incident_per_service_and_route",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("resolved_at__isnull", False), ("status", "resolved")),
                            models.Q(models.Q(("status", "resolved"), _negated=True), ("resolved_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="resolved_incident_says_when",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="EscalationRun",
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
                ("snapshot", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[("running", "running"), ("stopped", "stopped"), ("exhausted", "exhausted")],
                        default=incidents.data.EscalationState["RUNNING"],
                        max_length=16,
                    ),
                ),
                ("loop", models.PositiveSmallIntegerField(default=0)),
                ("step", models.PositiveSmallIntegerField(default=0, help_text="The next step to take.")),
                ("people_paged", models.PositiveIntegerField(default=0)),
                ("started_at", models.DateTimeField()),
                ("stopped_at", models.DateTimeField(blank=True, null=True)),
                ("exhausted_at", models.DateTimeField(blank=True, null=True)),
                (
                    "policy",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="runs",
                        to="incidents.escalationpolicy",
                    ),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="escalations", to="incidents.incident"
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("dead_at__isnull", True), ("finished_at__isnull", True)),
                        fields=["due_at"],
                        name="due_escalation",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("incident", "policy"), name="one_escalation_per_incident_and_policy"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ClockPause",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(max_length=40)),
                ("note", models.CharField(blank=True, default="", max_length=200)),
                ("started_at", models.DateTimeField()),
                ("started_by", models.CharField(max_length=160)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("ended_by", models.CharField(blank=True, default="", max_length=160)),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="pauses", to="incidents.incident"
                    ),
                ),
            ],
            options={
                "ordering": ("incident_id", "started_at"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at__isnull", True)), fields=("incident",), name="one_pause_at_a_time"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("ended_at__isnull", True), ("ended_at__gte", models.F("started_at")), _connector="OR"
                        ),
                        name="pause_ends_after_it_starts",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="IncidentTargets",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=120)),
                (
                    "document",
                    models.JSONField(
                        help_text="Severities, calendar and the reasons for which clocks may stand still."
                    ),
                ),
                (
                    "team",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="incident_targets",
                        to="accounts.team",
                    ),
                ),
            ],
            options={"verbose_name_plural": "incident targets", "ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="IncidentTask",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=300)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "open"), ("done", "done"), ("dropped", "dropped")],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=160)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("settled_by", models.CharField(blank=True, default="", max_length=160)),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="tasks", to="incidents.incident"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="incident_tasks",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"ordering": ("incident_id", "pk")},
        ),
        migrations.CreateModel(
            name="Integration",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=120)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("alertmanager", "alertmanager"),
                            ("grafana", "grafana"),
                            ("pagerduty", "pagerduty"),
                            ("cloudevents", "cloudevents"),
                            ("standard-webhooks", "standard-webhooks"),
                            ("generic", "generic"),
                            ("github", "github"),
                            ("gitlab", "gitlab"),
                            ("heartbeat", "heartbeat"),
                            ("internal", "internal"),
                        ],
                        max_length=24,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("active", "active"), ("paused", "paused")], default="active", max_length=16
                    ),
                ),
                ("token_hash", models.CharField(editable=False, max_length=64, unique=True)),
                (
                    "previous_token_hash",
                    models.CharField(blank=True, db_index=True, default="", editable=False, max_length=64),
                ),
                ("previous_token_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("signing_secret", core.fields.EncryptedTextField(blank=True, default="")),
                ("previous_signing_secret", core.fields.EncryptedTextField(blank=True, default="")),
                ("mapping", models.JSONField(blank=True, default=dict)),
                (
                    "heartbeat_every",
                    models.DurationField(blank=True, help_text="A beat is expected this often.", null=True),
                ),
                (
                    "heartbeat_grace",
                    models.DurationField(default=dt.timedelta(seconds=60), help_text="How late a beat may be."),
                ),
                ("last_beat_at", models.DateTimeField(blank=True, null=True)),
                (
                    "heartbeat_missed_at",
                    models.DateTimeField(blank=True, help_text="Since then no beat has come.", null=True),
                ),
                (
                    "flooded_at",
                    models.DateTimeField(
                        blank=True, help_text="It sends more than can be worked off; its events wait apart.", null=True
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.team",
                    ),
                ),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="InboundEvent",
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
                ("idempotency_key", models.CharField(max_length=160)),
                ("received_at", models.DateTimeField()),
                ("method", models.CharField(max_length=8)),
                ("content_type", models.CharField(blank=True, default="", max_length=200)),
                ("headers", models.JSONField(default=dict)),
                ("body", models.BinaryField()),
                (
                    "state",
                    models.CharField(
                        choices=[("received", "received"), ("processed", "processed"), ("unparsed", "unparsed")],
                        default=incidents.data.InboundState["RECEIVED"],
                        max_length=16,
                    ),
                ),
                ("processed_at", models.DateTimeField(blank=True, null=True)),
                ("problem", models.CharField(blank=True, default="", max_length=1000)),
                ("decisions", models.JSONField(default=list, help_text="What was decided for each alert in the body.")),
                ("duplicates", models.PositiveIntegerField(default=0)),
                ("last_duplicate_at", models.DateTimeField(blank=True, null=True)),
                ("replays", models.PositiveIntegerField(default=0)),
                (
                    "taken",
                    models.PositiveIntegerField(
                        default=0, help_text="Alerts of the body that have been worked through."
                    ),
                ),
                ("spilled", models.BooleanField(default=False, help_text="Waits behind a flood of its own sender.")),
                (
                    "integration",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="inbound_events",
                        to="incidents.integration",
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("dead_at__isnull", True), ("finished_at__isnull", True)),
                        fields=["due_at"],
                        name="due_inbound_event",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("integration", "idempotency_key"), name="one_inbound_event_per_idempotency_key"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationRule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("delay", models.DurationField(default=dt.timedelta(0))),
                ("severities", models.JSONField(blank=True, default=list, help_text="Empty: every severity.")),
                (
                    "method",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="rules", to="incidents.contactmethod"
                    ),
                ),
            ],
            options={
                "ordering": ("delay", "pk"),
                "constraints": [
                    models.UniqueConstraint(fields=("method", "delay"), name="one_rule_per_method_and_delay")
                ],
            },
        ),
        migrations.CreateModel(
            name="Page",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("step", models.PositiveSmallIntegerField()),
                ("loop", models.PositiveSmallIntegerField()),
                ("at", models.DateTimeField()),
                ("why", models.CharField(max_length=500)),
                ("folded", models.BooleanField(default=False)),
                (
                    "digest_key",
                    models.CharField(blank=True, default="", help_text="The digest that named it.", max_length=120),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="pages", to="incidents.incident"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="pages", to="incidents.escalationrun"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="pages", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
                "indexes": [
                    models.Index(fields=["user", "at"], name="page_by_person"),
                    models.Index(
                        condition=models.Q(("digest_key", ""), ("folded", True)), fields=["user"], name="page_to_digest"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "step", "loop", "user"), name="one_page_per_step_round_and_person"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Review",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[("draft", "draft"), ("in-review", "in review"), ("approved", "approved")],
                        default="draft",
                        max_length=16,
                    ),
                ),
                ("summary", models.TextField(blank=True, default="")),
                ("impact", models.TextField(blank=True, default="")),
                ("contributing_factors", models.TextField(blank=True, default="")),
                ("detection", models.TextField(blank=True, default="")),
                ("went_well", models.TextField(blank=True, default="")),
                ("went_poorly", models.TextField(blank=True, default="")),
                ("lessons", models.TextField(blank=True, default="")),
                ("external_message", models.TextField(blank=True, default="")),
                ("due_on", models.DateField(blank=True, null=True)),
                (
                    "drafted",
                    models.JSONField(help_text="Timeline, measures and participants as they were when it was drafted."),
                ),
                ("drafted_at", models.DateTimeField()),
                ("edited_at", models.DateTimeField(blank=True, null=True)),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "approved_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="approved_reviews",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "edited_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="edited_reviews",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "incident",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="review", to="incidents.incident"
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="owned_reviews",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"ordering": ("-pk",)},
        ),
        migrations.CreateModel(
            name="FollowUp",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "source_key",
                    models.CharField(help_text="Of the catalogue's action item.", max_length=160, unique=True),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("prevent", "prevent"),
                            ("detect", "detect"),
                            ("mitigate", "mitigate"),
                            ("process", "process"),
                        ],
                        default="prevent",
                        max_length=8,
                    ),
                ),
                ("external_url", models.CharField(blank=True, default="", max_length=300)),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_by", models.CharField(blank=True, default="", max_length=160)),
                ("accepted_reason", models.CharField(blank=True, default="", max_length=200)),
                ("accepted_until", models.DateField(blank=True, help_text="Then it is open again.", null=True)),
                (
                    "review",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="follow_ups", to="incidents.review"
                    ),
                ),
            ],
            options={"ordering": ("pk",)},
        ),
        migrations.CreateModel(
            name="ReviewTask",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=40)),
                ("title", models.CharField(max_length=120)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "open"), ("done", "done"), ("skipped", "skipped")],
                        default="open",
                        max_length=8,
                    ),
                ),
                (
                    "reason",
                    models.CharField(blank=True, default="", help_text="Why it was not needed.", max_length=200),
                ),
                ("settled_by", models.CharField(blank=True, default="", max_length=160)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "review",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="tasks", to="incidents.review"
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
                "constraints": [models.UniqueConstraint(fields=("review", "key"), name="one_review_task_per_key")],
            },
        ),
        migrations.CreateModel(
            name="RoleAssignment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "role",
                    models.CharField(
                        choices=[
                            ("commander", "commander"),
                            ("scribe", "scribe"),
                            ("communications", "communications"),
                            ("responder", "responder"),
                        ],
                        max_length=16,
                    ),
                ),
                ("assigned_at", models.DateTimeField()),
                ("assigned_by", models.CharField(max_length=80)),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="roles", to="incidents.incident"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="incident_roles",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("incident_id", "pk"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("incident", "role", "user"), name="one_row_per_incident_role_and_person"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("role", "responder"), _negated=True),
                        fields=("incident", "role"),
                        name="one_holder_per_incident_role",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Route",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("position", models.PositiveIntegerField(help_text="Routes are tried in this order.")),
                ("matchers", models.JSONField(default=list)),
                (
                    "service_label",
                    models.CharField(
                        blank=True,
                        default="service",
                        help_text="Without a service: the label that names it.",
                        max_length=120,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[("sev1", "sev1"), ("sev2", "sev2"), ("sev3", "sev3"), ("sev4", "sev4")],
                        default=incidents.data.Severity["SEV3"],
                        max_length=8,
                    ),
                ),
                ("runbook_slug", models.CharField(blank=True, default="", max_length=120)),
                ("opens_incident", models.BooleanField(default=True)),
                (
                    "continues",
                    models.BooleanField(default=False, help_text="After a match, later routes are tried too."),
                ),
                (
                    "hold_behind_providers",
                    models.BooleanField(
                        default=False,
                        help_text="While something that the service needs has a severe incident, page nobody.",
                    ),
                ),
                ("quiet_period", models.DurationField(blank=True, default=dt.timedelta(seconds=300), null=True)),
                (
                    "policy",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="routes",
                        to="incidents.escalationpolicy",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="catalog.service",
                    ),
                ),
            ],
            options={"ordering": ("position", "slug")},
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.CharField(max_length=128)),
                (
                    "episode_at",
                    models.DateTimeField(help_text="The start that its source gave last; names the episode."),
                ),
                ("status", models.CharField(choices=[("firing", "firing"), ("resolved", "resolved")], max_length=16)),
                ("title", models.CharField(max_length=200)),
                ("labels", models.JSONField(default=dict)),
                ("annotations", models.JSONField(default=dict)),
                ("url", models.CharField(blank=True, default="", max_length=500)),
                ("starts_at", models.DateTimeField()),
                ("resolved_at", models.DateTimeField(blank=True, null=True)),
                ("first_received_at", models.DateTimeField()),
                ("last_received_at", models.DateTimeField()),
                ("occurrences", models.PositiveIntegerField(default=1)),
                (
                    "is_tombstone",
                    models.BooleanField(default=False, help_text="Its resolution came first; it never paged anyone."),
                ),
                ("group_key", models.CharField(blank=True, default="", max_length=500)),
                (
                    "suppressed_by",
                    models.CharField(
                        blank=True,
                        db_index=True,
                        default="",
                        help_text="What keeps it from paging: `silence:SIL-3`.",
                        max_length=160,
                    ),
                ),
                ("flapping", models.BooleanField(default=False)),
                (
                    "trail",
                    models.JSONField(default=list, help_text="Each decision on the way, first to last, in words."),
                ),
                ("decision", models.CharField(help_text="What was done with it, and why, in words.", max_length=1000)),
                (
                    "handled_at",
                    models.DateTimeField(blank=True, help_text="Written to the ledger as handled.", null=True),
                ),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alerts",
                        to="catalog.service",
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alerts",
                        to="accounts.team",
                    ),
                ),
                (
                    "event",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="alerts",
                        to="incidents.inboundevent",
                    ),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alerts",
                        to="incidents.incident",
                    ),
                ),
                (
                    "integration",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="alerts", to="incidents.integration"
                    ),
                ),
                (
                    "route",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="alerts",
                        to="incidents.route",
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "indexes": [
                    models.Index(fields=["status", "-id"], name="alert_by_status"),
                    models.Index(fields=["-last_received_at", "id"], name="alert_by_last_word"),
                    models.Index(fields=["first_received_at"], name="alert_by_first_word"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("integration", "fingerprint", "episode_at"), name="one_alert_per_episode"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "firing")),
                        fields=("integration", "fingerprint"),
                        name="one_firing_alert_per_fingerprint",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("time_zone", models.CharField(default="UTC", max_length=64)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="accounts.team",
                    ),
                ),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="FeedToken",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("token_hash", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_at", models.DateTimeField()),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="feed_tokens",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty: own shifts.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="feed_tokens",
                        to="incidents.schedule",
                    ),
                ),
            ],
            options={"ordering": ("-pk",)},
        ),
        migrations.CreateModel(
            name="EscalationStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveSmallIntegerField()),
                (
                    "wait",
                    models.DurationField(
                        default=dt.timedelta(seconds=300), help_text="Time to acknowledge before the next step."
                    ),
                ),
                (
                    "conditions",
                    models.JSONField(blank=True, default=dict, help_text="When the step pages whom; empty: always."),
                ),
                (
                    "round_robin",
                    models.BooleanField(default=False, help_text="Page one of those on call, another one each time."),
                ),
                (
                    "policy",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="steps",
                        to="incidents.escalationpolicy",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="escalation_steps",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="steps",
                        to="incidents.schedule",
                    ),
                ),
            ],
            options={
                "ordering": ("policy_id", "position"),
                "constraints": [
                    models.UniqueConstraint(fields=("policy", "position"), name="one_escalation_step_per_position"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("schedule__isnull", True), ("user__isnull", False)),
                            models.Q(("schedule__isnull", False), ("user__isnull", True)),
                            _connector="OR",
                        ),
                        name="escalation_step_has_one_target",
                        violation_error_message="A step pages a schedule or a person, not both.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ScheduleOverride",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("reason", models.CharField(blank=True, default="", max_length=200)),
                ("created_by", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="overrides", to="incidents.schedule"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="stand_ins",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))),
                        name="override_ends_after_it_starts",
                        violation_error_message="An override ends after it starts.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ScheduleVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("effective_from", models.DateTimeField()),
                ("layers", models.JSONField()),
                ("created_by", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="incidents.schedule"
                    ),
                ),
            ],
            options={
                "ordering": ("schedule_id", "number"),
                "constraints": [
                    models.UniqueConstraint(fields=("schedule", "number"), name="one_row_per_schedule_version")
                ],
            },
        ),
        migrations.CreateModel(
            name="Silence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("silence", "silence"), ("maintenance", "maintenance window")],
                        default="silence",
                        max_length=16,
                    ),
                ),
                ("matchers", models.JSONField()),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField(help_text="Of the first occurrence, where it recurs.")),
                ("time_zone", models.CharField(default="UTC", max_length=64)),
                (
                    "recurrence",
                    models.CharField(
                        blank=True, default="", help_text="RRULE, as FREQ=WEEKLY;BYDAY=SU.", max_length=200
                    ),
                ),
                ("reason", models.CharField(max_length=200)),
                ("created_by", models.CharField(max_length=80)),
                ("created_by_label", models.CharField(max_length=160)),
                ("created_at", models.DateTimeField()),
                (
                    "ended_at",
                    models.DateTimeField(blank=True, help_text="Ended early, or the recurrence stopped.", null=True),
                ),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.team",
                    ),
                ),
            ],
            options={
                "ordering": ("-pk",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))),
                        name="silence_ends_after_it_starts",
                        violation_error_message="A silence ends after it starts.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StatusPage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("intro", models.CharField(blank=True, default="", max_length=300)),
                (
                    "visibility",
                    models.CharField(
                        choices=[("internal", "internal"), ("public", "public")], default="internal", max_length=8
                    ),
                ),
                ("services", models.ManyToManyField(blank=True, related_name="status_pages", to="catalog.service")),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.team",
                    ),
                ),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="StatusSubscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("channel", models.CharField(choices=[("email", "mail"), ("webhook", "webhook")], max_length=16)),
                ("address", models.CharField(max_length=320)),
                ("token", models.CharField(editable=False, max_length=64, unique=True)),
                ("created_at", models.DateTimeField()),
                ("asked_at", models.DateTimeField()),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "page",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="subscriptions",
                        to="incidents.statuspage",
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
                "constraints": [
                    models.UniqueConstraint(fields=("page", "channel", "address"), name="one_subscription_per_address")
                ],
            },
        ),
        migrations.CreateModel(
            name="StatusUpdate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("investigating", "investigating"),
                            ("identified", "identified"),
                            ("monitoring", "monitoring"),
                            ("resolved", "resolved"),
                        ],
                        max_length=16,
                    ),
                ),
                ("title", models.CharField(help_text="What it is called outside.", max_length=200)),
                ("text", models.TextField()),
                ("at", models.DateTimeField()),
                ("by", models.CharField(max_length=160)),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="status_updates",
                        to="incidents.incident",
                    ),
                ),
                (
                    "page",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="updates", to="incidents.statuspage"
                    ),
                ),
            ],
            options={
                "ordering": ("-at", "-pk"),
                "indexes": [models.Index(fields=["page", "-at"], name="status_update_by_page")],
            },
        ),
        migrations.CreateModel(
            name="SwapRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("reason", models.CharField(blank=True, default="", max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "open"), ("taken", "taken"), ("cancelled", "cancelled")],
                        default="open",
                        max_length=16,
                    ),
                ),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "override",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="swap_request",
                        to="incidents.scheduleoverride",
                    ),
                ),
                (
                    "requester",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="swap_requests",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "schedule",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="swap_requests",
                        to="incidents.schedule",
                    ),
                ),
                (
                    "taken_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="swaps_taken",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"ordering": ("-pk",)},
        ),
        migrations.CreateModel(
            name="TimelineEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("recorded_at", models.DateTimeField()),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("note", "note"),
                            ("status", "status"),
                            ("alert", "alert"),
                            ("page", "page"),
                            ("runbook", "runbook"),
                            ("role", "role"),
                            ("cause", "cause"),
                            ("task", "task"),
                            ("target", "target"),
                            ("outside", "outside"),
                        ],
                        max_length=16,
                    ),
                ),
                ("text", models.TextField()),
                ("link", models.CharField(blank=True, default="", max_length=500)),
                ("actor", models.CharField(max_length=80)),
                ("actor_label", models.CharField(max_length=160)),
                ("source_key", models.CharField(max_length=255)),
                (
                    "corrects",
                    models.ForeignKey(
                        blank=True,
                        help_text="The entry that this one puts right; that one stays as it was written.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="corrections",
                        to="incidents.timelineentry",
                    ),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="timeline", to="incidents.incident"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "timeline entries",
                "ordering": ("at", "pk"),
                "constraints": [
                    models.UniqueConstraint(fields=("incident", "source_key"), name="one_timeline_entry_per_source")
                ],
            },
        ),
        migrations.CreateModel(
            name="Absence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                ("title", models.CharField(blank=True, default="", max_length=200)),
                (
                    "source_key",
                    models.CharField(blank=True, default="", help_text="Event of the calendar.", max_length=200),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="absences",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("starts_at", "pk"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))), name="absence_ends_after_it_starts"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("source_key", ""), _negated=True),
                        fields=("user", "source_key"),
                        name="one_absence_per_calendar_event",
                    ),
                ],
            },
        ),
    ]

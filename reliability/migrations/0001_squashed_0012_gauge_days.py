"""Every table as of the last migration that it replaces: a new site makes them in one step."""

from decimal import Decimal

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import core.fields
import reliability.data
from core.first_migration import AllTablesAtOnce


class Migration(AllTablesAtOnce):
    replaces = [
        ("reliability", "0001_initial"),
        ("reliability", "0002_source_settings"),
        ("reliability", "0003_objectives_windows_and_parts"),
        ("reliability", "0004_tally_shelves"),
        ("reliability", "0005_exclusions"),
        ("reliability", "0006_alert_waits"),
        ("reliability", "0007_policies_and_overrides"),
        ("reliability", "0008_collections_and_backfills"),
        ("reliability", "0009_streams_and_exemplars"),
        ("reliability", "0010_service_reports"),
        ("reliability", "0011_probes_problems_and_buckets"),
        ("reliability", "0012_gauge_days"),
    ]

    initial = True

    dependencies = [
        ("catalog", "0002_deployment_committed_at"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BudgetPolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=100, unique=True)),
                ("document", models.JSONField()),
            ],
            options={"verbose_name_plural": "budget policies", "ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="DataSource",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=120)),
                ("url", models.URLField()),
                (
                    "allow_private",
                    models.BooleanField(default=False, help_text="The set-up asks for a private address on purpose."),
                ),
                (
                    "stored_settings",
                    core.fields.EncryptedTextField(blank=True, default="", help_text="A SourceSettings as JSON."),
                ),
                (
                    "flavour_found",
                    models.CharField(blank=True, help_text="What kind of store answered.", max_length=20),
                ),
                ("last_success_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.TextField(blank=True)),
                ("last_error_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="SeenSpan",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("seen_at", models.DateTimeField(db_index=True)),
            ],
            options={"ordering": ("pk",)},
        ),
        migrations.CreateModel(
            name="StreamBlock",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("revision", models.BigIntegerField(help_text="Changes at random with each write.")),
                (
                    "shape",
                    models.BinaryField(default=bytes, help_text="Streams with one life: attributes, start and bounds."),
                ),
                ("numbers", models.BinaryField(default=bytes, help_text="Their last time and counts.")),
                ("others", models.BinaryField(default=bytes, help_text="Streams that need more than numbers.")),
                ("seen_at", models.DateTimeField(db_index=True)),
            ],
            options={"ordering": ("pk",)},
        ),
        migrations.CreateModel(
            name="TallyBlock",
            fields=[
                ("key", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("body", models.BinaryField()),
            ],
            options={"ordering": ("key",)},
        ),
        migrations.CreateModel(
            name="TallyPack",
            fields=[
                ("key", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("body", models.BinaryField()),
            ],
            options={"ordering": ("key",)},
        ),
        migrations.CreateModel(
            name="TallyShelf",
            fields=[
                ("number", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("last_measured", models.BinaryField(help_text="The last measured minute of each place.")),
            ],
            options={"verbose_name_plural": "tally shelves", "ordering": ("number",)},
        ),
        migrations.CreateModel(
            name="Definition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=40)),
                ("slug", models.SlugField(max_length=120)),
                ("document", models.JSONField()),
            ],
            options={
                "ordering": ("kind", "slug"),
                "constraints": [
                    models.UniqueConstraint(fields=("kind", "slug"), name="one_definition_per_kind_and_name")
                ],
            },
        ),
        migrations.CreateModel(
            name="KeptMinute",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("minute", models.PositiveIntegerField()),
                ("reason", models.CharField(max_length=120)),
            ],
            options={
                "ordering": ("minute", "reason"),
                "constraints": [
                    models.UniqueConstraint(fields=("minute", "reason"), name="one_kept_minute_per_reason")
                ],
            },
        ),
        migrations.CreateModel(
            name="SLO",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=120, unique=True)),
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(blank=True)),
                ("labels", models.JSONField(blank=True, default=dict)),
                (
                    "part_of",
                    models.ForeignKey(
                        blank=True,
                        help_text="The composite SLO that this one counts for; it has no page and no alerts of its own.",
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="parts",
                        to="reliability.slo",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="slos", to="catalog.service"
                    ),
                ),
            ],
            options={"verbose_name": "SLO", "ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="PolicyStanding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("policy", models.CharField(max_length=100)),
                ("state", models.CharField(max_length=100)),
                ("since", models.DateTimeField()),
                (
                    "slo",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="standing", to="reliability.slo"
                    ),
                ),
            ],
            options={"ordering": ("slo",)},
        ),
        migrations.CreateModel(
            name="SLOVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("definition", models.JSONField(help_text="The OpenSLO document.")),
                ("definition_sha256", models.CharField(max_length=64)),
                ("indicator", models.JSONField(help_text="What is counted, as parsed.")),
                ("source_type", models.CharField(max_length=20)),
                ("target", models.DecimalField(decimal_places=8, max_digits=9)),
                ("window_days", models.PositiveIntegerField()),
                (
                    "calendar",
                    models.JSONField(
                        blank=True, help_text="Count, unit, start and zone of a calendar window.", null=True
                    ),
                ),
                ("period_reported_until", models.DateTimeField(blank=True, null=True)),
                (
                    "windows",
                    models.JSONField(
                        default=list, help_text="All windows, the first of them the one that is alerted on."
                    ),
                ),
                ("method", models.CharField(default="Occurrences", help_text="The budgeting method.", max_length=20)),
                (
                    "objectives",
                    models.JSONField(default=list, help_text="All objectives, the first of them the one alerted on."),
                ),
                ("exclusion_rule", models.CharField(default="drop-events", max_length=20)),
                ("tiers", models.JSONField(default=list, help_text="Burn-rate alert tiers.")),
                ("effective_from", models.DateTimeField()),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
                (
                    "backfilled_from",
                    models.DateTimeField(blank=True, help_text="Events are counted from here on.", null=True),
                ),
                (
                    "counts_with",
                    models.ForeignKey(
                        blank=True,
                        help_text="The version whose tallies this one continues: the same events with another target, window or alert.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="continued_by",
                        to="reliability.sloversion",
                    ),
                ),
                (
                    "data_source",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="reliability.datasource",
                    ),
                ),
                (
                    "slo",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="reliability.slo"
                    ),
                ),
            ],
            options={
                "verbose_name": "SLO version",
                "ordering": ("slo", "-number"),
                "constraints": [
                    models.UniqueConstraint(fields=("slo", "number"), name="one_slo_version_per_number"),
                    models.UniqueConstraint(
                        condition=models.Q(("retired_at__isnull", True)),
                        fields=("slo",),
                        name="one_slo_version_in_force",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("target__gt", Decimal(0)), ("target__lt", Decimal(1))),
                        name="slo_target_in_0_1",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Probe",
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
                (
                    "allow_private",
                    models.BooleanField(default=False, help_text="Whoever set it up may allow a private address."),
                ),
                ("begins_at", models.DateTimeField()),
                ("last_started_at", models.DateTimeField(blank=True, null=True)),
                ("last_seconds", models.FloatField(blank=True, null=True)),
                (
                    "last_problem",
                    models.CharField(blank=True, help_text="Why the last turn was bad or not sent.", max_length=300),
                ),
                ("missed", models.PositiveIntegerField(default=0, help_text="Turns that could not be run in time.")),
                ("state", models.CharField(default=reliability.data.DataState["WAITING"], max_length=20)),
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="probe", to="reliability.sloversion"
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("dead_at__isnull", True), ("finished_at__isnull", True)),
                        fields=["due_at"],
                        name="due_probe",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="IntakeProblem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state", models.CharField(max_length=20)),
                ("note", models.CharField(max_length=300)),
                ("refused", models.PositiveBigIntegerField(default=0, help_text="Points, spans or bodies so far.")),
                ("last_at", models.DateTimeField()),
                (
                    "version",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="intake_problems",
                        to="reliability.sloversion",
                    ),
                ),
            ],
            options={
                "ordering": ("-last_at", "pk"),
                "constraints": [
                    models.UniqueConstraint(fields=("version", "state"), name="one_intake_problem_per_state"),
                    models.UniqueConstraint(
                        condition=models.Q(("version__isnull", True)),
                        fields=("state",),
                        name="one_body_problem_per_state",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="GaugeDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("peak", models.FloatField()),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="gauge_days",
                        to="reliability.sloversion",
                    ),
                ),
            ],
            options={
                "ordering": ("version", "day"),
                "constraints": [models.UniqueConstraint(fields=("version", "day"), name="one_gauge_day_per_version")],
            },
        ),
        migrations.CreateModel(
            name="Exemplar",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("minute", models.PositiveIntegerField(help_text="Minutes since 1970 UTC.")),
                ("trace_id", models.CharField(max_length=32)),
                ("span_id", models.CharField(blank=True, max_length=16)),
                ("value", models.FloatField(help_text="Of the metric; of a span, its seconds.")),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="exemplars",
                        to="reliability.sloversion",
                    ),
                ),
            ],
            options={
                "ordering": ("-minute", "pk"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("version", "minute", "trace_id", "span_id"), name="one_exemplar_per_trace"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Collection",
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
                ("begins_at", models.DateTimeField(help_text="What happened before is not counted.")),
                (
                    "watermark",
                    models.DateTimeField(help_text="Everything from begins_at up to here has been read and counted."),
                ),
                ("carried", models.BinaryField(default=bytes, help_text="Where each counter stood at the watermark.")),
                (
                    "approximate",
                    models.BooleanField(default=False, help_text="Too many series: counted by the source's increase."),
                ),
                (
                    "resets",
                    models.PositiveIntegerField(default=0, help_text="Counter resets seen since reading began."),
                ),
                (
                    "failures",
                    models.PositiveIntegerField(default=0, help_text="Failed readings since the last good one."),
                ),
                ("succeeded_at", models.DateTimeField(blank=True, null=True)),
                (
                    "state",
                    models.CharField(
                        default=reliability.data.DataState["WAITING"],
                        help_text="What became of the last reading.",
                        max_length=20,
                    ),
                ),
                (
                    "note",
                    models.CharField(blank=True, help_text="What the last good reading found odd.", max_length=300),
                ),
                (
                    "version",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="collection",
                        to="reliability.sloversion",
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("dead_at__isnull", True), ("finished_at__isnull", True)),
                        fields=["due_at"],
                        name="due_collection",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="BucketHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.PositiveIntegerField(help_text="Hours since 1970 UTC.")),
                ("body", models.BinaryField(help_text="Packed counts by bucket and minute.")),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="bucket_hours",
                        to="reliability.sloversion",
                    ),
                ),
            ],
            options={
                "ordering": ("version", "hour"),
                "constraints": [
                    models.UniqueConstraint(fields=("version", "hour"), name="one_bucket_hour_per_version")
                ],
            },
        ),
        migrations.CreateModel(
            name="Backfill",
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
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                (
                    "position",
                    models.DateTimeField(help_text="Everything from since up to here has been read and counted."),
                ),
                ("carried", models.BinaryField(default=bytes, help_text="Where each counter stood at the position.")),
                (
                    "failures",
                    models.PositiveIntegerField(default=0, help_text="Failed readings since the last good one."),
                ),
                ("state", models.CharField(default=reliability.data.DataState["BACKFILLING"], max_length=20)),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="backfills",
                        to="reliability.sloversion",
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("since__lt", models.F("until"))), name="backfill_since_before_until"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TallyDay",
            fields=[
                ("key", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("body", models.BinaryField()),
                (
                    "form",
                    models.PositiveSmallIntegerField(choices=[(0, "Blocks"), (1, "Packed"), (2, "Thinned")], default=0),
                ),
            ],
            options={
                "ordering": ("key",),
                "indexes": [models.Index(condition=models.Q(("form", 0)), fields=["key"], name="days_to_pack")],
            },
        ),
        migrations.CreateModel(
            name="TallySlot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "labels",
                    models.JSONField(
                        blank=True, default=dict, help_text="Of a group; empty for all events of the version."
                    ),
                ),
                ("digest", models.CharField(blank=True, help_text="Of the labels; empty without.", max_length=32)),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="slots", to="reliability.sloversion"
                    ),
                ),
            ],
            options={
                "ordering": ("pk",),
                "constraints": [models.UniqueConstraint(fields=("version", "digest"), name="one_slot_per_tally")],
            },
        ),
        migrations.CreateModel(
            name="GateOverride",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=20, unique=True)),
                ("action", models.CharField(max_length=20)),
                ("reason", models.CharField(max_length=500)),
                ("granted_by", models.CharField(max_length=150)),
                ("granted_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("signature", models.CharField(max_length=200)),
                (
                    "granter",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="gate_overrides", to="catalog.service"
                    ),
                ),
            ],
            options={
                "ordering": ("-granted_at",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("expires_at__gt", models.F("granted_at"))),
                        name="override_expires_after_it_is_granted",
                        violation_error_message="An override expires after it is granted.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ServiceReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period", models.CharField(help_text="2026-03 or 2026-Q1.", max_length=10)),
                ("created_at", models.DateTimeField()),
                ("html_sha256", models.CharField(max_length=64)),
                ("pdf_sha256", models.CharField(max_length=64)),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="level_reports", to="catalog.service"
                    ),
                ),
            ],
            options={
                "ordering": ("-period", "service"),
                "constraints": [
                    models.UniqueConstraint(fields=("service", "period"), name="one_report_per_service_and_period")
                ],
            },
        ),
        migrations.CreateModel(
            name="Exclusion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=20, unique=True)),
                ("reason", models.CharField(max_length=500)),
                ("starts_at", models.DateTimeField()),
                ("ends_at", models.DateTimeField()),
                (
                    "recurrence",
                    models.CharField(blank=True, help_text="RRULE, as FREQ=WEEKLY;BYDAY=SU.", max_length=200),
                ),
                ("zone", models.CharField(default="UTC", max_length=60)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("requested", "Requested"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("withdrawn", "Withdrawn"),
                            ("replaced", "Replaced"),
                        ],
                        default="requested",
                        max_length=10,
                    ),
                ),
                ("requested_by", models.CharField(max_length=150)),
                ("requested_at", models.DateTimeField()),
                ("decided_by", models.CharField(blank=True, max_length=150)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "ended_at",
                    models.DateTimeField(blank=True, help_text="When it was withdrawn or replaced.", null=True),
                ),
                (
                    "replaces",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="replaced_by",
                        to="reliability.exclusion",
                    ),
                ),
                (
                    "requester",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="exclusions",
                        to="catalog.service",
                    ),
                ),
                (
                    "slo",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="exclusions",
                        to="reliability.slo",
                    ),
                ),
            ],
            options={
                "ordering": ("-starts_at", "-pk"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ends_at__gt", models.F("starts_at"))),
                        name="exclusion_ends_after_it_starts",
                        violation_error_message="An exclusion ends after it starts.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("service__isnull", True), ("slo__isnull", False)),
                            models.Q(("service__isnull", False), ("slo__isnull", True)),
                            _connector="OR",
                        ),
                        name="exclusion_of_an_slo_or_a_service",
                        violation_error_message="An exclusion is for an SLO or for a service.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="BurnAlert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tier", models.CharField(max_length=60)),
                ("severity", models.CharField(max_length=20)),
                ("state", models.CharField(choices=[("ok", "OK"), ("firing", "FIRING")], default="ok", max_length=10)),
                (
                    "alert_key",
                    models.CharField(
                        blank=True, help_text="Names this firing; a new firing has a new key.", max_length=200
                    ),
                ),
                ("burn_rate_long", models.FloatField(blank=True, null=True)),
                ("burn_rate_short", models.FloatField(blank=True, null=True)),
                ("changed_at", models.DateTimeField()),
                (
                    "frozen_at",
                    models.DateTimeField(
                        blank=True, help_text="Too little is measured since: the state is held, not judged.", null=True
                    ),
                ),
                (
                    "pending_since",
                    models.DateTimeField(
                        blank=True,
                        help_text="Since when the threshold is exceeded, where the tier waits before it fires.",
                        null=True,
                    ),
                ),
                ("evaluated_at", models.DateTimeField()),
                (
                    "slo",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="burn_alerts", to="reliability.slo"
                    ),
                ),
            ],
            options={
                "ordering": ("slo", "tier"),
                "constraints": [models.UniqueConstraint(fields=("slo", "tier"), name="one_burn_alert_per_tier")],
            },
        ),
    ]

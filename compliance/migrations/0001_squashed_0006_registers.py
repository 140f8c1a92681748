"""Every table as of the last migration that it replaces: a new site makes them in one step."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import core.fields
from core.first_migration import AllTablesAtOnce


class Migration(AllTablesAtOnce):
    replaces = [
        ("compliance", "0001_initial"),
        ("compliance", "0002_evidence"),
        ("compliance", "0003_frameworks"),
        ("compliance", "0004_sums_by_day"),
        ("compliance", "0005_audit_room"),
        ("compliance", "0006_registers"),
    ]

    initial = True

    dependencies = [
        ("catalog", "0002_deployment_committed_at"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AccessCampaign",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=160)),
                ("system", models.CharField(max_length=120)),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("assay", "People and tokens of this site"),
                            ("csv", "CSV file"),
                            ("github", "GitHub organization"),
                            ("rest", "REST address"),
                        ],
                        max_length=8,
                    ),
                ),
                ("due_on", models.DateField()),
                ("opened_at", models.DateTimeField()),
                ("opened_by", models.CharField(max_length=120)),
                ("accounts_in_source", models.PositiveIntegerField(default=0)),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("closed_by", models.CharField(blank=True, max_length=120)),
            ],
            options={"ordering": ("-opened_at",)},
        ),
        migrations.CreateModel(
            name="ChangeSource",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("forge", models.CharField(choices=[("github", "GitHub"), ("gitlab", "GitLab")], max_length=8)),
                ("repository", models.CharField(help_text="owner/name, or group/project.", max_length=200)),
                ("api_url", models.CharField(max_length=200)),
                ("token", core.fields.EncryptedTextField(blank=True, help_text="Reads approvals and checks.")),
                (
                    "secret",
                    core.fields.EncryptedTextField(help_text="Signs webhooks (GitHub), or comes with them (GitLab)."),
                ),
                ("allow", models.JSONField(default=list, help_text="Private hosts or networks that may be reached.")),
                ("created_at", models.DateTimeField()),
                ("last_received_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.TextField(blank=True)),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="CollectorKey",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=63, unique=True)),
                ("public_key", models.CharField(help_text="Ed25519, 32 bytes in base64.", max_length=64)),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=120)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="Control",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("title", models.CharField(max_length=160)),
                ("objective", models.TextField()),
                ("owner", models.CharField(max_length=120)),
                (
                    "tier",
                    models.PositiveSmallIntegerField(default=2, help_text="1: the organization cannot do without it."),
                ),
                ("frequency", models.CharField(max_length=60)),
                ("version", models.PositiveIntegerField(default=1)),
                ("definition", models.JSONField()),
                ("declared_at", models.DateTimeField()),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="Engagement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=160)),
                (
                    "kind",
                    models.CharField(
                        choices=[("type-1", "Type I (at a date)"), ("type-2", "Type II (over a period)")],
                        default="type-2",
                        max_length=10,
                    ),
                ),
                ("window_start", models.DateTimeField()),
                ("window_end", models.DateTimeField()),
                ("scope", models.TextField(blank=True)),
                ("created_at", models.DateTimeField()),
                ("created_by", models.CharField(max_length=120)),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ("-window_start",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("window_end__gt", models.F("window_start"))),
                        name="engagement_ends_after_it_starts",
                        violation_error_message="The window must end after it starts.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FindingReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=40, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[("sarif", "Scanner"), ("penetration-test", "Penetration test")], max_length=18
                    ),
                ),
                ("tool", models.CharField(help_text="The scanner, or who tested.", max_length=120)),
                ("tool_version", models.CharField(blank=True, max_length=60)),
                ("scope", models.CharField(max_length=200)),
                ("scanned_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                ("received_by", models.CharField(max_length=120)),
                ("sha256", models.CharField(max_length=64)),
                ("results", models.PositiveIntegerField(default=0)),
            ],
            options={"ordering": ("-received_at", "-pk")},
        ),
        migrations.CreateModel(
            name="Framework",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                (
                    "source",
                    models.CharField(
                        choices=[("packaged", "Comes with the site"), ("imported", "Imported from OSCAL")],
                        default="packaged",
                        max_length=10,
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("edition", models.CharField(blank=True, max_length=60)),
                (
                    "version",
                    models.PositiveIntegerField(default=1, help_text="Rises whenever the loaded content changes."),
                ),
                ("content_sha256", models.CharField(max_length=64)),
                ("position", models.PositiveSmallIntegerField(default=0)),
                ("loaded_at", models.DateTimeField()),
            ],
            options={"ordering": ("position", "slug")},
        ),
        migrations.CreateModel(
            name="Policy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("title", models.CharField(max_length=160)),
                ("owner", models.CharField(max_length=120)),
                ("created_at", models.DateTimeField()),
            ],
            options={"verbose_name_plural": "policies", "ordering": ("title",)},
        ),
        migrations.CreateModel(
            name="RiskMatrix",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(unique=True)),
                ("likelihoods", models.JSONField(help_text="Names, the least likely first.")),
                ("impacts", models.JSONField(help_text="Names, the mildest first.")),
                (
                    "levels",
                    models.JSONField(
                        help_text="For each likelihood a list of levels by impact: low, medium, high, critical."
                    ),
                ),
                ("changed_at", models.DateTimeField()),
                ("changed_by", models.CharField(max_length=120)),
            ],
            options={"verbose_name_plural": "risk matrices", "ordering": ("-number",)},
        ),
        migrations.CreateModel(
            name="Vendor",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("name", models.CharField(max_length=160)),
                (
                    "tier",
                    models.CharField(
                        choices=[("critical", "Critical"), ("high", "High"), ("standard", "Standard")],
                        default="standard",
                        max_length=10,
                    ),
                ),
                ("owner", models.CharField(max_length=120)),
                ("provides", models.CharField(help_text="What they do for the organization.", max_length=300)),
                ("data_shared", models.CharField(blank=True, max_length=300)),
                ("subprocessors", models.JSONField(default=list)),
                ("created_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="Check",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63)),
                ("title", models.CharField(max_length=160)),
                (
                    "strength",
                    models.CharField(
                        choices=[("direct", "direct"), ("partial", "partial"), ("supporting", "supporting")],
                        max_length=12,
                    ),
                ),
                (
                    "cadence",
                    models.CharField(
                        choices=[
                            ("event", "event"),
                            ("daily", "daily"),
                            ("weekly", "weekly"),
                            ("monthly", "monthly"),
                            ("quarterly", "quarterly"),
                            ("yearly", "yearly"),
                        ],
                        max_length=12,
                    ),
                ),
                ("rule", models.JSONField()),
                ("version", models.PositiveIntegerField(default=1)),
                ("started_at", models.DateTimeField(help_text="From here on occurrences are due.")),
                ("last_run_at", models.DateTimeField(blank=True, null=True)),
                ("last_error", models.TextField(blank=True)),
                (
                    "attested_until",
                    models.DateTimeField(
                        blank=True, help_text="Up to here each month without an occurrence was attested.", null=True
                    ),
                ),
                (
                    "alive_at",
                    models.DateTimeField(blank=True, help_text="When the collector was last seen working.", null=True),
                ),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
                (
                    "control",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="checks", to="compliance.control"
                    ),
                ),
            ],
            options={
                "ordering": ("control", "slug"),
                "constraints": [
                    models.UniqueConstraint(fields=("control", "slug"), name="one_check_per_control_and_slug")
                ],
            },
        ),
        migrations.CreateModel(
            name="ControlException",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.TextField()),
                ("compensation", models.TextField(blank=True, help_text="What protects meanwhile.")),
                (
                    "covers",
                    models.CharField(
                        blank=True,
                        help_text="A scanner's check, or its check and resource, that it excuses.",
                        max_length=200,
                    ),
                ),
                ("starts_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("requested_by", models.CharField(max_length=120)),
                ("requested_at", models.DateTimeField()),
                ("approved_by", models.CharField(blank=True, max_length=120)),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("rejected_by", models.CharField(blank=True, max_length=120)),
                ("rejected_at", models.DateTimeField(blank=True, null=True)),
                (
                    "control",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="exceptions", to="compliance.control"
                    ),
                ),
            ],
            options={
                "ordering": ("-starts_at",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("expires_at__gt", models.F("starts_at"))),
                        name="exception_expires_after_it_starts",
                        violation_error_message="An exception must expire after it starts.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("approved_by", ""),
                            models.Q(("approved_by", models.F("requested_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="exception_is_approved_by_another",
                        violation_error_message="Somebody else must approve an exception.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ControlVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("definition", models.JSONField()),
                ("declared_at", models.DateTimeField()),
                ("declared_by", models.CharField(max_length=120)),
                (
                    "control",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="compliance.control"
                    ),
                ),
            ],
            options={
                "ordering": ("control", "-number"),
                "constraints": [
                    models.UniqueConstraint(fields=("control", "number"), name="one_control_version_per_number")
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("title", models.CharField(max_length=200)),
                ("text", models.TextField(blank=True)),
                ("due_on", models.DateField(blank=True, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("submitted", "Submitted"),
                            ("flagged", "Flagged"),
                            ("accepted", "Accepted"),
                            ("withdrawn", "Withdrawn"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("asked_by", models.CharField(max_length=120)),
                ("asked_by_label", models.CharField(max_length=160)),
                ("asked_at", models.DateTimeField()),
                ("changed_at", models.DateTimeField()),
                (
                    "control",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="compliance.control",
                    ),
                ),
                (
                    "engagement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="requests", to="compliance.engagement"
                    ),
                ),
            ],
            options={
                "ordering": ("engagement", "number"),
                "constraints": [
                    models.UniqueConstraint(fields=("engagement", "number"), name="one_request_per_number")
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditorGrant",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("expires_at", models.DateTimeField()),
                ("granted_by", models.CharField(max_length=120)),
                ("granted_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="auditor_grants",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "engagement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="grants", to="compliance.engagement"
                    ),
                ),
            ],
            options={
                "ordering": ("engagement", "user"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("revoked_at__isnull", True)),
                        fields=("engagement", "user"),
                        name="one_live_auditor_grant",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditorAccess",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("method", models.CharField(max_length=8)),
                ("path", models.CharField(max_length=300)),
                ("at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "engagement",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="accesses",
                        to="compliance.engagement",
                    ),
                ),
            ],
            options={"ordering": ("-pk",)},
        ),
        migrations.CreateModel(
            name="AuditFinding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                (
                    "severity",
                    models.CharField(
                        choices=[
                            ("observation", "Observation"),
                            ("minor", "Minor nonconformity"),
                            ("major", "Major nonconformity"),
                        ],
                        max_length=12,
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("text", models.TextField(blank=True)),
                ("raised_by", models.CharField(max_length=120)),
                ("raised_at", models.DateTimeField()),
                ("response", models.TextField(blank=True, help_text="The management's answer.")),
                ("due_on", models.DateField(blank=True, null=True)),
                ("responded_by", models.CharField(blank=True, max_length=120)),
                ("responded_at", models.DateTimeField(blank=True, null=True)),
                ("closed_by", models.CharField(blank=True, max_length=120)),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "control",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="findings",
                        to="compliance.control",
                    ),
                ),
                (
                    "engagement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="findings", to="compliance.engagement"
                    ),
                ),
            ],
            options={
                "ordering": ("engagement", "number"),
                "constraints": [
                    models.UniqueConstraint(fields=("engagement", "number"), name="one_finding_per_number"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("closed_at__isnull", True), models.Q(("closed_by", ""), _negated=True), _connector="OR"
                        ),
                        name="finding_is_closed_by_somebody",
                        violation_error_message="A closed finding names who closed it.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Evidence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=40, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("upload", "Uploaded file"),
                            ("attestation", "Attestation"),
                            ("pushed", "Pushed by a collector"),
                        ],
                        max_length=12,
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("submitted", "Waiting for review"),
                            ("accepted", "Accepted"),
                            ("rejected", "Rejected"),
                            ("quarantined", "Quarantined"),
                            ("superseded", "Superseded"),
                        ],
                        max_length=12,
                    ),
                ),
                ("title", models.CharField(max_length=160)),
                ("statement", models.TextField(blank=True)),
                ("evidence_type", models.CharField(blank=True, max_length=3)),
                ("period_start", models.DateTimeField()),
                ("period_end", models.DateTimeField()),
                ("observed_at", models.DateTimeField(help_text="When the thing was seen.")),
                ("collected_at", models.DateTimeField(help_text="When it was taken down.")),
                ("received_at", models.DateTimeField(help_text="When it came here; never set by the sender.")),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("source", models.CharField(blank=True, help_text="System that it comes from.", max_length=160)),
                (
                    "collector",
                    models.CharField(blank=True, help_text="Person or tool that took it down.", max_length=160),
                ),
                ("query", models.TextField(blank=True, help_text="What was asked of the source.")),
                (
                    "sensitivity",
                    models.CharField(
                        choices=[
                            ("internal", "Internal"),
                            ("confidential", "Confidential"),
                            ("personal", "Holds personal data"),
                        ],
                        default="internal",
                        max_length=12,
                    ),
                ),
                ("external_id", models.CharField(blank=True, max_length=160, null=True, unique=True)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("file_name", models.CharField(blank=True, max_length=160)),
                ("media_type", models.CharField(blank=True, max_length=80)),
                ("submitted_by", models.CharField(max_length=120)),
                ("submitted_by_label", models.CharField(max_length=160)),
                ("reviewed_by", models.CharField(blank=True, max_length=120)),
                ("reviewed_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.CharField(blank=True, help_text="Why it was rejected or put aside.", max_length=500)),
                (
                    "control",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="evidence", to="compliance.control"
                    ),
                ),
                (
                    "supersedes",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="superseded_by",
                        to="compliance.evidence",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "evidence",
                "ordering": ("-received_at", "-pk"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("reviewed_by", ""),
                            models.Q(("reviewed_by", models.F("submitted_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="evidence_is_reviewed_by_another",
                        violation_error_message="Somebody else must review evidence.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FrameworkVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("edition", models.CharField(blank=True, max_length=60)),
                ("content_sha256", models.CharField(max_length=64)),
                ("requirements", models.PositiveIntegerField()),
                ("added", models.JSONField(default=list)),
                ("retired", models.JSONField(default=list)),
                ("changed", models.JSONField(default=list)),
                ("loaded_at", models.DateTimeField()),
                ("loaded_by", models.CharField(max_length=120)),
                (
                    "framework",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="compliance.framework"
                    ),
                ),
            ],
            options={
                "ordering": ("framework", "-number"),
                "constraints": [
                    models.UniqueConstraint(fields=("framework", "number"), name="one_framework_version_per_number")
                ],
            },
        ),
        migrations.CreateModel(
            name="Occurrence",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(help_text="`2026-11` or `entry:123`.", max_length=80)),
                ("due_at", models.DateTimeField()),
                ("happened_at", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("passed", "passed"),
                            ("failed", "failed"),
                            ("missed", "missed"),
                            ("pending", "pending"),
                        ],
                        max_length=10,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=500)),
                (
                    "entries",
                    models.JSONField(default=list, help_text="Primary keys of the ledger entries it rests on."),
                ),
                (
                    "verified",
                    models.BooleanField(default=False, help_text="Every entry is sealed and its content is unchanged."),
                ),
                ("check_version", models.PositiveIntegerField()),
                ("evaluated_at", models.DateTimeField()),
                (
                    "check_run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="occurrences", to="compliance.check"
                    ),
                ),
            ],
            options={
                "ordering": ("-due_at", "-pk"),
                "indexes": [models.Index(fields=["check_run", "due_at"], name="occurrences_by_due")],
                "constraints": [
                    models.UniqueConstraint(fields=("check_run", "key"), name="one_occurrence_per_check_and_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="OccurrenceDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("due", models.PositiveIntegerField(default=0)),
                ("passed", models.PositiveIntegerField(default=0)),
                (
                    "check_run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="days", to="compliance.check"
                    ),
                ),
            ],
            options={
                "ordering": ("check_run", "day"),
                "constraints": [models.UniqueConstraint(fields=("check_run", "day"), name="one_day_of_a_check")],
            },
        ),
        migrations.CreateModel(
            name="PackExport",
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
                ("requested_by", models.CharField(max_length=120)),
                ("requested_by_label", models.CharField(max_length=160)),
                ("requested_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("waiting", "Waiting"),
                            ("running", "Running"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("step", models.CharField(blank=True, max_length=160)),
                ("done", models.PositiveIntegerField(default=0)),
                ("total", models.PositiveIntegerField(default=0)),
                ("name", models.CharField(blank=True, max_length=160)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("manifest_sha256", models.CharField(blank=True, max_length=64)),
                ("entries", models.PositiveIntegerField(default=0)),
                ("omissions", models.JSONField(default=list)),
                ("key", models.TextField(blank=True)),
                (
                    "engagement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="exports", to="compliance.engagement"
                    ),
                ),
            ],
            options={"ordering": ("-requested_at",)},
        ),
        migrations.CreateModel(
            name="PolicyVersion",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("text", models.TextField()),
                ("review_on", models.DateField()),
                ("due_at", models.DateTimeField(help_text="Until when people have to have read it.")),
                ("author", models.CharField(max_length=120)),
                ("author_label", models.CharField(max_length=160)),
                ("written_at", models.DateTimeField()),
                ("approved_by", models.CharField(blank=True, max_length=120)),
                ("approved_by_label", models.CharField(blank=True, max_length=160)),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("closed_at", models.DateTimeField(blank=True, help_text="When acknowledging ended.", null=True)),
                (
                    "policy",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="versions", to="compliance.policy"
                    ),
                ),
            ],
            options={
                "ordering": ("policy", "-number"),
                "constraints": [
                    models.UniqueConstraint(fields=("policy", "number"), name="one_policy_version_per_number"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("approved_by", ""),
                            models.Q(("approved_by", models.F("author")), _negated=True),
                            _connector="OR",
                        ),
                        name="policy_is_approved_by_another",
                        violation_error_message="Somebody other than the author must approve a policy.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PolicyAcknowledgement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="acknowledgements",
                        to="compliance.policyversion",
                    ),
                ),
            ],
            options={
                "ordering": ("version", "at"),
                "constraints": [models.UniqueConstraint(fields=("version", "user"), name="one_acknowledgement_each")],
            },
        ),
        migrations.CreateModel(
            name="Population",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63)),
                ("title", models.CharField(max_length=160)),
                ("query", models.JSONField(help_text="Kinds of entry and conditions.")),
                ("window_start", models.DateTimeField()),
                ("window_end", models.DateTimeField()),
                ("items", models.JSONField(help_text="Numbers of the entries in the log, in order.")),
                ("count", models.PositiveIntegerField()),
                ("digest", models.CharField(help_text="SHA-256 of the items, one a line.", max_length=64)),
                ("frozen_at", models.DateTimeField()),
                ("frozen_by", models.CharField(max_length=120)),
                (
                    "engagement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="populations",
                        to="compliance.engagement",
                    ),
                ),
            ],
            options={
                "ordering": ("engagement", "slug"),
                "constraints": [models.UniqueConstraint(fields=("engagement", "slug"), name="one_population_per_slug")],
            },
        ),
        migrations.CreateModel(
            name="RequestMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("author", models.CharField(max_length=120)),
                ("author_label", models.CharField(max_length=160)),
                ("at", models.DateTimeField()),
                ("text", models.TextField(blank=True)),
                (
                    "state",
                    models.CharField(blank=True, help_text="The state that it led to, if it changed.", max_length=10),
                ),
                (
                    "evidence",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="compliance.evidence",
                    ),
                ),
                (
                    "request",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="messages",
                        to="compliance.auditrequest",
                    ),
                ),
            ],
            options={"ordering": ("request", "pk")},
        ),
        migrations.CreateModel(
            name="Requirement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("ref", models.CharField(max_length=40)),
                ("slug", models.SlugField(max_length=60)),
                ("label", models.CharField(max_length=160)),
                ("category", models.CharField(max_length=20)),
                (
                    "level",
                    models.CharField(
                        help_text="What operations can prove: direct, supporting or manual.", max_length=12
                    ),
                ),
                ("direct", models.JSONField(default=list, help_text="Evidence types that prove it by themselves.")),
                ("supporting", models.JSONField(default=list, help_text="Evidence types that corroborate.")),
                ("position", models.PositiveIntegerField()),
                (
                    "control_id",
                    models.CharField(blank=True, help_text="Its id in OSCAL, where it was imported.", max_length=80),
                ),
                ("retired_at", models.DateTimeField(blank=True, null=True)),
                (
                    "framework",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="requirements",
                        to="compliance.framework",
                    ),
                ),
            ],
            options={
                "ordering": ("framework", "position"),
                "constraints": [
                    models.UniqueConstraint(fields=("framework", "ref"), name="one_requirement_per_ref"),
                    models.UniqueConstraint(fields=("framework", "slug"), name="one_requirement_per_slug"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ControlRequirement",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "strength",
                    models.CharField(
                        choices=[("direct", "direct"), ("partial", "partial"), ("supporting", "supporting")],
                        max_length=12,
                    ),
                ),
                ("rationale", models.CharField(max_length=300)),
                (
                    "control",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="links", to="compliance.control"
                    ),
                ),
                (
                    "requirement",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="links", to="compliance.requirement"
                    ),
                ),
            ],
            options={
                "ordering": ("requirement", "control"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("control", "requirement"), name="one_link_per_control_and_requirement"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Applicability",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("applies", models.BooleanField()),
                ("justification", models.CharField(max_length=500)),
                ("decided_by", models.CharField(max_length=120)),
                ("decided_at", models.DateTimeField()),
                (
                    "requirement",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="applicability",
                        to="compliance.requirement",
                    ),
                ),
            ],
            options={"verbose_name_plural": "applicability", "ordering": ("requirement",)},
        ),
        migrations.CreateModel(
            name="RequirementText",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("text", models.TextField()),
                ("source", models.CharField(max_length=200)),
                ("loaded_at", models.DateTimeField()),
                (
                    "requirement",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="licensed_text",
                        to="compliance.requirement",
                    ),
                ),
            ],
            options={"ordering": ("requirement",)},
        ),
        migrations.CreateModel(
            name="Risk",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("title", models.CharField(max_length=160)),
                ("description", models.TextField(blank=True)),
                (
                    "category",
                    models.CharField(
                        choices=[
                            ("technical", "Technical"),
                            ("security", "Security"),
                            ("operational", "Operational"),
                            ("business", "Business"),
                            ("financial", "Financial"),
                        ],
                        max_length=12,
                    ),
                ),
                ("owner", models.CharField(max_length=120)),
                ("inherent_likelihood", models.PositiveSmallIntegerField()),
                ("inherent_impact", models.PositiveSmallIntegerField()),
                ("residual_likelihood", models.PositiveSmallIntegerField()),
                ("residual_impact", models.PositiveSmallIntegerField()),
                (
                    "treatment",
                    models.CharField(
                        choices=[
                            ("mitigate", "Mitigate"),
                            ("accept", "Accept"),
                            ("transfer", "Transfer"),
                            ("avoid", "Avoid"),
                        ],
                        default="mitigate",
                        max_length=10,
                    ),
                ),
                ("plan", models.TextField(blank=True, help_text="What is done about it.")),
                ("due_on", models.DateField(blank=True, help_text="When the plan is to be done.", null=True)),
                ("review_on", models.DateField(help_text="When it is to be assessed again.")),
                (
                    "incidents",
                    models.JSONField(default=list, help_text="References of incidents in which it came true."),
                ),
                ("assessed_at", models.DateTimeField()),
                ("assessed_by", models.CharField(max_length=120)),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                ("controls", models.ManyToManyField(blank=True, related_name="risks", to="compliance.control")),
                ("services", models.ManyToManyField(blank=True, related_name="+", to="catalog.service")),
            ],
            options={
                "ordering": ("slug",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("inherent_impact__gte", 1),
                            ("inherent_likelihood__gte", 1),
                            ("residual_impact__gte", 1),
                            ("residual_likelihood__gte", 1),
                        ),
                        name="risk_scores_start_at_one",
                        violation_error_message="Likelihood and impact start at 1.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RiskAcceptance",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("residual_score", models.PositiveSmallIntegerField()),
                ("reason", models.TextField()),
                ("accepted_by", models.CharField(max_length=120)),
                ("accepted_by_label", models.CharField(max_length=160)),
                ("accepted_at", models.DateTimeField()),
                ("expires_on", models.DateField()),
                (
                    "risk",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="acceptances", to="compliance.risk"
                    ),
                ),
            ],
            options={"ordering": ("-accepted_at",)},
        ),
        migrations.CreateModel(
            name="RiskIndicator",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63)),
                ("title", models.CharField(max_length=160)),
                ("measure", models.JSONField(help_text="What is read from the ledger, and how.")),
                ("warn_at", models.DecimalField(decimal_places=4, max_digits=14)),
                ("breach_at", models.DecimalField(decimal_places=4, max_digits=14)),
                ("value", models.DecimalField(decimal_places=4, max_digits=14, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("fine", "Fine"),
                            ("warning", "Warning"),
                            ("breached", "Breached"),
                            ("unknown", "Unknown"),
                        ],
                        default="unknown",
                        max_length=10,
                    ),
                ),
                ("breach_in_days", models.PositiveIntegerField(help_text="If it goes on as it did lately.", null=True)),
                ("evaluated_at", models.DateTimeField(null=True)),
                (
                    "risk",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="indicators", to="compliance.risk"
                    ),
                ),
            ],
            options={
                "ordering": ("risk", "slug"),
                "constraints": [
                    models.UniqueConstraint(fields=("risk", "slug"), name="one_indicator_per_slug"),
                    models.CheckConstraint(
                        condition=models.Q(("warn_at", models.F("breach_at")), _negated=True),
                        name="indicator_warns_before_it_breaches",
                        violation_error_message="The warning must come before the breach.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="IndicatorPoint",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateField()),
                ("value", models.DecimalField(decimal_places=4, max_digits=14)),
                (
                    "indicator",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="points",
                        to="compliance.riskindicator",
                    ),
                ),
            ],
            options={
                "ordering": ("indicator", "day"),
                "constraints": [models.UniqueConstraint(fields=("indicator", "day"), name="one_point_per_day")],
            },
        ),
        migrations.CreateModel(
            name="Sample",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seed", models.CharField(max_length=120)),
                ("size", models.PositiveIntegerField()),
                ("drawn_at", models.DateTimeField()),
                ("drawn_by", models.CharField(max_length=120)),
                (
                    "population",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="samples", to="compliance.population"
                    ),
                ),
            ],
            options={"ordering": ("population", "pk")},
        ),
        migrations.CreateModel(
            name="SampleItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveIntegerField()),
                ("seq", models.PositiveBigIntegerField(help_text="Number of the entry in the log.")),
                (
                    "result",
                    models.CharField(
                        choices=[
                            ("untested", "Not tested"),
                            ("passed", "No exception noted"),
                            ("deviation", "Deviation"),
                            ("not-applicable", "Not applicable"),
                        ],
                        default="untested",
                        max_length=16,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=500)),
                ("tested_by", models.CharField(blank=True, max_length=120)),
                ("tested_at", models.DateTimeField(blank=True, null=True)),
                (
                    "sample",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="items", to="compliance.sample"
                    ),
                ),
            ],
            options={
                "ordering": ("sample", "position"),
                "constraints": [models.UniqueConstraint(fields=("sample", "seq"), name="one_item_of_a_sample")],
            },
        ),
        migrations.CreateModel(
            name="ScorecardWaiver",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("item", models.SlugField(max_length=63)),
                ("reason", models.CharField(max_length=500)),
                ("requested_by", models.CharField(max_length=120)),
                ("requested_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("approved_by", models.CharField(blank=True, max_length=120)),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="catalog.service"
                    ),
                ),
            ],
            options={
                "ordering": ("-requested_at",),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("approved_by", ""),
                            models.Q(("approved_by", models.F("requested_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="waiver_is_approved_by_another",
                        violation_error_message="Somebody else must approve a waiver.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="SecurityFinding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("tool", models.CharField(max_length=120)),
                ("scope", models.CharField(max_length=200)),
                ("fingerprint", models.CharField(max_length=64)),
                ("rule", models.CharField(max_length=160)),
                (
                    "severity",
                    models.CharField(
                        choices=[("critical", "Critical"), ("high", "High"), ("medium", "Medium"), ("low", "Low")],
                        max_length=8,
                    ),
                ),
                ("title", models.CharField(max_length=300)),
                ("location", models.CharField(blank=True, max_length=300)),
                ("first_seen_at", models.DateTimeField()),
                ("gone_at", models.DateTimeField(blank=True, null=True)),
                (
                    "first_report",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="compliance.findingreport"
                    ),
                ),
                (
                    "last_report",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="findings",
                        to="compliance.findingreport",
                    ),
                ),
            ],
            options={
                "ordering": ("gone_at", "severity", "pk"),
                "constraints": [
                    models.UniqueConstraint(fields=("tool", "scope", "fingerprint"), name="one_finding_per_fingerprint")
                ],
            },
        ),
        migrations.CreateModel(
            name="VendorReport",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("soc1", "SOC 1"),
                            ("soc2", "SOC 2"),
                            ("iso27001", "ISO/IEC 27001 certificate"),
                            ("questionnaire", "Questionnaire"),
                            ("other", "Other"),
                        ],
                        max_length=14,
                    ),
                ),
                ("period_start", models.DateField()),
                ("period_end", models.DateField()),
                ("bridged_until", models.DateField(blank=True, help_text="What a bridge letter covers.", null=True)),
                ("exceptions_read", models.BooleanField(default=False)),
                ("conclusion", models.TextField()),
                ("reviewed_by", models.CharField(max_length=120)),
                ("reviewed_by_label", models.CharField(max_length=160)),
                ("reviewed_at", models.DateTimeField()),
                (
                    "vendor",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="reports", to="compliance.vendor"
                    ),
                ),
            ],
            options={
                "ordering": ("-period_end", "-pk"),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("period_end__gte", models.F("period_start"))),
                        name="vendor_report_ends_after_it_starts",
                        violation_error_message="The period must end after it starts.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="AccessEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("account", models.CharField(max_length=160)),
                (
                    "person",
                    models.CharField(blank=True, help_text="User name or mail address of whose it is.", max_length=160),
                ),
                ("roles", models.CharField(blank=True, max_length=300)),
                ("privileged", models.BooleanField(default=False)),
                ("second_factor", models.BooleanField(null=True)),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                (
                    "decision",
                    models.CharField(
                        choices=[("pending", "Not decided"), ("keep", "Keep"), ("revoke", "Take away")],
                        default="pending",
                        max_length=8,
                    ),
                ),
                ("note", models.CharField(blank=True, max_length=300)),
                ("decided_by", models.CharField(blank=True, max_length=120)),
                ("decided_by_label", models.CharField(blank=True, max_length=160)),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_by", models.CharField(blank=True, max_length=120)),
                (
                    "campaign",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="entries",
                        to="compliance.accesscampaign",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "access entries",
                "ordering": ("campaign", "account"),
                "constraints": [models.UniqueConstraint(fields=("campaign", "account"), name="one_entry_per_account")],
            },
        ),
        migrations.CreateModel(
            name="ChangeRecord",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("change", models.CharField(max_length=40)),
                ("title", models.CharField(max_length=300)),
                ("author", models.CharField(max_length=120)),
                ("approvers", models.JSONField(default=list)),
                ("checks_passed", models.BooleanField(null=True)),
                ("commit", models.CharField(blank=True, max_length=64)),
                ("merged_by", models.CharField(blank=True, max_length=120)),
                ("merged_at", models.DateTimeField(blank=True, null=True)),
                ("url", models.CharField(blank=True, max_length=300)),
                ("recorded_at", models.DateTimeField(blank=True, help_text="When it went into the ledger.", null=True)),
                (
                    "source",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="changes",
                        to="compliance.changesource",
                    ),
                ),
            ],
            options={
                "ordering": ("-merged_at", "-pk"),
                "constraints": [models.UniqueConstraint(fields=("source", "change"), name="one_record_per_change")],
            },
        ),
        migrations.AddField(
            model_name="engagement",
            name="frameworks",
            field=models.ManyToManyField(related_name="engagements", to="compliance.framework"),
        ),
        migrations.AddField(
            model_name="control",
            name="requirements",
            field=models.ManyToManyField(
                related_name="controls", through="compliance.ControlRequirement", to="compliance.requirement"
            ),
        ),
    ]

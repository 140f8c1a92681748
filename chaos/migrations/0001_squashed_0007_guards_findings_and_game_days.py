"""Every table as of the last migration that it replaces: a new site makes them in one step."""

import django.db.models.deletion
from django.db import migrations, models

from core.first_migration import AllTablesAtOnce


class Migration(AllTablesAtOnce):
    replaces = [
        ("chaos", "0001_initial"),
        ("chaos", "0002_steady_during"),
        ("chaos", "0003_schedules_blackouts_and_events"),
        ("chaos", "0004_recovery_tests"),
        ("chaos", "0005_ask_for_approval"),
        ("chaos", "0006_recovery_guards_and_clearing"),
        ("chaos", "0007_guards_findings_and_game_days"),
    ]

    initial = True

    dependencies = [
        ("catalog", "0002_deployment_committed_at"),
    ]

    operations = [
        migrations.CreateModel(
            name="KillSwitch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("engaged_by", models.CharField(max_length=80)),
                ("engaged_at", models.DateTimeField()),
                ("reason", models.CharField(max_length=300)),
                (
                    "drill",
                    models.BooleanField(default=False, help_text="Engaged for a moment by the weekly self-test."),
                ),
                ("released_by", models.CharField(blank=True, max_length=80)),
                ("released_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={"verbose_name_plural": "kill switches", "ordering": ("-engaged_at",)},
        ),
        migrations.CreateModel(
            name="KillSwitchTest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("passed", models.BooleanField()),
                ("detail", models.TextField()),
            ],
            options={"ordering": ("-at", "-pk")},
        ),
        migrations.CreateModel(
            name="StartGate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("starts", models.PositiveBigIntegerField(default=0)),
            ],
            options={"ordering": ("pk",)},
        ),
        migrations.CreateModel(
            name="Blackout",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("title", models.CharField(blank=True, max_length=120)),
                ("windows", models.JSONField(help_text="As the file writes them.")),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="blackouts",
                        to="catalog.environment",
                    ),
                ),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="Experiment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("title", models.CharField(max_length=120)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="experiments",
                        to="catalog.environment",
                    ),
                ),
                ("services", models.ManyToManyField(related_name="experiments", to="catalog.service")),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="ExperimentRevision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("definition", models.JSONField()),
                ("sha256", models.CharField(max_length=64)),
                ("author", models.CharField(help_text="Reference of who wrote it.", max_length=80)),
                ("created_at", models.DateTimeField()),
                (
                    "experiment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="revisions", to="chaos.experiment"
                    ),
                ),
            ],
            options={
                "ordering": ("experiment", "-number"),
                "constraints": [
                    models.UniqueConstraint(fields=("experiment", "number"), name="one_revision_per_number")
                ],
            },
        ),
        migrations.CreateModel(
            name="ChaosRun",
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
                ("plan_sha256", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("starting", "Starting"),
                            ("running", "Running"),
                            ("stopping", "Stopping"),
                            ("finished", "Finished"),
                        ],
                        default="starting",
                        max_length=10,
                    ),
                ),
                (
                    "verdict",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("passed", "PASSED"),
                            ("failed", "FAILED"),
                            ("inconclusive", "INCONCLUSIVE"),
                            ("aborted", "ABORTED"),
                            ("refused", "REFUSED"),
                            ("dirty", "DIRTY"),
                        ],
                        max_length=14,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("requested_by", models.CharField(max_length=80)),
                ("requested_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True)),
                ("deadline_at", models.DateTimeField()),
                ("stop_requested_by", models.CharField(blank=True, max_length=80)),
                ("stop_reason", models.TextField(blank=True)),
                ("steady_before", models.BooleanField(blank=True, null=True)),
                ("steady_during", models.BooleanField(blank=True, null=True)),
                ("steady_after", models.BooleanField(blank=True, null=True)),
                ("guards", models.JSONField(default=list)),
                (
                    "budgets_at_start",
                    models.JSONField(default=dict, help_text="Percent of each SLO's budget that was left."),
                ),
                ("budgets_at_end", models.JSONField(default=dict, help_text="The same when the run had ended.")),
                (
                    "recovery_seconds",
                    models.FloatField(
                        blank=True, help_text="From the last undo until the steady state held again.", null=True
                    ),
                ),
                ("compiled", models.JSONField(default=dict, help_text="The experiment that the Chaos Toolkit ran.")),
                ("compiled_sha256", models.CharField(blank=True, max_length=64)),
                ("journal", models.JSONField(default=dict)),
                (
                    "revision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="chaos.experimentrevision"
                    ),
                ),
            ],
            options={"ordering": ("-requested_at",)},
        ),
        migrations.CreateModel(
            name="ApprovalRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("plan_sha256", models.CharField(max_length=64)),
                ("asked_by", models.CharField(max_length=80)),
                ("asked_at", models.DateTimeField()),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "revision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approval_requests",
                        to="chaos.experimentrevision",
                    ),
                ),
            ],
            options={
                "ordering": ("-asked_at",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("settled_at__isnull", True)),
                        fields=("revision", "plan_sha256"),
                        name="one_open_request_per_plan",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ExperimentSchedule",
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
                ("definition", models.JSONField()),
                ("nominal_at", models.DateTimeField(help_text="The turn's time by the cron expression.")),
                ("paused_by", models.CharField(blank=True, max_length=80)),
                (
                    "experiment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="schedule", to="chaos.experiment"
                    ),
                ),
            ],
            options={"ordering": ("experiment",)},
        ),
        migrations.CreateModel(
            name="Fault",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveSmallIntegerField()),
                ("action", models.CharField(max_length=80)),
                ("arguments", models.JSONField()),
                ("output", models.JSONField(default=dict)),
                ("targets", models.JSONField(default=list)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("intended", "Intended"),
                            ("active", "Active"),
                            ("reverted", "Reverted"),
                            ("lasting", "One way"),
                            ("dirty", "Dirty"),
                            ("cleared", "Cleared by hand"),
                        ],
                        default="intended",
                        max_length=10,
                    ),
                ),
                ("intended_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField(help_text="The watchdog undoes it then, whatever else is dead.")),
                ("injected_at", models.DateTimeField(blank=True, null=True)),
                ("reverted_at", models.DateTimeField(blank=True, null=True)),
                ("took_effect", models.BooleanField(blank=True, null=True)),
                ("detail", models.TextField(blank=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="faults", to="chaos.chaosrun"
                    ),
                ),
            ],
            options={
                "ordering": ("run", "position"),
                "constraints": [models.UniqueConstraint(fields=("run", "position"), name="one_fault_per_position")],
            },
        ),
        migrations.CreateModel(
            name="GameDay",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("title", models.CharField(blank=True, max_length=120)),
                ("definition", models.JSONField()),
                ("author", models.CharField(max_length=80)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="game_days", to="catalog.environment"
                    ),
                ),
                ("services", models.ManyToManyField(related_name="game_days", to="catalog.service")),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="GameDaySession",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reference", models.CharField(max_length=40, unique=True)),
                ("definition", models.JSONField(help_text="What the game day said when it was begun.")),
                ("led_by", models.CharField(max_length=80)),
                ("started_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("steps", models.JSONField(default=list)),
                ("summary", models.TextField(blank=True)),
                (
                    "game_day",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="sessions", to="chaos.gameday"
                    ),
                ),
            ],
            options={"ordering": ("-started_at",)},
        ),
        migrations.CreateModel(
            name="PlanApproval",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("plan_sha256", models.CharField(max_length=64)),
                ("approved_by", models.CharField(max_length=80)),
                ("approved_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                (
                    "revision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="approvals",
                        to="chaos.experimentrevision",
                    ),
                ),
            ],
            options={"ordering": ("-approved_at",)},
        ),
        migrations.CreateModel(
            name="RecoveryMarker",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("run", models.CharField(max_length=40)),
                ("number", models.PositiveIntegerField()),
                ("written_at", models.DateTimeField()),
            ],
            options={
                "ordering": ("run", "number"),
                "constraints": [
                    models.UniqueConstraint(fields=("run", "number"), name="one_recovery_marker_per_number")
                ],
            },
        ),
        migrations.CreateModel(
            name="RecoveryTest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("title", models.CharField(max_length=120)),
                ("kind", models.CharField(max_length=20)),
                ("definition", models.JSONField()),
                ("sha256", models.CharField(max_length=64)),
                ("author", models.CharField(help_text="Reference of who wrote it.", max_length=80)),
                ("changed_at", models.DateTimeField()),
                ("next_due_at", models.DateTimeField(blank=True, help_text="None: only by hand.", null=True)),
                (
                    "missed",
                    models.PositiveIntegerField(
                        default=0, help_text="Turns that passed while one was going on or held."
                    ),
                ),
                (
                    "last_refusal",
                    models.TextField(blank=True, help_text="Why the newest turn was not started; empty when it was."),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="recovery_tests", to="catalog.service"
                    ),
                ),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="RecoveryTestRun",
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
                ("definition", models.JSONField(help_text="What the test said when the run was asked for.")),
                ("definition_sha256", models.CharField(max_length=64)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("starting", "Starting"),
                            ("running", "Running"),
                            ("stopping", "Stopping"),
                            ("finished", "Finished"),
                        ],
                        default="starting",
                        max_length=10,
                    ),
                ),
                (
                    "verdict",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("passed", "PASSED"),
                            ("failed", "FAILED"),
                            ("inconclusive", "INCONCLUSIVE"),
                            ("aborted", "ABORTED"),
                            ("refused", "REFUSED"),
                            ("dirty", "DIRTY"),
                        ],
                        max_length=14,
                    ),
                ),
                ("reason", models.TextField(blank=True)),
                ("requested_by", models.CharField(max_length=80)),
                ("requested_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("heartbeat_at", models.DateTimeField(blank=True, null=True)),
                ("rto", models.DurationField(blank=True, help_text="Promised when the run was asked for.", null=True)),
                ("rpo", models.DurationField(blank=True, help_text="Promised when the run was asked for.", null=True)),
                ("guards", models.JSONField(default=list, help_text="What was asked before, and the answers.")),
                ("cleared_at", models.DateTimeField(blank=True, null=True)),
                (
                    "cleared_by",
                    models.CharField(blank=True, help_text="Who declared that nothing dirty is left.", max_length=80),
                ),
                ("cleared_reason", models.CharField(blank=True, max_length=300)),
                ("steps", models.JSONField(default=list, help_text="What it did, in order, with times.")),
                ("result", models.JSONField(default=dict, help_text="What was measured.")),
                ("folder", models.CharField(blank=True, help_text="Its working folder while it runs.", max_length=300)),
                (
                    "test",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="chaos.recoverytest"
                    ),
                ),
            ],
            options={
                "ordering": ("-requested_at",),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "finished"), _negated=True),
                        fields=("test",),
                        name="one_recovery_run_of_a_test_at_a_time",
                        violation_error_message="A run of this test is going on.",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="RunEvent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("kind", models.CharField(help_text="run, fault, probe or watcher.", max_length=20)),
                ("text", models.CharField(max_length=500)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="events", to="chaos.chaosrun"
                    ),
                ),
            ],
            options={"ordering": ("run", "at", "pk")},
        ),
        migrations.CreateModel(
            name="ScheduleTurn",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("nominal_at", models.DateTimeField()),
                ("at", models.DateTimeField()),
                (
                    "outcome",
                    models.CharField(
                        choices=[("started", "Started"), ("refused", "Refused"), ("missed", "Missed")], max_length=10
                    ),
                ),
                ("missed", models.PositiveIntegerField(default=0)),
                ("reason", models.TextField(blank=True)),
                (
                    "experiment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="turns", to="chaos.experiment"
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="turns",
                        to="chaos.chaosrun",
                    ),
                ),
            ],
            options={
                "ordering": ("-at", "-pk"),
                "constraints": [
                    models.UniqueConstraint(fields=("experiment", "nominal_at"), name="one_turn_per_nominal_time")
                ],
            },
        ),
        migrations.CreateModel(
            name="Suite",
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
                ("title", models.CharField(blank=True, max_length=120)),
                ("definition", models.JSONField()),
                ("nominal_at", models.DateTimeField()),
                ("experiments", models.ManyToManyField(related_name="suites", to="chaos.experiment")),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="suites", to="catalog.service"
                    ),
                ),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="TargetList",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(blank=True, max_length=120)),
                ("allow", models.JSONField(help_text="Patterns over kind:name, as process:model-server-*.")),
                ("never", models.JSONField(default=list)),
                (
                    "environment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="target_list",
                        to="catalog.environment",
                    ),
                ),
            ],
            options={"ordering": ("environment",)},
        ),
        migrations.CreateModel(
            name="ChaosFinding",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[("weakness", "Weakness"), ("regression", "Recovery takes longer")], max_length=12
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("mended", "Mended, to be tried again"),
                            ("proven", "Proven mended"),
                        ],
                        default="open",
                        max_length=8,
                    ),
                ),
                ("text", models.CharField(max_length=500)),
                ("found_at", models.DateTimeField()),
                ("times", models.PositiveIntegerField(default=1, help_text="How many runs have shown it.")),
                ("mended_by", models.CharField(blank=True, max_length=80)),
                ("mended_at", models.DateTimeField(blank=True, null=True)),
                ("mended_how", models.CharField(blank=True, max_length=500)),
                ("proven_at", models.DateTimeField(blank=True, null=True)),
                (
                    "found_in",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="findings", to="chaos.chaosrun"
                    ),
                ),
                (
                    "proven_in",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="proven_findings",
                        to="chaos.chaosrun",
                    ),
                ),
                (
                    "experiment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="findings", to="chaos.experiment"
                    ),
                ),
            ],
            options={
                "ordering": ("-found_at", "-pk"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("state", "proven"), _negated=True),
                        fields=("experiment", "kind"),
                        name="one_finding_of_a_kind_at_a_time",
                    )
                ],
            },
        ),
    ]

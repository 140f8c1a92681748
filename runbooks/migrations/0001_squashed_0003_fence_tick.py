"""Every table as of the last migration that it replaces: a new site makes them in one step."""

import django.db.models.deletion
from django.db import migrations, models

import core.fields
from core.first_migration import AllTablesAtOnce


class Migration(AllTablesAtOnce):
    replaces = [
        ("runbooks", "0001_initial"),
        ("runbooks", "0002_run_book_depth"),
        ("runbooks", "0003_fence_tick"),
    ]

    initial = True

    dependencies = [
        ("accounts", "0001_initial"),
        ("catalog", "0002_deployment_committed_at"),
    ]

    operations = [
        migrations.CreateModel(
            name="RemoteHost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=63, unique=True)),
                ("address", models.CharField(max_length=253)),
                ("port", models.PositiveIntegerField(default=22)),
                ("username", models.CharField(max_length=63)),
                ("private_key", core.fields.EncryptedTextField()),
                ("host_key", models.TextField(help_text="The host's public key, as in known_hosts without the name.")),
                (
                    "commands",
                    models.JSONField(
                        default=dict, help_text="Name to words, arguments with patterns, and whether it reads."
                    ),
                ),
            ],
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="Runbook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("slug", models.SlugField(max_length=63, unique=True)),
                ("title", models.CharField(max_length=160)),
                ("review_by", models.DateField(blank=True, null=True)),
                ("triggers", models.JSONField(default=list, help_text="Labels of alerts that call for it.")),
                (
                    "schedule",
                    models.JSONField(blank=True, help_text="When it is run by itself: cron and zone.", null=True),
                ),
                (
                    "scheduled_until",
                    models.DateTimeField(blank=True, help_text="Turns up to here were started.", null=True),
                ),
                ("services", models.ManyToManyField(blank=True, related_name="runbooks", to="catalog.service")),
                (
                    "team",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runbooks",
                        to="accounts.team",
                    ),
                ),
            ],
            options={"ordering": ("slug",)},
        ),
        migrations.CreateModel(
            name="RunbookRevision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sha256", models.CharField(max_length=64)),
                ("source", models.TextField()),
                ("blocks", models.JSONField(help_text="Executable blocks in order, as parsed.")),
                ("inputs", models.JSONField(default=dict)),
                (
                    "policy",
                    models.JSONField(
                        default=dict, help_text="Permissions, time limit and what may go on without a person."
                    ),
                ),
                ("author", models.CharField(max_length=80)),
                ("created_at", models.DateTimeField()),
                (
                    "runbook",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="revisions", to="runbooks.runbook"
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-pk"),
                "constraints": [models.UniqueConstraint(fields=("runbook", "sha256"), name="one_revision_per_text")],
            },
        ),
        migrations.CreateModel(
            name="RunbookRun",
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
                ("idempotency_key", models.CharField(max_length=200, unique=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("waiting", "Waiting for a person"),
                            ("waiting_timer", "Waiting for time"),
                            ("paused", "Paused"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                            ("rolled_back", "Rolled back"),
                        ],
                        default="running",
                        max_length=20,
                    ),
                ),
                ("rolling_back", models.BooleanField(default=False)),
                ("inputs", models.JSONField(default=dict)),
                ("trigger", models.CharField(max_length=200)),
                ("operator", models.CharField(help_text="Reference of who runs it.", max_length=80)),
                ("incident_reference", models.CharField(blank=True, max_length=60)),
                ("started_at", models.DateTimeField()),
                ("deadline_at", models.DateTimeField(blank=True, null=True)),
                ("paused_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                ("reason", models.TextField(blank=True)),
                (
                    "revision",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="runbooks.runbookrevision"
                    ),
                ),
            ],
            options={"ordering": ("-started_at",)},
        ),
        migrations.CreateModel(
            name="FenceTick",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveSmallIntegerField(help_text="Which of the commands in the text, from 0.")),
                ("by_label", models.CharField(max_length=200)),
                ("at", models.DateTimeField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="ticks", to="runbooks.runbookrun"
                    ),
                ),
            ],
            options={
                "ordering": ("run", "position"),
                "constraints": [models.UniqueConstraint(fields=("run", "position"), name="one_tick_per_command")],
            },
        ),
        migrations.CreateModel(
            name="RunbookSecret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.SlugField(max_length=63, unique=True)),
                ("value", core.fields.EncryptedTextField()),
                ("updated_at", models.DateTimeField()),
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
            options={"ordering": ("name",)},
        ),
        migrations.CreateModel(
            name="RunNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("by", models.CharField(max_length=80)),
                ("by_label", models.CharField(max_length=200)),
                ("text", models.TextField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="notes", to="runbooks.runbookrun"
                    ),
                ),
            ],
            options={"ordering": ("run", "at", "pk")},
        ),
        migrations.CreateModel(
            name="RunStep",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("position", models.PositiveSmallIntegerField()),
                ("step_id", models.CharField(max_length=40)),
                ("item_index", models.PositiveSmallIntegerField(default=0)),
                ("item", models.CharField(blank=True, help_text="Which of `foreach`.", max_length=200)),
                ("kind", models.CharField(max_length=10)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("started", "Started"),
                            ("verifying", "Being verified"),
                            ("waiting", "Waiting"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("timed_out", "Timed out"),
                            ("unknown", "Unknown"),
                            ("skipped", "Skipped"),
                        ],
                        default="pending",
                        max_length=20,
                    ),
                ),
                ("waiting_until", models.DateTimeField(blank=True, null=True)),
                ("escalated_at", models.DateTimeField(blank=True, null=True)),
                (
                    "released_by",
                    models.CharField(blank=True, help_text="Who let it go on without an approval.", max_length=80),
                ),
                ("performed_by", models.CharField(blank=True, max_length=80)),
                (
                    "arguments_sha256",
                    models.CharField(blank=True, help_text="What an approval is bound to.", max_length=64),
                ),
                ("answer", models.CharField(blank=True, max_length=300)),
                ("evidence", models.TextField(blank=True, help_text="Link or text that an answer rests on.")),
                ("detail", models.TextField(blank=True)),
                ("effect", models.BooleanField(default=False, help_text="Something of it may have happened outside.")),
                ("began_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="steps", to="runbooks.runbookrun"
                    ),
                ),
            ],
            options={
                "ordering": ("run", "position", "item_index"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "step_id", "item_index"), name="one_row_per_run_step_and_item"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StepApproval",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("by", models.CharField(max_length=80)),
                ("by_label", models.CharField(max_length=200)),
                ("user_id", models.PositiveBigIntegerField(blank=True, null=True)),
                ("at", models.DateTimeField()),
                ("arguments_sha256", models.CharField(max_length=64)),
                ("break_glass_reason", models.TextField(blank=True, help_text="Why nobody else was asked.")),
                (
                    "step",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="approvals", to="runbooks.runstep"
                    ),
                ),
            ],
            options={
                "ordering": ("step", "at", "pk"),
                "constraints": [
                    models.UniqueConstraint(fields=("step", "by", "arguments_sha256"), name="one_approval_per_person")
                ],
            },
        ),
        migrations.CreateModel(
            name="StepAttempt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveSmallIntegerField()),
                ("idempotency_key", models.CharField(max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("started", "Started"),
                            ("verifying", "Being verified"),
                            ("waiting", "Waiting"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("timed_out", "Timed out"),
                            ("unknown", "Unknown"),
                            ("skipped", "Skipped"),
                        ],
                        default="started",
                        max_length=20,
                    ),
                ),
                (
                    "arguments",
                    models.JSONField(default=dict, help_text="As they were given to the action; secrets by reference."),
                ),
                ("output", models.JSONField(default=dict)),
                ("error", models.TextField(blank=True)),
                (
                    "artifact_sha256",
                    models.CharField(blank=True, help_text="Output that was too long to keep here.", max_length=64),
                ),
                ("started_at", models.DateTimeField()),
                ("deadline_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "step",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="attempts", to="runbooks.runstep"
                    ),
                ),
            ],
            options={
                "ordering": ("step", "number"),
                "constraints": [models.UniqueConstraint(fields=("step", "number"), name="one_attempt_per_number")],
            },
        ),
        migrations.CreateModel(
            name="OutputLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("at", models.DateTimeField()),
                ("text", models.TextField()),
                (
                    "attempt",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="runbooks.stepattempt"
                    ),
                ),
            ],
            options={
                "ordering": ("attempt", "number"),
                "constraints": [models.UniqueConstraint(fields=("attempt", "number"), name="one_line_per_number")],
            },
        ),
    ]

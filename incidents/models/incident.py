"""Incidents, their timeline, roles and review."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from incidents.data import IncidentRole, IncidentStatus, Severity, TimelineKind
from incidents.models.choices import choices_of


class Incident(models.Model):
    """Something that needs people now. While it is open, further alerts of its service and route join it."""

    title = models.CharField(max_length=200)
    severity = models.CharField(max_length=8, choices=choices_of(Severity), default=Severity.SEV3)
    status = models.CharField(max_length=16, choices=choices_of(IncidentStatus), default=IncidentStatus.TRIGGERED)
    grouping_key = models.CharField(
        max_length=140, help_text="Service and route, or something unique when declared by a person."
    )
    route_name = models.CharField(max_length=63, blank=True, default="")
    team = models.ForeignKey("accounts.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="incidents")
    services = models.ManyToManyField("catalog.Service", related_name="incidents", blank=True)
    caused_by = models.CharField(max_length=120, blank=True, default="")
    runbook_slug = models.CharField(max_length=120, blank=True, default="")
    declared_by = models.CharField(max_length=80)
    impact_started_at = models.DateTimeField()
    detected_at = models.DateTimeField()
    triggered_at = models.DateTimeField()
    first_notified_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="acknowledged_incidents"
    )
    mitigated_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=80, blank=True, default="")
    merged_into = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="merged",
        help_text="What it turned out to be.",
    )
    detected_by = models.CharField(max_length=80, blank=True, default="", help_text="`alert:prometheus`, or person.")
    engaged_at = models.DateTimeField(null=True, blank=True, help_text="A person first did something about it.")
    aware_at = models.DateTimeField(
        null=True, blank=True, help_text="Known from then on to be one that an authority must be told of."
    )
    authority_notified_at = models.DateTimeField(null=True, blank=True)
    targets = models.JSONField(default=dict, blank=True, help_text="The targets as they stood when it was opened.")
    quiet_since = models.DateTimeField(
        null=True, blank=True, help_text="All of its alerts have been resolved since then."
    )
    quiet_period = models.DurationField(
        null=True, blank=True, help_text="Resolved by itself after this quiet time; empty: a person resolves it."
    )

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("grouping_key",),
                condition=~Q(status="resolved"),
                name="one_open_incident_per_service_and_route",
            ),
            models.CheckConstraint(
                condition=Q(status="resolved", resolved_at__isnull=False)
                | (~Q(status="resolved") & Q(resolved_at__isnull=True)),
                name="resolved_incident_says_when",
            ),
        )
        indexes = (
            models.Index(fields=("status", "-id"), name="incident_by_status"),
            models.Index(fields=("triggered_at",), name="incident_by_opening"),
            # Earlier incidents of the same service and route.
            models.Index(fields=("grouping_key", "-id"), name="incident_by_grouping"),
            # What is stored about a person, and an erasure, look for who did something.
            models.Index(fields=("declared_by",), name="incident_by_opener"),
            models.Index(fields=("resolved_by",), name="incident_by_resolver"),
        )

    def __str__(self) -> str:
        return f"{self.reference} {self.title}"

    @property
    def reference(self) -> str:
        """The name people use: `INC-3`."""
        return f"INC-{self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether it still needs people."""
        return self.status != IncidentStatus.RESOLVED


class RoleAssignment(models.Model):
    """Who holds a role in an incident; at most one person leads, writes or informs."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="roles")
    role = models.CharField(max_length=16, choices=choices_of(IncidentRole))
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="incident_roles")
    assigned_at = models.DateTimeField()
    assigned_by = models.CharField(max_length=80)

    class Meta:
        ordering = ("incident_id", "pk")
        constraints = (
            models.UniqueConstraint(fields=("incident", "role", "user"), name="one_row_per_incident_role_and_person"),
            models.UniqueConstraint(
                fields=("incident", "role"),
                condition=~Q(role="responder"),
                name="one_holder_per_incident_role",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user} is {self.role}"


class TimelineEntry(models.Model):
    """Something that happened in an incident. The source key says what was written about, so nothing appears twice."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="timeline")
    at = models.DateTimeField()
    recorded_at = models.DateTimeField()
    kind = models.CharField(max_length=16, choices=choices_of(TimelineKind))
    text = models.TextField()
    link = models.CharField(max_length=500, blank=True, default="")
    actor = models.CharField(max_length=80)
    actor_label = models.CharField(max_length=160)
    source_key = models.CharField(max_length=255)
    corrects = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="corrections",
        help_text="The entry that this one puts right; that one stays as it was written.",
    )

    class Meta:
        ordering = ("at", "pk")
        verbose_name_plural = "timeline entries"
        constraints = (
            models.UniqueConstraint(fields=("incident", "source_key"), name="one_timeline_entry_per_source"),
        )
        indexes = (models.Index(fields=("actor",), name="timeline_by_actor"),)

    def __str__(self) -> str:
        return f"{self.at:%H:%M} {self.text[:60]}"


class Review(models.Model):
    """What was learned: drafted from the timeline when an incident is resolved, finished and approved by people."""

    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        IN_REVIEW = "in-review", "in review"
        APPROVED = "approved", "approved"

    incident = models.OneToOneField(Incident, on_delete=models.CASCADE, related_name="review")
    state = models.CharField(max_length=16, choices=State.choices, default=State.DRAFT)
    summary = models.TextField(blank=True, default="")
    impact = models.TextField(blank=True, default="")
    contributing_factors = models.TextField(blank=True, default="")
    detection = models.TextField(blank=True, default="")
    went_well = models.TextField(blank=True, default="")
    went_poorly = models.TextField(blank=True, default="")
    lessons = models.TextField(blank=True, default="")
    external_message = models.TextField(blank=True, default="")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="owned_reviews"
    )
    due_on = models.DateField(null=True, blank=True)
    drafted = models.JSONField(help_text="Timeline, measures and participants as they were when it was drafted.")
    drafted_at = models.DateTimeField()
    edited_at = models.DateTimeField(null=True, blank=True)
    edited_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="edited_reviews"
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="approved_reviews"
    )

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"Review of {self.incident.reference}"


class ReviewTask(models.Model):
    """Something that a review of this severity needs; a review moves on because its tasks are settled."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        DONE = "done", "done"
        SKIPPED = "skipped", "skipped"

    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="tasks")
    key = models.CharField(max_length=40)
    title = models.CharField(max_length=120)
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    reason = models.CharField(max_length=200, blank=True, default="", help_text="Why it was not needed.")
    settled_by = models.CharField(max_length=160, blank=True, default="")
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("pk",)
        constraints = (models.UniqueConstraint(fields=("review", "key"), name="one_review_task_per_key"),)

    def __str__(self) -> str:
        return f"{self.title}: {self.state}"


class FollowUp(models.Model):
    """What a review knows of an action item beyond the catalogue: kind, a ticket elsewhere, an accepted risk."""

    class Kind(models.TextChoices):
        PREVENT = "prevent", "prevent"
        DETECT = "detect", "detect"
        MITIGATE = "mitigate", "mitigate"
        PROCESS = "process", "process"

    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="follow_ups")
    source_key = models.CharField(max_length=160, unique=True, help_text="Of the catalogue's action item.")
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.PREVENT)
    external_url = models.CharField(max_length=300, blank=True, default="")
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.CharField(max_length=160, blank=True, default="")
    accepted_reason = models.CharField(max_length=200, blank=True, default="")
    accepted_until = models.DateField(null=True, blank=True, help_text="Then it is open again.")

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.source_key

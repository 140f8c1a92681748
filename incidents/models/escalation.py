"""Escalation policies and their runs."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q

from core.leases import LeasedModel
from delivery.data import Channel
from incidents.data import EscalationState
from incidents.models.choices import choices_of
from incidents.models.oncall import Schedule


class EscalationPolicy(models.Model):
    """Whom to page, in which order, how often around."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    team = models.ForeignKey(
        "accounts.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="escalation_policies"
    )
    repeat = models.PositiveSmallIntegerField(default=1, help_text="Times all steps are gone through.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)
        verbose_name_plural = "escalation policies"

    def __str__(self) -> str:
        return self.name


class EscalationStep(models.Model):
    """One step: page whoever is on call in a schedule, or one person, then wait before the next step."""

    policy = models.ForeignKey(EscalationPolicy, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    schedule = models.ForeignKey(Schedule, null=True, blank=True, on_delete=models.PROTECT, related_name="steps")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="escalation_steps"
    )
    wait = models.DurationField(default=timedelta(minutes=5), help_text="Time to acknowledge before the next step.")
    conditions = models.JSONField(default=dict, blank=True, help_text="When the step pages whom; empty: always.")
    round_robin = models.BooleanField(default=False, help_text="Page one of those on call, another one each time.")

    class Meta:
        ordering = ("policy_id", "position")
        constraints = (
            models.UniqueConstraint(fields=("policy", "position"), name="one_escalation_step_per_position"),
            models.CheckConstraint(
                condition=Q(schedule__isnull=True, user__isnull=False) | Q(schedule__isnull=False, user__isnull=True),
                name="escalation_step_has_one_target",
                violation_error_message="A step pages a schedule or a person, not both.",
            ),
        )

    def __str__(self) -> str:
        return f"step {self.position} of {self.policy_id}"


class EscalationRun(LeasedModel):
    """A policy at work on one incident, from a snapshot: editing the policy does not disturb it."""

    incident = models.ForeignKey("incidents.Incident", on_delete=models.CASCADE, related_name="escalations")
    policy = models.ForeignKey(EscalationPolicy, null=True, on_delete=models.SET_NULL, related_name="runs")
    snapshot = models.JSONField()
    state = models.CharField(max_length=16, choices=choices_of(EscalationState), default=EscalationState.RUNNING)
    loop = models.PositiveSmallIntegerField(default=0)
    step = models.PositiveSmallIntegerField(default=0, help_text="The next step to take.")
    people_paged = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True)
    exhausted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(fields=("incident", "policy"), name="one_escalation_per_incident_and_policy"),
        )
        indexes = (
            models.Index(
                fields=("due_at",),
                name="due_escalation",
                condition=Q(finished_at__isnull=True, dead_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"escalation {self.pk} of incident {self.incident_id}: {self.state}"


class ContactMethod(models.Model):
    """A way to reach a person, as they set it up themselves: by mail, chat, text or call."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="contact_methods")
    channel = models.CharField(max_length=16, choices=choices_of(Channel))
    address = models.CharField(max_length=320)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("user_id", "pk")
        constraints = (
            models.UniqueConstraint(fields=("user", "channel", "address"), name="one_contact_method_per_address"),
        )

    def __str__(self) -> str:
        return f"{self.channel} to {self.address}"


class NotificationRule(models.Model):
    """When one's own page goes out by a contact method: at once, or after a while unless somebody has acknowledged."""

    method = models.ForeignKey(ContactMethod, on_delete=models.CASCADE, related_name="rules")
    delay = models.DurationField(default=timedelta(0))
    severities = models.JSONField(default=list, blank=True, help_text="Empty: every severity.")

    class Meta:
        ordering = ("delay", "pk")
        constraints = (models.UniqueConstraint(fields=("method", "delay"), name="one_rule_per_method_and_delay"),)

    def __str__(self) -> str:
        return f"{self.method} after {self.delay}"


class Page(models.Model):
    """One person paged by one step of one round, and why; in a storm it is folded into a digest instead of sent."""

    run = models.ForeignKey(EscalationRun, on_delete=models.CASCADE, related_name="pages")
    incident = models.ForeignKey("incidents.Incident", on_delete=models.CASCADE, related_name="pages")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="pages")
    step = models.PositiveSmallIntegerField()
    loop = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    why = models.CharField(max_length=500)
    folded = models.BooleanField(default=False)
    digest_key = models.CharField(max_length=120, blank=True, default="", help_text="The digest that named it.")

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("run", "step", "loop", "user"), name="one_page_per_step_round_and_person"),
        )
        indexes = (
            models.Index(fields=("user", "at"), name="page_by_person"),
            models.Index(fields=("user",), name="page_to_digest", condition=Q(folded=True, digest_key="")),
        )

    def __str__(self) -> str:
        return f"page of {self.user_id} for incident {self.incident_id}"

    @property
    def key(self) -> str:
        """What its deliveries' keys begin with."""
        return f"escalation:{self.run_id}:{self.step}:{self.loop}:{self.user_id}"

"""What people agree on while they work: tasks, how long things may take, and what the outside is told."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from delivery.data import Channel
from incidents.data import PublicState
from incidents.models.choices import choices_of
from incidents.models.incident import Incident


class IncidentTask(models.Model):
    """Something that somebody does while an incident is open."""

    class State(models.TextChoices):
        OPEN = "open", "open"
        DONE = "done", "done"
        DROPPED = "dropped", "dropped"

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="tasks")
    title = models.CharField(max_length=300)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="incident_tasks"
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=160)
    settled_at = models.DateTimeField(null=True, blank=True)
    settled_by = models.CharField(max_length=160, blank=True, default="")

    class Meta:
        ordering = ("incident_id", "pk")

    def __str__(self) -> str:
        return f"{self.title}: {self.state}"


class IncidentTargets(models.Model):
    """How long things may take, by severity; of one team, or of all. An incident keeps those it was opened under."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    team = models.OneToOneField(
        "accounts.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="incident_targets"
    )
    document = models.JSONField(help_text="Severities, calendar and the reasons for which clocks may stand still.")

    class Meta:
        ordering = ("slug",)
        verbose_name_plural = "incident targets"

    def __str__(self) -> str:
        return self.name


class ClockPause(models.Model):
    """A time in which an incident's clocks stand still, because others are waited for."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="pauses")
    reason = models.CharField(max_length=40)
    note = models.CharField(max_length=200, blank=True, default="")
    started_at = models.DateTimeField()
    started_by = models.CharField(max_length=160)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=160, blank=True, default="")

    class Meta:
        ordering = ("incident_id", "started_at")
        constraints = (
            models.UniqueConstraint(
                fields=("incident",), condition=Q(ended_at__isnull=True), name="one_pause_at_a_time"
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")), name="pause_ends_after_it_starts"
            ),
        )

    def __str__(self) -> str:
        return f"clocks of {self.incident_id} stand still: {self.reason}"


class StatusPage(models.Model):
    """What others are told of services: the whole world, or those who sign in."""

    class Visibility(models.TextChoices):
        INTERNAL = "internal", "internal"
        PUBLIC = "public", "public"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    intro = models.CharField(max_length=300, blank=True, default="")
    visibility = models.CharField(max_length=8, choices=Visibility.choices, default=Visibility.INTERNAL)
    team = models.ForeignKey("accounts.Team", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    services = models.ManyToManyField("catalog.Service", related_name="status_pages", blank=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class StatusUpdate(models.Model):
    """What a page said about an incident, and when. Written by a person; nothing appears outside by itself."""

    page = models.ForeignKey(StatusPage, on_delete=models.CASCADE, related_name="updates")
    incident = models.ForeignKey(Incident, on_delete=models.PROTECT, related_name="status_updates")
    state = models.CharField(max_length=16, choices=choices_of(PublicState))
    title = models.CharField(max_length=200, help_text="What it is called outside.")
    text = models.TextField()
    at = models.DateTimeField()
    by = models.CharField(max_length=160)

    class Meta:
        ordering = ("-at", "-pk")
        indexes = (models.Index(fields=("page", "-at"), name="status_update_by_page"),)

    def __str__(self) -> str:
        return f"{self.page_id}: {self.state} {self.title}"


class StatusSubscription(models.Model):
    """An address that gets a page's updates once it has confirmed that it wants them."""

    page = models.ForeignKey(StatusPage, on_delete=models.CASCADE, related_name="subscriptions")
    channel = models.CharField(
        max_length=16, choices=[(Channel.EMAIL.value, "mail"), (Channel.WEBHOOK.value, "webhook")]
    )
    address = models.CharField(max_length=320)
    token = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField()
    asked_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("page", "channel", "address"), name="one_subscription_per_address"),
        )

    def __str__(self) -> str:
        return f"{self.channel} {self.address} to {self.page_id}"

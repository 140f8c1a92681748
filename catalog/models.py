"""What the organization runs, who owns it, what happens to it, and what is left to do."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from catalog.data import ActionItemState, ActivityKind


class Region(models.Model):
    """A place where services run and data stays."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    residency = models.CharField(max_length=120, blank=True, help_text="Where data must stay, as `EU`.")

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class Environment(models.Model):
    """A stage that services are deployed to. Chaos is refused unless an environment allows it."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    chaos_allowed = models.BooleanField(default=False)
    production = models.BooleanField(default=False)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class Service(models.Model):
    """Something that is run for others and can keep or break a promise."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    team = models.ForeignKey("accounts.Team", on_delete=models.PROTECT, null=True, blank=True, related_name="services")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="services")
    region = models.ForeignKey(Region, on_delete=models.PROTECT, null=True, blank=True, related_name="services")
    tier = models.PositiveSmallIntegerField(
        default=3,
        validators=[MinValueValidator(1), MaxValueValidator(4)],
        help_text="1: the business stops without it.",
    )
    lifecycle = models.CharField(max_length=40, default="production")
    rto = models.DurationField(null=True, blank=True, help_text="Promised recovery time.")
    rpo = models.DurationField(null=True, blank=True, help_text="Promised recovery point.")
    url = models.URLField(blank=True)
    providers = models.ManyToManyField(
        "self",
        through="Dependency",
        through_fields=("consumer", "provider"),
        symmetrical=False,
        related_name="consumers",
    )

    class Meta:
        ordering = ("tier", "slug")
        constraints = (models.CheckConstraint(condition=Q(tier__range=(1, 4)), name="service_tier_is_1_to_4"),)

    def __str__(self) -> str:
        return self.name


class Dependency(models.Model):
    """One service needs another."""

    consumer = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="needs")
    provider = models.ForeignKey(Service, on_delete=models.CASCADE, related_name="needed_by")

    class Meta:
        ordering = ("consumer_id", "provider_id")
        verbose_name_plural = "dependencies"
        constraints = (
            models.UniqueConstraint(fields=("consumer", "provider"), name="one_dependency_per_pair"),
            models.CheckConstraint(
                condition=~Q(consumer=F("provider")),
                name="no_service_needs_itself",
                violation_error_message="A service cannot depend on itself.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.consumer} needs {self.provider}"


class Deployment(models.Model):
    """A change that reached an environment, with its change record."""

    reference = models.CharField(max_length=120, unique=True, help_text="The sender's id: a repeat changes nothing.")
    service = models.ForeignKey(Service, on_delete=models.PROTECT, related_name="deployments")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="deployments")
    commit = models.CharField(max_length=64, blank=True)
    ticket = models.CharField(max_length=120, blank=True)
    author = models.CharField(max_length=120)
    approver = models.CharField(max_length=120, blank=True)
    emergency = models.BooleanField(default=False)
    tests_passed = models.BooleanField(null=True, blank=True, help_text="Empty: not known.")
    result = models.CharField(max_length=40, default="succeeded")
    committed_at = models.DateTimeField(null=True, blank=True, help_text="When its oldest change was committed.")
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-started_at",)

    def __str__(self) -> str:
        return f"{self.service} {self.reference}"


class Activity(models.Model):
    """An interval in which something happened to services; its owner writes it, every time axis reads it."""

    kind = models.CharField(max_length=20, choices=ActivityKind.choices)
    source_key = models.CharField(
        max_length=160, unique=True, help_text="What it is in its own room, as `incident:INC-3`."
    )
    title = models.CharField(max_length=200)
    url = models.CharField(max_length=300, blank=True)
    services = models.ManyToManyField(Service, related_name="activities", blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-started_at",)
        verbose_name_plural = "activities"
        indexes = (models.Index(fields=("kind", "started_at"), name="activity_by_kind"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True) | Q(ended_at__gte=F("started_at")),
                name="activity_ends_after_it_starts",
            ),
        )

    def __str__(self) -> str:
        return self.title


class ActionItem(models.Model):
    """Something left to do: from a review, a finding, a risk or a chaos run."""

    source_key = models.CharField(max_length=160, unique=True)
    title = models.CharField(max_length=300)
    service = models.ForeignKey(Service, on_delete=models.SET_NULL, null=True, blank=True, related_name="action_items")
    owner = models.CharField(max_length=150, blank=True, help_text="User name.")
    state = models.CharField(max_length=10, choices=ActionItemState.choices, default=ActionItemState.OPEN)
    due_on = models.DateField(null=True, blank=True)
    url = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("state", "due_on", "pk")

    def __str__(self) -> str:
        return self.title

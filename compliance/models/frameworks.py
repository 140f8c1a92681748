"""Frameworks as data: what somebody may ask for."""

from django.db import models
from django.urls import reverse


class Framework(models.Model):
    """A set of requirements that somebody may ask about. Titles are this project's own words."""

    class Source(models.TextChoices):
        PACKAGED = "packaged", "Comes with the site"
        IMPORTED = "imported", "Imported from OSCAL"

    slug = models.SlugField(max_length=63, unique=True)
    source = models.CharField(max_length=10, choices=Source.choices, default=Source.PACKAGED)
    name = models.CharField(max_length=120)
    edition = models.CharField(max_length=60, blank=True)
    version = models.PositiveIntegerField(default=1, help_text="Rises whenever the loaded content changes.")
    content_sha256 = models.CharField(max_length=64)
    position = models.PositiveSmallIntegerField(default=0)
    loaded_at = models.DateTimeField()

    class Meta:
        ordering = ("position", "slug")

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the framework's page."""
        return reverse("compliance:framework_detail", args=(self.slug,))


class Requirement(models.Model):
    """One thing that a framework asks for, by its identifier and a title in this project's own words."""

    framework = models.ForeignKey(Framework, on_delete=models.CASCADE, related_name="requirements")
    ref = models.CharField(max_length=40)
    slug = models.SlugField(max_length=60)
    label = models.CharField(max_length=160)
    category = models.CharField(max_length=20)
    level = models.CharField(max_length=12, help_text="What operations can prove: direct, supporting or manual.")
    direct = models.JSONField(default=list, help_text="Evidence types that prove it by themselves.")
    supporting = models.JSONField(default=list, help_text="Evidence types that corroborate.")
    position = models.PositiveIntegerField()
    control_id = models.CharField(max_length=80, blank=True, help_text="Its id in OSCAL, where it was imported.")
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("framework", "position")
        constraints = (
            models.UniqueConstraint(fields=("framework", "ref"), name="one_requirement_per_ref"),
            models.UniqueConstraint(fields=("framework", "slug"), name="one_requirement_per_slug"),
        )

    def __str__(self) -> str:
        return f"{self.ref} {self.label}"

    def get_absolute_url(self) -> str:
        """Return the requirement's page."""
        return reverse("compliance:requirement_detail", args=(self.framework.slug, self.slug))


class FrameworkVersion(models.Model):
    """A framework's content as it was loaded, and what that changed; versions are only ever added."""

    framework = models.ForeignKey(Framework, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    edition = models.CharField(max_length=60, blank=True)
    content_sha256 = models.CharField(max_length=64)
    requirements = models.PositiveIntegerField()
    added = models.JSONField(default=list)
    retired = models.JSONField(default=list)
    changed = models.JSONField(default=list)
    loaded_at = models.DateTimeField()
    loaded_by = models.CharField(max_length=120)

    class Meta:
        ordering = ("framework", "-number")
        constraints = (
            models.UniqueConstraint(fields=("framework", "number"), name="one_framework_version_per_number"),
        )

    def __str__(self) -> str:
        return f"{self.framework} v{self.number}"


class RequirementText(models.Model):
    """A standard's own text, which this site's owner has a licence for. Shown to its readers, in no export ever."""

    requirement = models.OneToOneField(Requirement, on_delete=models.CASCADE, related_name="licensed_text")
    text = models.TextField()
    source = models.CharField(max_length=200)
    loaded_at = models.DateTimeField()

    class Meta:
        ordering = ("requirement",)

    def __str__(self) -> str:
        return f"text of {self.requirement}"

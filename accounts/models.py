"""People, teams, and the roles they hold."""

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

from accounts.domain.permissions import Role

ROLE_CHOICES = [(role.value, role.value.replace("-", " ")) for role in Role]


class User(AbstractUser):
    """A person who signs in."""

    time_zone = models.CharField(max_length=64, default="UTC", help_text="IANA name; times are shown in it.")

    class Meta:
        ordering = ("username",)

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class Team(models.Model):
    """A group of people that owns services and that roles can be held for."""

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    members = models.ManyToManyField(User, related_name="teams", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name


class RoleGrant(models.Model):
    """A role that a person holds, for the whole site or for one team's things."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="grants")
    role = models.CharField(max_length=32, choices=ROLE_CHOICES)
    team = models.ForeignKey(
        Team,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="grants",
        help_text="Empty: the whole site.",
    )
    granted_by = models.CharField(max_length=80)
    granted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("user_id", "role", "team_id")
        constraints = (
            models.UniqueConstraint(fields=("user", "role", "team"), name="one_grant_per_role_and_team"),
            models.UniqueConstraint(
                fields=("user", "role"),
                condition=Q(team__isnull=True),
                name="one_site_wide_grant_per_role",
                violation_error_message="This person holds this role for the whole site already.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.user}: {self.role} ({self.team or 'site'})"


class ApiToken(models.Model):
    """A key for machines: acts for its owner within its scopes until it expires. Only its SHA-256 is kept."""

    name = models.CharField(max_length=120)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=12, help_text="The first characters, to tell tokens apart.")
    scopes = models.JSONField(default=list, help_text="Capabilities that the token may use, of those its owner has.")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at",)

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"


class SignInFailure(models.Model):
    """A sign-in that failed; too many of them in a while lock the name and the address out for the rest of it."""

    username = models.CharField(max_length=150)
    address = models.CharField(max_length=64)
    failed_at = models.DateTimeField()

    class Meta:
        ordering = ("-failed_at",)
        indexes = (
            models.Index(fields=("username", "failed_at"), name="failures_by_name"),
            models.Index(fields=("address", "failed_at"), name="failures_by_address"),
        )

    def __str__(self) -> str:
        return f"{self.username} from {self.address}"

"""People, teams, and the roles they hold."""

import uuid

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q

from accounts.domain.permissions import Role
from accounts.domain.providers import ProviderKind
from core.fields import EncryptedTextField

ROLE_CHOICES = [(role.value, role.value.replace("-", " ")) for role in Role]


class User(AbstractUser):
    """A person who signs in."""

    time_zone = models.CharField(max_length=64, default="UTC", help_text="IANA name; times are shown in it.")
    is_break_glass = models.BooleanField(
        default=False, help_text="For emergencies: signs in with a local password whatever else holds, and alarms."
    )

    left_at = models.DateTimeField(null=True, blank=True, help_text="When the account was closed.")

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
    source = models.CharField(
        max_length=80, blank=True, default="", help_text="Empty: given by hand. `provider:NAME`: comes with its groups."
    )

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


class IdentityProvider(models.Model):
    """Who else says who somebody is: an OpenID Connect or SAML provider, a directory, or a SCIM client."""

    class State(models.TextChoices):
        """Whether people may sign in by it."""

        ACTIVE = "active"
        PAUSED = "paused"

    slug = models.SlugField(max_length=63, unique=True)
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=8, choices=[(kind.value, kind.value) for kind in ProviderKind])
    state = models.CharField(max_length=8, choices=State.choices, default=State.ACTIVE)
    configuration = models.JSONField(default=dict)
    secret = EncryptedTextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    last_success_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=500, blank=True, default="")
    last_error_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("slug",)

    def __str__(self) -> str:
        return self.name

    @property
    def source(self) -> str:
        """What grants that come from here are marked with."""
        return f"provider:{self.slug}"


class ProviderKey(models.Model):
    """A key of this site towards one provider: signs what is said to it, opens what it encrypts."""

    class State(models.TextChoices):
        """Where the key is in its life; the metadata name the next and the current one."""

        NEXT = "next"
        CURRENT = "current"
        OLD = "old"

    provider = models.ForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="keys")
    state = models.CharField(max_length=8, choices=State.choices)
    private_key = EncryptedTextField()
    certificate = models.TextField(help_text="DER in base64.")
    made_at = models.DateTimeField()

    class Meta:
        ordering = ("provider_id", "-made_at", "-pk")
        constraints = (models.UniqueConstraint(fields=("provider", "state"), name="one_provider_key_per_state"),)

    def __str__(self) -> str:
        return f"{self.state} key for {self.provider}"


class GroupMapping(models.Model):
    """Who is in a provider's group is a member of a team, holds a role for it, or for the whole site."""

    provider = models.ForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="mappings")
    group = models.CharField(max_length=255)
    role = models.CharField(max_length=32, choices=ROLE_CHOICES, blank=True, default="")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, blank=True, related_name="mappings")

    class Meta:
        ordering = ("provider_id", "group", "role", "team_id")
        constraints = (
            models.CheckConstraint(
                condition=~Q(role="") | Q(team__isnull=False),
                name="mapping_gives_something",
                violation_error_message="Choose a role, a team, or both.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.group} → {self.role or 'member'} ({self.team or 'site'})"


class ProvidedIdentity(models.Model):
    """Somebody as a provider knows them, with the groups that it told of last."""

    provider = models.ForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="identities")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="identities")
    subject = models.CharField(max_length=255, help_text="The provider's own name for the person; never changes.")
    groups = models.JSONField(default=list)
    told_at = models.DateTimeField()

    class Meta:
        ordering = ("provider_id", "subject")
        constraints = (
            models.UniqueConstraint(fields=("provider", "subject"), name="one_person_per_subject"),
            models.UniqueConstraint(fields=("provider", "user"), name="one_identity_per_person_and_provider"),
        )

    def __str__(self) -> str:
        return f"{self.user} at {self.provider}"


class ProvidedMembership(models.Model):
    """A membership of a team that came with a provider's group, and goes with it."""

    provider = models.ForeignKey(IdentityProvider, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="provided_memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="provided_memberships")

    class Meta:
        ordering = ("provider_id", "team_id", "user_id")
        constraints = (models.UniqueConstraint(fields=("provider", "user", "team"), name="one_provided_membership"),)

    def __str__(self) -> str:
        return f"{self.user} in {self.team} by {self.provider}"


class DirectoryGroup(models.Model):
    """A group that a SCIM client keeps here; its name is what mappings look for."""

    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    display_name = models.CharField(max_length=255, unique=True)
    external_id = models.CharField(max_length=255, blank=True, default="")
    members = models.ManyToManyField(User, related_name="directory_groups", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("display_name",)

    def __str__(self) -> str:
        return self.display_name


class SignInPolicy(models.Model):
    """How people sign in here; one row for the site."""

    class LocalSignIn(models.TextChoices):
        """Who may sign in with a password kept here."""

        EVERYBODY = "everybody"
        BREAK_GLASS = "break-glass"

    second_factor_roles = models.JSONField(default=list, help_text="Who holds one of these needs a second factor.")
    local_sign_in = models.CharField(
        max_length=12, choices=LocalSignIn.choices, default=LocalSignIn.EVERYBODY, help_text="Passwords kept here."
    )
    idle_minutes = models.PositiveIntegerField(default=240)
    life_hours = models.PositiveIntegerField(default=12)
    fresh_minutes = models.PositiveIntegerField(default=15)

    class Meta:
        ordering = ("pk",)
        constraints = (models.CheckConstraint(condition=Q(pk=1), name="one_sign_in_policy"),)

    def __str__(self) -> str:
        return "The rules of signing in"


class SignInSession(models.Model):
    """A browser that somebody is or was signed in with."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="sign_in_sessions")
    session_key = models.CharField(max_length=40, unique=True)
    method = models.CharField(max_length=120, blank=True, default="", help_text="password, passkey, provider:NAME …")
    address = models.CharField(max_length=64, blank=True, default="")
    agent = models.CharField(max_length=300, blank=True, default="")
    signed_in_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_why = models.CharField(max_length=40, blank=True, default="")
    name_id = models.CharField(
        max_length=512, blank=True, default="", help_text="The provider's name for the person, to end it there too."
    )
    name_id_told = models.JSONField(default=dict, help_text="The name's format and qualifiers, as the provider said.")
    session_index = models.CharField(max_length=255, blank=True, default="", help_text="The provider's own session.")

    class Meta:
        ordering = ("-seen_at", "-pk")
        indexes = (
            models.Index(fields=("user",), name="open_sessions_by_user", condition=Q(ended_at__isnull=True)),
            models.Index(fields=("name_id",), name="open_sessions_by_name", condition=Q(ended_at__isnull=True)),
        )

    def __str__(self) -> str:
        return f"{self.user} since {self.signed_in_at:%Y-%m-%d %H:%M}"

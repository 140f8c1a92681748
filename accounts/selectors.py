"""Reads about people and their rights."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from allauth.mfa.models import Authenticator
from django.db import connection
from django.db.models import Count, Max, Q, QuerySet

from accounts.data import Capability, Principal, PrincipalKind, ProviderKind
from accounts.domain.certificates import Certificate, certificate_bodies, read_certificate
from accounts.domain.groups import Mapping
from accounts.domain.lockouts import LOCKOUT_WINDOW, LockOut, counted_name, lock_outs
from accounts.domain.permissions import ROLE_CAPABILITIES, Role, roles_allow
from accounts.domain.sessions import SessionRules
from accounts.models import (
    ApiToken,
    GroupMapping,
    IdentityProvider,
    ProvidedIdentity,
    ProviderKey,
    RoleGrant,
    SignInFailure,
    SignInPolicy,
    SignInSession,
    Team,
    User,
)
from core.clock import database_now

MOST_FAILURES = 20_000
LAST_USED_RESOLUTION = timedelta(minutes=1)


@dataclass(frozen=True)
class TokenStanding:
    """A live token: whether it may do what was asked, and whether its use was noted within the last minute."""

    pk: int
    name: str
    may: bool
    used_lately: bool


def principal_for_user(*, user: User, authenticated_at: datetime | None = None) -> Principal:
    """Return what a signed-in person may do, read in one query. An inactive person may do nothing."""
    site: set[Role] = set()
    teams: dict[int, set[Role]] = defaultdict(set)
    if user.is_active:
        for grant in RoleGrant.objects.filter(user=user).only("role", "team_id"):
            if grant.team_id is None:
                site.add(Role(grant.role))
            else:
                teams[grant.team_id].add(Role(grant.role))
    return Principal(
        kind=PrincipalKind.USER,
        label=str(user),
        user_id=user.pk,
        site_roles=frozenset(site),
        team_roles={team: frozenset(roles) for team, roles in teams.items()},
        authenticated_at=authenticated_at,
    )


def sign_in_policy() -> SignInPolicy:
    """Return the rules of signing in; the defaults until somebody changes them."""
    return SignInPolicy.objects.filter(pk=1).first() or SignInPolicy(pk=1)


def session_rules() -> SessionRules:
    """Return how long sign-ins last."""
    policy = sign_in_policy()
    return SessionRules(
        idle=timedelta(minutes=policy.idle_minutes),
        life=timedelta(hours=policy.life_hours),
        fresh=timedelta(minutes=policy.fresh_minutes),
    )


def token_digest(secret: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def live_token(*, secret: str, now: datetime) -> ApiToken | None:
    """Return the token of this secret if it is neither expired nor revoked and its owner is active."""
    return (
        ApiToken.objects.select_related("owner")
        .filter(digest=token_digest(secret), revoked_at__isnull=True, expires_at__gt=now, owner__is_active=True)
        .first()
    )


def principal_for_token(*, token: ApiToken) -> Principal:
    """Return what a token may do: what its owner may, within its scopes."""
    owner = principal_for_user(user=token.owner)
    return Principal(
        kind=PrincipalKind.TOKEN,
        label=f"{owner.label} by token {token.name}",
        user_id=owner.user_id,
        token_id=token.pk,
        site_roles=owner.site_roles,
        team_roles=owner.team_roles,
        scopes=frozenset(Capability(scope) for scope in token.scopes),
    )


def user_by_username(*, username: str) -> User | None:
    """Return an active person."""
    return User.objects.filter(username=username, is_active=True).first()


def name_of(reference: str) -> str:
    """Return who a reference means, in words: "user:3" by name, "system:alert-router" as "Assay (alert router)"."""
    kind, _, key = reference.partition(":")
    if kind == "system" and key:
        return f"Assay ({key.replace('-', ' ')})"
    number = int(key) if key.isdecimal() else 0
    if kind == "user" and number:
        user = User.objects.filter(pk=number).first()
        return str(user) if user else reference
    if kind == "token" and number:
        token = ApiToken.objects.select_related("owner").filter(pk=number).first()
        return f"{token.owner} by the token {token.name}" if token else reference
    return reference


def names_of_references(references: Iterable[str]) -> dict[str, str]:
    """Return who each reference means, in words, in two queries for any number of them; see `name_of`."""
    keys: dict[str, set[int]] = {"user": set(), "token": set()}
    names: dict[str, str] = {}
    for reference in references:
        kind, _, key = reference.partition(":")
        if kind in keys and key.isdecimal() and len(key) < 18:
            keys[kind].add(int(key))
        names[reference] = f"Assay ({key.replace('-', ' ')})" if kind == "system" and key else reference
    people_found = User.objects.filter(pk__in=keys["user"]) if keys["user"] else ()
    tokens = ApiToken.objects.select_related("owner").filter(pk__in=keys["token"]) if keys["token"] else ()
    known = {f"user:{user.pk}": str(user) for user in people_found}
    known |= {f"token:{token.pk}": f"{token.owner} by the token {token.name}" for token in tokens}
    return {reference: known.get(reference, name) for reference, name in names.items()}


def references_of(name: str) -> tuple[str, ...]:
    """Return the references that a person acts under: by user name (`alice`), or a reference itself (`token:3`)."""
    if ":" in name:
        return (name,)
    user = User.objects.filter(username=name).first()
    if user is None:
        return ()
    return (f"user:{user.pk}", *(f"token:{pk}" for pk in user.api_tokens.order_by("pk").values_list("pk", flat=True)))


def is_same_person(principal: Principal, *, reference: str) -> bool:
    """Say whether a reference is the principal's own: as a person, or by any of their tokens.

    Of a token that is no longer kept nobody can tell whose it was: it counts as anybody's own.
    """
    if reference == principal.reference:
        return True
    kind, _, key = reference.partition(":")
    if kind == "token" and principal.user_id is not None:
        owners = ApiToken.objects.filter(pk=int(key) if key.isdecimal() else 0).values_list("owner_id", flat=True)
        return principal.user_id in owners or not owners
    return reference == f"user:{principal.user_id}"


def person_behind(reference: str) -> str:
    """Return the reference of the person who acts under another one: the owner of `token:3`; every other is its own."""
    kind, _, key = reference.partition(":")
    if kind != "token" or not key.isdecimal():
        return reference
    owner = ApiToken.objects.filter(pk=int(key)).values_list("owner_id", flat=True).first()
    return reference if owner is None else f"user:{owner}"


def user_by_id(*, user_id: int) -> User | None:
    """Return an active person."""
    return User.objects.filter(pk=user_id, is_active=True).first()


def names_of(*, principal: Principal) -> set[str]:
    """Return what a person may be called: `user:NAME` and `team:SLUG` of each team; nothing for the site itself."""
    user = User.objects.prefetch_related("teams").filter(pk=principal.user_id or 0).first()
    return {f"user:{user.username}", *(f"team:{team.slug}" for team in user.teams.all())} if user else set()


def people() -> QuerySet[User]:
    """Return everybody, with roles and teams."""
    return User.objects.prefetch_related("grants__team", "teams")


def team_by_slug(*, slug: str) -> Team | None:
    """Return a team."""
    return Team.objects.filter(slug=slug).first()


def teams() -> QuerySet[Team]:
    """Return all teams with their members."""
    return Team.objects.prefetch_related("members")


def users_with(capability: Capability, *, team_id: int | None = None) -> QuerySet[User]:
    """Return active people who may; with `team_id`, also those who may for that team only."""
    roles = [role.value for role, held in ROLE_CAPABILITIES.items() if capability in held]
    scope = Q(grants__team__isnull=True) | (Q(grants__team_id=team_id) if team_id is not None else Q(pk__in=()))
    return User.objects.filter(scope, is_active=True, grants__role__in=roles).distinct()


def tokens_of(*, user_id: int) -> QuerySet[ApiToken]:
    """Return a person's tokens, newest first."""
    return ApiToken.objects.filter(owner_id=user_id)


def tokens_seen_by(*, viewer: Principal) -> QuerySet[ApiToken]:
    """Return the viewer's own tokens, or everybody's for an administrator."""
    tokens = ApiToken.objects.select_related("owner")
    return tokens if viewer.may(Capability.SITE_ADMIN) else tokens.filter(owner_id=viewer.user_id)


def holders_of_roles() -> dict[Role, list[tuple[User, str]]]:
    """Return who holds each role and for what ("the whole site", or a team's name), in one query."""
    grants = RoleGrant.objects.filter(user__is_active=True).select_related("user", "team").order_by("user__username")
    found: dict[Role, list[tuple[User, str]]] = {}
    for grant in grants:
        where = grant.team.name if grant.team is not None else "the whole site"
        found.setdefault(Role(grant.role), []).append((grant.user, where))
    return found


def teams_seen_by(*, viewer: Principal) -> QuerySet[Team]:
    """Return the teams with their members, for whoever sees operations somewhere."""
    return teams() if viewer.may_somewhere(Capability.OPERATIONS_VIEW) else Team.objects.none()


def identity_providers() -> QuerySet[IdentityProvider]:
    """Return all providers of identities with their mappings."""
    return IdentityProvider.objects.prefetch_related("mappings__team")


def active_providers(*, kinds: Iterable[ProviderKind]) -> QuerySet[IdentityProvider]:
    """Return the providers of these kinds that people may sign in by."""
    wanted = [kind.value for kind in kinds]
    return IdentityProvider.objects.filter(state=IdentityProvider.State.ACTIVE, kind__in=wanted)


def provider_by_slug(*, slug: str) -> IdentityProvider | None:
    """Return a provider."""
    return identity_providers().filter(slug=slug).first()


def keys_of(*, provider: IdentityProvider) -> list[tuple[ProviderKey, Certificate]]:
    """Return this site's keys towards a provider with their certificates, the newest first."""
    return [(key, read_certificate(key.certificate)) for key in provider.keys.all()]


def certificates_of(*, provider: IdentityProvider) -> list[Certificate]:
    """Return the certificates that a SAML provider is known to sign with."""
    return [read_certificate(body) for body in certificate_bodies(provider.configuration.get("certificate", ""))]


def mappings_of(*, provider: IdentityProvider) -> list[Mapping]:
    """Return what the provider's groups mean."""
    return [
        Mapping(group=one.group, role=Role(one.role) if one.role else None, team_id=one.team_id)
        for one in GroupMapping.objects.filter(provider=provider)
    ]


def identities_of(*, user: User) -> QuerySet[ProvidedIdentity]:
    """Return as whom the providers know a person."""
    return ProvidedIdentity.objects.select_related("provider").filter(user=user)


def open_sessions(*, user: User) -> QuerySet[SignInSession]:
    """Return the browsers that a person is signed in with, the one seen last first."""
    return SignInSession.objects.filter(user=user, ended_at__isnull=True)


def lately_locked() -> list[tuple[str, int, datetime]]:
    """Return the names with failed sign-ins in the last day: name, how many, the latest."""
    rows = (
        SignInFailure.objects.filter(failed_at__gt=database_now() - timedelta(days=1))
        .values("username")
        .annotate(times=Count("pk"), latest=Max("failed_at"))
        .order_by("-latest")[:50]
    )
    return [(row["username"], row["times"], row["latest"]) for row in rows]


def locked_out(*, now: datetime) -> list[LockOut]:
    """Return the names and addresses that nobody signs in by now, the latest first."""
    recent = SignInFailure.objects.filter(failed_at__gt=now - LOCKOUT_WINDOW).order_by("-failed_at")
    return lock_outs(recent.values_list("username", "address", "failed_at")[:MOST_FAILURES], now=now)


def any_passkey() -> bool:
    """Say whether anybody signs in with a passkey, so that the sign-in page offers it."""
    return bool(Authenticator.objects.filter(type=Authenticator.Type.WEBAUTHN).exists())


def has_second_factor(*, user: User) -> bool:
    """Say whether a person has a second factor that is not only recovery codes."""
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN)
    return bool(Authenticator.objects.filter(user_id=user.pk, type__in=kinds).exists())


def needs_second_factor(*, user: User) -> bool:
    """Say whether a role of the person asks for a second factor."""
    roles = sign_in_policy().second_factor_roles
    return bool(roles) and RoleGrant.objects.filter(user=user, role__in=roles).exists()


def factors_of(*, user: User) -> list[Authenticator]:
    """Return a person's second factors, recovery codes last."""
    held = Authenticator.objects.filter(user_id=user.pk).order_by("created_at", "pk")
    return sorted(held, key=lambda one: one.type == Authenticator.Type.RECOVERY_CODES)


def failures_of(*, username: str) -> int:
    """Return how many failed sign-ins of a name are remembered."""
    return SignInFailure.objects.filter(username=counted_name(username)).count()


def standing_of_token(*, secret: str, capability: Capability, now: datetime) -> TokenStanding | None:
    """Return what `live_token`, `principal_for_token` and `may_somewhere` say together, in one plain statement.

    For receivers that are asked thousands of times a second; None for a secret that opens nothing.
    """
    adapted = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT token.id, token.name, token.scopes, held.role, "
            "token.last_used_at IS NOT NULL AND token.last_used_at > %s "
            "FROM accounts_apitoken AS token JOIN accounts_user AS owner ON owner.id = token.owner_id "
            "LEFT JOIN accounts_rolegrant AS held ON held.user_id = owner.id "
            "WHERE token.digest = %s AND token.revoked_at IS NULL AND token.expires_at > %s AND owner.is_active",
            [adapted(now - LAST_USED_RESOLUTION), token_digest(secret), adapted(now)],
        )
        rows = cursor.fetchall()
    if not rows:
        return None
    pk, name, scopes, _, used_lately = rows[0]
    roles = {Role(role) for *_, role, _ in rows if role is not None}
    scoped = capability.value in (orjson.loads(scopes) if isinstance(scopes, str | bytes) else scopes)
    return TokenStanding(pk, name, may=scoped and roles_allow(roles, capability), used_lately=bool(used_lately))


def left_since(*, usernames: Iterable[str]) -> dict[str, datetime]:
    """Return who of these has left, and when."""
    rows = User.objects.filter(username__in=list(usernames), is_active=False, left_at__isnull=False)
    return {user.username: user.left_at for user in rows if user.left_at is not None}

"""Changes to people and rights, and the one permission check.

Every change is recorded in the ledger in the same transaction.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request

from accounts.data import Capability, Principal
from accounts.domain.permissions import ROLE_CAPABILITIES, Role
from accounts.domain.sessions import is_fresh
from accounts.events import PersonLeft, RightsChanged
from accounts.models import ApiToken, DirectoryGroup, ProvidedMembership, RoleGrant, Team, User
from accounts.selectors import LAST_USED_RESOLUTION, is_same_person, session_rules, token_digest
from accounts.services.sessions import end_every_session, end_sessions_of
from core.clock import database_now
from core.database_trouble import written_if_possible
from core.events import publish
from core.parsing import refuse
from core.proving import SignInAgainError, dangerous, decide_with
from ledger.data.access import AuditedAction
from ledger.services import record

DEFAULT_TOKEN_LIFE = timedelta(days=90)
LONGEST_TOKEN_LIFE = timedelta(days=366)


class LastAdminError(PermissionDenied):
    """The change would leave the site without an administrator."""


def _ask_again(principal: Principal) -> None:
    if principal.authenticated_at is None:
        return
    if not is_fresh(authenticated_at=principal.authenticated_at, now=timezone.now(), rules=session_rules()):
        raise SignInAgainError("This is dangerous enough to ask again who you are: confirm it, then do it once more.")


decide_with(_ask_again)


def ensure_may(principal: Principal, capability: Capability, *, team_id: int | None = None) -> None:
    """Raise PermissionDenied, naming the roles that may, unless the principal may."""
    if not principal.may(capability, team_id=team_id):
        roles = ", ".join(role.value for role, held in ROLE_CAPABILITIES.items() if capability in held)
        raise PermissionDenied(f"{principal.label} may not do this ({capability.value}); allowed for: {roles}.")


def ensure_other_person(principal: Principal, *, requester: str) -> None:
    """Raise PermissionDenied when the principal is who asked (four eyes). A token counts as its owner."""
    if principal.user_id is None or is_same_person(principal, reference=requester):
        raise PermissionDenied("Somebody else than the requester must approve this.")


def principal_of(request: HttpRequest | Request) -> Principal:
    """Return who makes a request, on pages and in the REST API."""
    django_request = request._request if isinstance(request, Request) else request  # noqa: SLF001 DRF's only way
    principal: Principal = django_request.principal  # type: ignore[attr-defined]
    return principal


@dangerous("make an account")
@transaction.atomic
def create_user(
    *,
    principal: Principal,
    username: str,
    password: str | None,
    email: str = "",
    full_name: str = "",
    time_zone: str = "UTC",
) -> User:
    """Create a person without any role. Without a password they cannot sign in."""
    ensure_may(principal, Capability.SITE_ADMIN)
    first, _, last = full_name.partition(" ")
    user = User(username=username, email=email, first_name=first, last_name=last, time_zone=time_zone)
    if password is None:
        user.set_unusable_password()
    else:
        validate_password(password, user)
        user.set_password(password)
    user.full_clean(exclude=["password"])
    user.save()
    audit_person(principal, action="account.created", user=user, after={"email": email})
    return user


@transaction.atomic
def create_team(*, principal: Principal, slug: str, name: str) -> Team:
    """Create a team, or rename the one that has this slug."""
    ensure_may(principal, Capability.CATALOG_EDIT)
    team, created = Team.objects.get_or_create(slug=slug, defaults={"name": name})
    if not created and team.name == name:
        return team
    before = {} if created else {"name": team.name}
    team.name = name
    team.save(update_fields=["name"])
    action = AuditedAction(
        action="team.created" if created else "team.renamed", target=slug, before=before, after={"name": name}
    )
    record(action, actor=principal.reference, subject=f"team:{slug}")
    return team


@transaction.atomic
def set_team_members(*, principal: Principal, team: Team, usernames: Iterable[str]) -> None:
    """Make exactly these people the members of a team. Raises InputRefusedError for an unknown name."""
    ensure_may(principal, Capability.CATALOG_EDIT, team_id=team.pk)
    wanted = set(usernames)
    members = {user.username: user for user in User.objects.filter(username__in=wanted)}
    if missing := sorted(wanted - set(members)):
        raise refuse(f"team {team.slug} members", found=missing[0], allowed="only usernames of this site are allowed")
    before = set(team.members.values_list("username", flat=True))
    if before == wanted:
        return
    team.members.set(members.values())
    record(
        AuditedAction(
            action="team.members_changed",
            target=team.slug,
            before={"members": ", ".join(sorted(before))},
            after={"members": ", ".join(sorted(wanted))},
        ),
        actor=principal.reference,
        subject=f"team:{team.slug}",
    )


@dangerous("give a role")
@transaction.atomic
def grant_role(*, principal: Principal, user: User, role: Role, team: Team | None = None) -> RoleGrant:
    """Give a person a role, for the site or for a team. Granting what they hold changes nothing."""
    ensure_may(principal, Capability.SITE_ADMIN)
    grant, created = RoleGrant.objects.get_or_create(
        user=user, role=role.value, team=team, defaults={"granted_by": principal.reference}
    )
    if created:
        scope = team.slug if team else "site"
        audit_person(principal, action="role.granted", user=user, after={"role": role.value, "scope": scope})
        publish(RightsChanged(user_id=user.pk, username=user.username, change=f"granted {role.value} ({scope})"))
    return grant


@dangerous("take a role away")
@transaction.atomic
def revoke_role(*, principal: Principal, user: User, role: Role, team: Team | None = None) -> bool:
    """Take a role away; returns whether it was held. Raises LastAdminError."""
    ensure_may(principal, Capability.SITE_ADMIN)
    if role is Role.ADMIN and team is None:
        ensure_admin_remains(without=user)
    deleted, _ = RoleGrant.objects.filter(user=user, role=role.value, team=team).delete()
    if deleted:
        scope = team.slug if team else "site"
        audit_person(principal, action="role.revoked", user=user, before={"role": role.value, "scope": scope})
        publish(RightsChanged(user_id=user.pk, username=user.username, change=f"revoked {role.value} ({scope})"))
    return bool(deleted)


def set_time_zone(*, user: User, time_zone: str) -> None:
    """Show times to a person in another zone. Raises ValidationError for a name that is no IANA zone."""
    user.time_zone = time_zone
    user.full_clean(exclude=["password"])
    user.save(update_fields=["time_zone"])


@transaction.atomic
def change_password(*, user: User, old: str, new: str) -> None:
    """Change one's own password. Raises ValidationError, naming what is wrong with the old or the new one.

    Sessions of other browsers end with it, since they rest on the old password.
    """
    if not user.check_password(old):
        raise ValidationError("This is not your password.", code="old")
    validate_password(new, user)
    if user.check_password(new):
        raise ValidationError("This is the password that you have.", code="same")
    user.set_password(new)
    user.save(update_fields=["password"])
    record(
        AuditedAction(action="account.password_changed", target=user.username),
        actor=f"user:{user.pk}",
        subject=f"user:{user.username}",
    )


@dangerous("close an account")
@transaction.atomic
def deactivate_user(*, principal: Principal, user: User) -> None:
    """Close an account: no sign-in, no tokens, no roles. What the person did stays. Raises LastAdminError."""
    ensure_may(principal, Capability.SITE_ADMIN)
    close_account(principal=principal, user=user)


def close_account(*, principal: Principal, user: User) -> bool:
    """Close an account for somebody who may; says whether it was open.

    Sessions, tokens, roles and memberships that a provider gave end here and now; `PersonLeft` lets the other rooms
    take the person out of what they hold. Raises LastAdminError.
    """
    ensure_admin_remains(without=user)
    if not User.objects.filter(pk=user.pk, is_active=True).update(is_active=False, left_at=database_now()):
        return False
    user.is_active = False
    RoleGrant.objects.filter(user=user).delete()
    for membership in ProvidedMembership.objects.filter(user=user).select_related("team"):
        membership.team.members.remove(user)
    ProvidedMembership.objects.filter(user=user).delete()
    for group in DirectoryGroup.objects.filter(members=user):
        group.members.remove(user)
    tokens = ApiToken.objects.filter(owner=user, revoked_at__isnull=True).update(revoked_at=database_now())
    sessions = end_sessions_of(user=user, why="the account was closed")
    after = {"sessions_ended": str(sessions), "tokens_revoked": str(tokens)}
    audit_person(principal, action="account.deactivated", user=user, after=after)
    publish(RightsChanged(user_id=user.pk, username=user.username, change="deactivated"))
    publish(PersonLeft(user_id=user.pk, username=user.username, by=principal.reference))
    return True


def closed_here() -> dict[str, list[str]]:
    """Return who is closed and which tokens are revoked, in words that another database of this site understands."""
    return {
        "people": list(User.objects.filter(is_active=False).order_by("pk").values_list("username", flat=True)),
        "tokens": list(
            ApiToken.objects.filter(revoked_at__isnull=False).order_by("pk").values_list("digest", flat=True)
        ),
    }


@transaction.atomic
def close_again(*, principal: Principal, closed: Mapping[str, Sequence[str]]) -> list[str]:
    """End what an older state of the database would open again; returns whose accounts were closed.

    `closed` is what `closed_here` said before. Every session ends too: whose cookies they are is long ago.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    tokens = ApiToken.objects.filter(digest__in=closed.get("tokens", ()), revoked_at__isnull=True)
    tokens.update(revoked_at=database_now())
    again = []
    for user in User.objects.filter(username__in=closed.get("people", ()), is_active=True).order_by("pk"):
        try:
            close_account(principal=principal, user=user)
        except LastAdminError:
            continue
        again.append(user.username)
    end_every_session(why="the site was restored")
    return again


@dangerous("open an account again")
@transaction.atomic
def reopen_account(*, principal: Principal, user: User) -> bool:
    """Open a closed account again, without any role; says whether it was closed."""
    ensure_may(principal, Capability.SITE_ADMIN)
    return open_account(principal=principal, user=user)


def open_account(*, principal: Principal, user: User) -> bool:
    """Open a closed account again for somebody who may."""
    if not User.objects.filter(pk=user.pk, is_active=False).update(is_active=True, left_at=None):
        return False
    user.is_active = True
    audit_person(principal, action="account.reopened", user=user)
    return True


@dangerous("make an API token")
@transaction.atomic
def create_api_token(
    *,
    principal: Principal,
    owner: User,
    name: str,
    scopes: Iterable[Capability],
    life: timedelta = DEFAULT_TOKEN_LIFE,
) -> tuple[ApiToken, str]:
    """Create a token and return it with its secret, which is shown this once.

    People make their own; an administrator may make them for others. Raises InputRefusedError for a life or scopes
    outside the bounds.
    """
    if principal.user_id != owner.pk:
        ensure_may(principal, Capability.SITE_ADMIN)
    wanted = sorted({scope.value for scope in scopes})
    if not wanted:
        raise refuse("scopes", found="none", allowed="at least one capability is needed")
    if principal.user_id not in {None, owner.pk} and Capability.APPROVE.value in wanted:
        raise refuse("scopes", found="approve", allowed="nobody approves in another person's name: they make it")
    if not timedelta(0) < life <= LONGEST_TOKEN_LIFE:
        raise refuse("life", found=str(life), allowed=f"more than nothing and at most {LONGEST_TOKEN_LIFE.days} days")
    secret = f"assay_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(
        name=name[:120],
        owner=owner,
        digest=token_digest(secret),
        hint=secret[:10],
        scopes=wanted,
        expires_at=database_now() + life,
    )
    audit_person(
        principal,
        action="token.created",
        user=owner,
        after={"token": name[:120], "scopes": ", ".join(wanted), "expires_at": token.expires_at.isoformat()},
    )
    return token, secret


@transaction.atomic
def revoke_api_token(*, principal: Principal, token: ApiToken) -> None:
    """End a token at once."""
    if principal.user_id != token.owner_id:
        ensure_may(principal, Capability.SITE_ADMIN)
    if ApiToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=database_now()):
        audit_person(principal, action="token.revoked", user=token.owner, before={"token": token.name})


def token_used(*, token: ApiToken) -> None:
    """Note that a token was used, at most once a minute."""
    now = database_now()
    if token.last_used_at is None or now - token.last_used_at > LAST_USED_RESOLUTION:
        written_if_possible(lambda: ApiToken.objects.filter(pk=token.pk).update(last_used_at=now))


def token_used_by_pk(pk: int) -> None:
    """Note that a token is used now."""
    ApiToken.objects.filter(pk=pk).update(last_used_at=database_now())


def ensure_admin_remains(*, without: User) -> None:
    """Raise LastAdminError when nobody else is an administrator of the whole site."""
    admins = RoleGrant.objects.select_for_update().filter(
        role=Role.ADMIN.value, team__isnull=True, user__is_active=True
    )
    if admins.filter(user=without).exists() and not admins.exclude(user=without).exists():
        raise LastAdminError(f"{without} is the only administrator; make somebody else one first.")


def audit_person(
    principal: Principal,
    *,
    action: str,
    user: User,
    before: dict[str, str] | None = None,
    after: dict[str, str] | None = None,
) -> None:
    """Record what was done to a person's account or rights."""
    record(
        AuditedAction(action=action, target=user.username, before=before or {}, after=after or {}),
        actor=principal.reference,
        subject=f"user:{user.username}",
    )

"""What follows from a provider's word: who somebody is here, and which rights their groups give."""

from collections.abc import Collection
from dataclasses import dataclass, field

from django.db import transaction

from accounts.data import Role, system_principal
from accounts.domain.groups import standing_from
from accounts.events import RightsChanged
from accounts.models import IdentityProvider, ProvidedIdentity, ProvidedMembership, RoleGrant, Team, User
from accounts.selectors import mappings_of
from accounts.services.rights import LastAdminError, audit_person, ensure_admin_remains
from core.clock import database_now
from core.events import publish
from ledger.data.access import PersonProvisioned, RightsFollowedGroups
from ledger.services import record

LONGEST_SUBJECT = 255
MOST_GROUPS = 2000


class SignInRefusedError(Exception):
    """A provider knows the person, and this site does not let them in; the message says why."""


@dataclass(frozen=True)
class Told:
    """What a provider says of somebody. `subject` is its lasting name for them."""

    subject: str
    username: str = ""
    name: str = ""
    mail: str = ""
    mail_is_confirmed: bool = False
    groups: tuple[str, ...] = ()


@dataclass
class Followed:
    """What a change of groups did to somebody's rights."""

    given: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@transaction.atomic
def admit(*, provider: IdentityProvider, told: Told) -> tuple[User, Followed]:
    """Return who signs in: known by subject, by confirmed mail where that is allowed, or new where that is.

    Their rights follow the groups first. Raises SignInRefusedError.
    """
    if not told.subject or len(told.subject) > LONGEST_SUBJECT:
        raise SignInRefusedError(f"{provider.name} did not say who you are in a way that lasts.")
    identity = (
        ProvidedIdentity.objects.select_related("user", "provider")
        .filter(provider=provider, subject=told.subject)
        .first()
    )
    user = identity.user if identity else _known_by_mail(provider, told) or _newcomer(provider, told)
    if user.is_break_glass:
        raise SignInRefusedError("An account for emergencies is opened by its own password, never by a provider.")
    if not user.is_active:
        raise SignInRefusedError("Your account here is closed. An administrator can open it again.")
    if identity is None:
        identity = ProvidedIdentity(provider=provider, user=user, subject=told.subject)
    identity.groups = sorted({str(group)[:255] for group in told.groups})[:MOST_GROUPS]
    identity.told_at = database_now()
    identity.save()
    return user, follow_groups(identity=identity)


@transaction.atomic
def follow_groups(*, identity: ProvidedIdentity) -> Followed:
    """Give and take what the groups of an identity say. The last administrator keeps that role, and it is recorded."""
    provider, user, followed = identity.provider, identity.user, Followed()
    wanted = standing_from(identity.groups if user.is_active else (), mappings_of(provider=provider))
    _follow_roles(provider, user, wanted.roles, followed)
    _follow_teams(provider, user, wanted.teams, followed)
    if followed.given or followed.taken or followed.refused:
        entry = RightsFollowedGroups(
            target=user.username,
            provider=provider.slug,
            given=followed.given,
            taken=followed.taken,
            refused=followed.refused,
        )
        record(entry, actor=f"system:{provider.slug}", subject=f"user:{user.username}")
    if followed.given or followed.taken:
        change = f"groups of {provider.slug}: +{len(followed.given)} -{len(followed.taken)}"
        publish(RightsChanged(user_id=user.pk, username=user.username, change=change))
    return followed


def withdraw(*, provider: IdentityProvider) -> None:
    """Take everything back that came from a provider. Raises LastAdminError."""
    for identity in ProvidedIdentity.objects.filter(provider=provider).select_related("user", "provider"):
        identity.groups = []
        if follow_groups(identity=identity).refused:
            raise LastAdminError(f"{identity.user} is administrator by {provider}; make somebody else one first.")


def provisioned(*, provider: IdentityProvider, user: User, change: str, fields: Collection[str] = ()) -> None:
    """Record that a directory created or changed somebody's account."""
    entry = PersonProvisioned(target=user.username, provider=provider.slug, change=change, fields=sorted(fields))
    record(entry, actor=f"system:{provider.slug}", subject=f"user:{user.username}")


def free_username(wanted: str) -> str:
    """Return a user name that nobody has, close to the one wanted."""
    kept = "".join(sign for sign in wanted if sign.isalnum() or sign in "@.+-_")[:140].strip(".") or "person"
    taken = set(User.objects.filter(username__startswith=kept).values_list("username", flat=True))
    if kept not in taken:
        return kept
    return next(name for number in range(2, len(taken) + 3) if (name := f"{kept}-{number}") not in taken)


def _known_by_mail(provider: IdentityProvider, told: Told) -> User | None:
    if not (provider.configuration.get("links_by_mail") and told.mail and told.mail_is_confirmed):
        return None
    found = list(User.objects.filter(email__iexact=told.mail)[:2])
    if len(found) != 1:
        return None
    if found[0].is_break_glass:
        raise SignInRefusedError("This mail address is that of an account for emergencies, which no provider opens.")
    if ProvidedIdentity.objects.filter(provider=provider, user=found[0]).exists():
        raise SignInRefusedError(f"{provider.name} knows somebody else with your mail address. Ask an administrator.")
    audit_person(
        system_principal(provider.slug), action="account.linked", user=found[0], after={"provider": provider.slug}
    )
    return found[0]


def _newcomer(provider: IdentityProvider, told: Told) -> User:
    if not provider.configuration.get("creates_people", True):
        raise SignInRefusedError("You have no account here yet. Ask an administrator for one.")
    first, _, last = told.name.strip().partition(" ")
    # An address that nobody confirmed must not stand beside that of whoever has it.
    mail = told.mail[:254]
    if mail and not told.mail_is_confirmed and User.objects.filter(email__iexact=mail).exists():
        mail = ""
    user = User(
        username=free_username(told.username or told.mail.partition("@")[0] or told.subject),
        first_name=first[:150],
        last_name=last[:150],
        email=mail,
    )
    user.set_unusable_password()
    user.full_clean(exclude=["password"])
    user.save()
    provisioned(provider=provider, user=user, change="created", fields=("username", "name", "email"))
    return user


def _follow_roles(
    provider: IdentityProvider, user: User, wanted: frozenset[tuple[Role, int | None]], followed: Followed
) -> None:
    held = {(Role(one.role), one.team_id): one for one in RoleGrant.objects.filter(user=user).select_related("team")}
    slugs = dict(Team.objects.filter(pk__in=[team for _, team in wanted if team]).values_list("pk", "slug"))
    for role, team_id in sorted(wanted, key=str):
        if (role, team_id) not in held:
            RoleGrant.objects.create(
                user=user,
                role=role.value,
                team_id=team_id,
                granted_by=f"system:{provider.slug}",
                source=provider.source,
            )
            followed.given.append(_named(role, slugs.get(team_id or 0)))
    for (role, team_id), grant in held.items():
        if grant.source != provider.source or (role, team_id) in wanted:
            continue
        name = _named(role, grant.team.slug if grant.team else None)
        if role is Role.ADMIN and team_id is None:
            try:
                ensure_admin_remains(without=user)
            except LastAdminError:
                followed.refused.append(name)
                continue
        grant.delete()
        followed.taken.append(name)


def _follow_teams(provider: IdentityProvider, user: User, wanted: frozenset[int], followed: Followed) -> None:
    given = {one.team_id: one for one in ProvidedMembership.objects.filter(provider=provider, user=user)}
    teams = Team.objects.in_bulk({*wanted, *given})
    member_of = set(user.teams.values_list("pk", flat=True))
    for team_id in sorted(wanted - set(given) - member_of):
        teams[team_id].members.add(user)
        ProvidedMembership.objects.create(provider=provider, user=user, team=teams[team_id])
        followed.given.append(f"member ({teams[team_id].slug})")
    for team_id in sorted(set(given) - wanted):
        teams[team_id].members.remove(user)
        given[team_id].delete()
        followed.taken.append(f"member ({teams[team_id].slug})")


def _named(role: Role, team: str | None) -> str:
    return f"{role.value} ({team or 'site'})"

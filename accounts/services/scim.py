"""What a directory does here by SCIM: people and groups come, change and go.

Each call needs `scim.provision`. People are closed, never deleted: what they did stays theirs. Break-glass accounts
are out of a directory's reach.
"""

from collections.abc import Collection
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q

from accounts.data import Capability, Principal, ProviderKind
from accounts.domain.scim import GroupChange, ScimRefusedError
from accounts.models import DirectoryGroup, IdentityProvider, ProvidedIdentity, User
from accounts.services.federation import follow_groups, provisioned
from accounts.services.rights import LastAdminError, close_account, ensure_may, open_account
from accounts.services.signing_in import forget_factors
from core.clock import database_now
from ledger.data.access import ProviderChanged
from ledger.services import record

# Whom a directory has deleted, or never knew: closed, and nobody's identity there.
GONE = Q(is_active=False) & ~Q(
    pk__in=ProvidedIdentity.objects.filter(provider__kind=ProviderKind.SCIM.value).values("user_id")
)
KEPT_FIELDS = ("username", "first_name", "last_name", "email")


@transaction.atomic
def scim_provider() -> IdentityProvider:
    """Return the provider that SCIM clients speak for; the first call writes it down."""
    kind = ProviderKind.SCIM.value
    found = IdentityProvider.objects.filter(kind=kind).first()
    return found or IdentityProvider.objects.create(slug="scim", name="Directory", kind=kind)


@transaction.atomic
def provision_person(*, principal: Principal, fields: dict[str, Any]) -> User:
    """Create a person. Raises ScimRefusedError."""
    ensure_may(principal, Capability.SCIM_PROVISION)
    if not fields.get("username"):
        raise ScimRefusedError("userName: it is needed.")
    held = User.objects.filter(username__iexact=fields["username"])
    user = held.filter(GONE, is_break_glass=False).first()
    if user is None and held.exists():
        raise ScimRefusedError("Somebody has this userName already.", status=409, kind="uniqueness")
    is_back = user is not None
    user = user or User(username=fields["username"])
    user.set_unusable_password()
    _fill(user, fields)
    _validated(user).save()
    provider = scim_provider()
    if is_back:
        # What let the person of then in must not let anybody in now.
        forget_factors(principal=principal, user=user)
        open_account(principal=principal, user=user)
    _identity(provider, user, fields)
    provisioned(provider=provider, user=user, change="reopened" if is_back else "created", fields=fields)
    if fields.get("active") is False:
        close_account(principal=principal, user=user)
    return user


@transaction.atomic
def change_person(*, principal: Principal, user: User, fields: dict[str, Any]) -> User:
    """Change a person; `active` closes or opens the account. Raises ScimRefusedError."""
    ensure_may(principal, Capability.SCIM_PROVISION)
    _ensure_in_reach(user)
    name = fields.get("username")
    if name and User.objects.filter(username__iexact=name).exclude(pk=user.pk).exists():
        raise ScimRefusedError("Somebody has this userName already.", status=409, kind="uniqueness")
    before = {key: getattr(user, key) for key in KEPT_FIELDS}
    _fill(user, fields)
    changed = [key for key in KEPT_FIELDS if before[key] != getattr(user, key)]
    provider = scim_provider()
    if changed:
        _validated(user).save(update_fields=changed)
        provisioned(provider=provider, user=user, change="changed", fields=changed)
    identity = _identity(provider, user, fields)
    if fields.get("active") is False:
        _close(principal, user)
    elif fields.get("active") is True and open_account(principal=principal, user=user):
        provisioned(provider=provider, user=user, change="reopened")
        follow_groups(identity=identity)
    return user


@transaction.atomic
def dismiss_person(*, principal: Principal, user: User) -> None:
    """Close the account of somebody whom the directory deleted. Raises ScimRefusedError."""
    ensure_may(principal, Capability.SCIM_PROVISION)
    _ensure_in_reach(user)
    _close(principal, user)
    ProvidedIdentity.objects.filter(provider=scim_provider(), user=user).delete()


@transaction.atomic
def save_directory_group(
    *, principal: Principal, change: GroupChange, group: DirectoryGroup | None = None
) -> DirectoryGroup:
    """Create or change a group; the rights of whoever came or went follow. Raises ScimRefusedError."""
    ensure_may(principal, Capability.SCIM_PROVISION)
    name = change.display_name
    if (group is None and not name) or name == "":
        raise ScimRefusedError("displayName: it is needed.")
    taken = DirectoryGroup.objects.filter(display_name=name).exclude(pk=group.pk if group else 0)
    if name and taken.exists():
        raise ScimRefusedError("A group has this displayName already.", status=409, kind="uniqueness")
    is_new = group is None
    group = group or DirectoryGroup()
    before = set() if is_new else {str(key) for key in group.members.values_list("pk", flat=True)}
    renamed = bool(name) and not is_new and group.display_name != name
    group.display_name = name or group.display_name
    if change.external_id is not None:
        group.external_id = change.external_id
    group.save()
    after = change.members_after(before)
    people = _people(after - before)
    group.members.add(*people)
    group.members.remove(*User.objects.filter(pk__in=[int(key) for key in before - after]))
    touched = {key for key in (before | after if renamed else before ^ after) if key.isdecimal()}
    _groups_changed(touched)
    if is_new or renamed:
        _record_group(principal, group, "group added" if is_new else "group renamed", len(after))
    return group


@transaction.atomic
def remove_directory_group(*, principal: Principal, group: DirectoryGroup) -> None:
    """Remove a group with the rights that it gave."""
    ensure_may(principal, Capability.SCIM_PROVISION)
    members = {str(key) for key in group.members.values_list("pk", flat=True)}
    _record_group(principal, group, "group removed", len(members))
    group.delete()
    _groups_changed(members)


def _groups_changed(keys: Collection[str]) -> None:
    """Let the rights of people follow the groups that they are in now."""
    provider = scim_provider()
    for user in User.objects.filter(pk__in=[int(key) for key in keys]):
        identity = _identity(provider, user, {})
        identity.groups = sorted(user.directory_groups.values_list("display_name", flat=True))
        identity.told_at = database_now()
        identity.save(update_fields=["groups", "told_at"])
        if follow_groups(identity=identity).refused:
            raise ScimRefusedError(f"{user.username} is the only administrator and stays one.", status=403)


def _identity(provider: IdentityProvider, user: User, fields: dict[str, Any]) -> ProvidedIdentity:
    identity = ProvidedIdentity.objects.select_related("provider", "user").filter(provider=provider, user=user).first()
    kept = identity.subject if identity and "external_id" not in fields else ""
    subject = fields.get("external_id") or kept or f"user:{user.pk}"
    if ProvidedIdentity.objects.filter(provider=provider, subject=subject).exclude(user=user).exists():
        raise ScimRefusedError("Somebody has this externalId already.", status=409, kind="uniqueness")
    if identity is None:
        identity = ProvidedIdentity(provider=provider, user=user, told_at=database_now())
    identity.user = user
    if identity.subject != subject:
        identity.subject = subject
        identity.save()
    return identity


def _fill(user: User, fields: dict[str, Any]) -> None:
    first, _, last = str(fields.get("full_name") or fields.get("display_name") or "").partition(" ")
    if first and "first_name" not in fields and "last_name" not in fields:
        user.first_name, user.last_name = first[:150], last[:150]
    for key in KEPT_FIELDS:
        if key in fields:
            setattr(user, key, fields[key][:150] if key != "email" else fields[key])


def _validated(user: User) -> User:
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as error:
        raise ScimRefusedError(" ".join(error.messages)) from None
    return user


def _ensure_in_reach(user: User) -> None:
    if user.is_break_glass:
        raise PermissionDenied("A break-glass account is changed by an administrator here, not by a directory.")


def _close(principal: Principal, user: User) -> None:
    try:
        if close_account(principal=principal, user=user):
            provisioned(provider=scim_provider(), user=user, change="closed")
    except LastAdminError as error:
        raise ScimRefusedError(str(error), status=403) from None


def _people(keys: Collection[str]) -> list[User]:
    people = list(User.objects.filter(pk__in=[int(key) for key in keys if key.isdecimal() and len(key) < 19]))
    if len(people) != len(keys):
        missing = set(keys) - {str(person.pk) for person in people}
        raise ScimRefusedError(f"members: nobody has the id {min(missing)[:40]}.")
    for person in people:
        _ensure_in_reach(person)
    return people


def _record_group(principal: Principal, group: DirectoryGroup, change: str, members: int) -> None:
    provider = scim_provider()
    after = {"group": group.display_name, "members": str(members)}
    entry = ProviderChanged(provider=provider.slug, kind=provider.kind, change=change, after=after)
    record(entry, actor=principal.reference, subject=f"provider:{provider.slug}")

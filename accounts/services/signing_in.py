"""Signing in: lock-outs, what is recorded of each sign-in, break-glass, and the rules for the site."""

from collections.abc import Iterable

from allauth.mfa.models import Authenticator
from django.db import transaction

from accounts.data import Capability, Principal, Role
from accounts.domain.lockouts import FAILURES_BY_ADDRESS, FAILURES_BY_NAME, LOCKOUT_WINDOW, LockedKind, counted_name
from accounts.events import BreakGlassUsed, SignInLocked
from accounts.models import IdentityProvider, SignInFailure, SignInPolicy, SignInSession, User
from accounts.selectors import sign_in_policy, users_with
from accounts.services.rights import audit_person, ensure_may
from accounts.services.sessions import end_sessions_of
from core.clock import database_now
from core.events import publish
from core.parsing import refuse
from core.proving import dangerous
from delivery.data import Channel
from delivery.services import send
from ledger.data.access import FactorChanged, SignedIn, SignInLockedOut, SignInRulesChanged
from ledger.services import record

LONGEST_PAUSE_MINUTES = 720
LONGEST_LIFE_HOURS = 24 * 14
LONGEST_FRESH_MINUTES = 240


def sign_in_is_locked(*, username: str, address: str) -> bool:
    """Say whether too many sign-ins failed lately for this name or from this address."""
    recent = SignInFailure.objects.filter(failed_at__gt=database_now() - LOCKOUT_WINDOW)
    return (
        recent.filter(username=counted_name(username)).count() >= FAILURES_BY_NAME
        or recent.filter(address=address[:64]).count() >= FAILURES_BY_ADDRESS
    )


@transaction.atomic
def sign_in_failed(*, username: str, address: str) -> None:
    """Note a failed sign-in; the one that locks the name or the address out is recorded and announced."""
    now = database_now()
    name, place = counted_name(username), address[:64]
    SignInFailure.objects.create(username=name, address=place, failed_at=now)
    recent = SignInFailure.objects.filter(failed_at__gt=now - LOCKOUT_WINDOW)
    by_name, by_address = recent.filter(username=name).count(), recent.filter(address=place).count()
    if by_name == FAILURES_BY_NAME or by_address == FAILURES_BY_ADDRESS:
        whole_address = by_name != FAILURES_BY_NAME
        locked = SignInLockedOut(
            target=name,
            address=place,
            failures=by_address if whole_address else by_name,
            within_seconds=int(LOCKOUT_WINDOW.total_seconds()),
            locked="address" if whole_address else "name",
        )
        record(locked, actor="system:sign-in", subject=f"username:{name}")
        publish(SignInLocked(username=name, address=place))


@transaction.atomic
def unlock_sign_in(*, principal: Principal, username: str) -> bool:
    """Forget the failed sign-ins of a name, so that its owner can sign in at once; says whether there were any."""
    return _lift(principal, LockedKind.NAME, counted_name(username))


@transaction.atomic
def unlock_address(*, principal: Principal, address: str) -> bool:
    """Forget the failed sign-ins from an address, so that people can sign in there; says whether there were any."""
    return _lift(principal, LockedKind.ADDRESS, address[:64])


def _lift(principal: Principal, kind: LockedKind, key: str) -> bool:
    ensure_may(principal, Capability.SITE_ADMIN)
    by_name = kind is LockedKind.NAME
    forgotten, _ = SignInFailure.objects.filter(**{"username" if by_name else "address": key}).delete()
    if forgotten:
        lifted = SignInLockedOut(
            target=key if by_name else "",
            address="" if by_name else key,
            failures=forgotten,
            within_seconds=int(LOCKOUT_WINDOW.total_seconds()),
            locked="lifted",
        )
        record(lifted, actor=principal.reference, subject=f"username:{key}" if by_name else f"address:{key}")
    return bool(forgotten)


@transaction.atomic
def signed_in(*, user: User, address: str, method: str = "password", second_factor: str = "") -> None:
    """Record a sign-in and forget the failures of this name; a break-glass account raises its alarm."""
    SignInFailure.objects.filter(username=counted_name(user.username)).delete()
    entry = SignedIn(
        target=user.username,
        method=method[:120],
        second_factor=second_factor,
        address=address[:64],
        break_glass=user.is_break_glass,
    )
    sealed = record(entry, actor=f"user:{user.pk}", subject=f"user:{user.username}")
    if user.is_break_glass:
        publish(BreakGlassUsed(user_id=user.pk, username=user.username, address=address[:64], entry=sealed.pk))
        _alarm(user=user, address=address, key=str(sealed.pk))


@dangerous("make an account one for emergencies")
@transaction.atomic
def set_break_glass(*, principal: Principal, user: User, is_break_glass: bool) -> None:
    """Make an account one for emergencies, or an ordinary one again."""
    ensure_may(principal, Capability.SITE_ADMIN)
    if not User.objects.filter(pk=user.pk).exclude(is_break_glass=is_break_glass).update(is_break_glass=is_break_glass):
        return
    user.is_break_glass = is_break_glass
    action = "account.break_glass_set" if is_break_glass else "account.break_glass_removed"
    audit_person(principal, action=action, user=user)


@dangerous("change the rules of signing in")
@transaction.atomic
def save_sign_in_policy(
    *,
    principal: Principal,
    second_factor_roles: Iterable[Role],
    local_sign_in: str,
    idle_minutes: int,
    life_hours: int,
    fresh_minutes: int,
) -> SignInPolicy:
    """Change the rules of signing in; open sessions follow them within a minute. Raises InputRefusedError."""
    ensure_may(principal, Capability.SITE_ADMIN)
    for where, found, most in (
        ("idle_minutes", idle_minutes, LONGEST_PAUSE_MINUTES),
        ("life_hours", life_hours, LONGEST_LIFE_HOURS),
        ("fresh_minutes", fresh_minutes, LONGEST_FRESH_MINUTES),
    ):
        if not 1 <= found <= most:
            raise refuse(where, found=str(found), allowed=f"1 to {most}")
    only_emergencies = local_sign_in == SignInPolicy.LocalSignIn.BREAK_GLASS
    if only_emergencies and not User.objects.filter(is_break_glass=True, is_active=True).exists():
        raise refuse(
            "local_sign_in",
            found=local_sign_in,
            allowed="make a break-glass account first, or a provider that is down would lock everybody out",
        )
    policy = sign_in_policy()
    before = _written(policy)
    policy.second_factor_roles = sorted(role.value for role in second_factor_roles)
    policy.local_sign_in = SignInPolicy.LocalSignIn(local_sign_in)
    policy.idle_minutes, policy.life_hours, policy.fresh_minutes = idle_minutes, life_hours, fresh_minutes
    policy.save()
    if before != (after := _written(policy)):
        record(SignInRulesChanged(before=before, after=after), actor=principal.reference, subject="site:sign-in")
    return policy


@transaction.atomic
def end_sessions_by_administrator(*, principal: Principal, user: User) -> int:
    """End every session of a person; returns how many there were."""
    ensure_may(principal, Capability.SITE_ADMIN)
    ended = end_sessions_of(user=user, why="an administrator ended it")
    if ended:
        audit_person(principal, action="account.sessions_ended", user=user, after={"sessions": str(ended)})
    return ended


@transaction.atomic
def end_own_sessions(*, principal: Principal, user: User, keys: list[str]) -> int:
    """End some of one's own sessions; returns how many were open."""
    if principal.user_id != user.pk:
        ensure_may(principal, Capability.SITE_ADMIN)
    ended = end_sessions_of(user=user, why="ended from another browser", keys=keys)
    if ended:
        audit_person(principal, action="account.sessions_ended", user=user, after={"sessions": str(ended)})
    return ended


@transaction.atomic
def end_sessions_told(
    *, principal: Principal, provider: IdentityProvider, name_id: str, indexes: list[str]
) -> set[str]:
    """End the sessions that a provider names, with all of that name when it names none; returns their keys."""
    rows = SignInSession.objects.select_related("user").filter(
        ended_at__isnull=True, method=f"provider:{provider.slug}", name_id=name_id
    )
    if indexes:
        rows = rows.filter(session_index__in=indexes)
    ended: set[str] = set()
    for row in rows.exclude(name_id=""):
        end_sessions_of(user=row.user, why="the provider ended it", keys=[row.session_key])
        audit_person(principal, action="account.sessions_ended", user=row.user, after={"sessions": "1"})
        ended.add(row.session_key)
    return ended


@dangerous("take somebody's second factors away")
@transaction.atomic
def remove_factors(*, principal: Principal, user: User) -> int:
    """Take a person's second factors away (the phone is lost); their sessions end with them."""
    ensure_may(principal, Capability.SITE_ADMIN)
    return forget_factors(principal=principal, user=user)


def forget_factors(*, principal: Principal, user: User) -> int:
    """Take second factors away for somebody who may; says how many there were."""
    held = list(Authenticator.objects.filter(user_id=user.pk))
    for one in held:
        factor_changed(user=user, change="removed by an administrator", kind=one.type, by=principal.reference)
        one.delete()
    if held:
        end_sessions_of(user=user, why="the second factors were removed")
    return len(held)


@transaction.atomic
def factor_changed(*, user: User, change: str, kind: str, by: str = "") -> None:
    """Record that a second factor was added, removed or made anew."""
    entry = FactorChanged(target=user.username, change=change, factor=kind)
    record(entry, actor=by or f"user:{user.pk}", subject=f"user:{user.username}")


def _written(policy: SignInPolicy) -> dict[str, str]:
    return {
        "second_factor_roles": ", ".join(policy.second_factor_roles),
        "local_sign_in": str(policy.local_sign_in),
        "idle_minutes": str(policy.idle_minutes),
        "life_hours": str(policy.life_hours),
        "fresh_minutes": str(policy.fresh_minutes),
    }


def _alarm(*, user: User, address: str, key: str) -> None:
    """Tell every administrator, in the site and by mail."""
    subject = f"Break-glass sign-in: {user.username}"
    text = (
        f"The break-glass account {user.username} signed in from {address or 'an unknown address'}. "
        "If nobody meant to, end its sessions at once (Settings, People)."
    )
    for person in users_with(Capability.SITE_ADMIN):
        wanted = [(Channel.IN_APP, f"user:{person.pk}")] + ([(Channel.EMAIL, person.email)] if person.email else [])
        for channel, where in wanted:
            send(
                channel=channel,
                address=where,
                idempotency_key=f"break-glass:{key}:{person.pk}:{channel}",
                subject=subject,
                text=text,
                link=f"/settings/people/{user.username}/",
                priority=1,
                about=f"user:{user.username}",
            )

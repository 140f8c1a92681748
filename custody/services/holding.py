"""Legal holds: asked for by one person, confirmed by another; released in the same way."""

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import team_by_slug, user_by_username
from accounts.services import ensure_may, ensure_other_person
from catalog.selectors import service_by_slug
from compliance.selectors import access_of, engagements_visible
from core.clock import database_now
from core.lifecycle import data_classes, personal_data
from core.parsing import refuse
from core.proving import dangerous
from custody.models import LegalHold
from custody.selectors import IN_FORCE, kept_by, window_of
from incidents.selectors import incident_by_reference
from ledger.data.access import AuditedAction
from ledger.selectors import entries
from ledger.services import record

Status = LegalHold.Status


@transaction.atomic
def request_hold(*, principal: Principal, kind: str, target: str, reason: str) -> LegalHold:
    """Hold data from now on. Another person confirms or rejects it. Raises InputRefusedError, PermissionDenied."""
    _ensure_keeper(principal)
    if not reason.strip():
        raise refuse("reason", found="none", allowed="a reason is required")
    hold = LegalHold.objects.create(
        kind=kind,
        target=_known_target(principal, kind, target.strip()),
        reason=reason.strip()[:500],
        requested_by=principal.reference,
        requested_at=database_now(),
    )
    _audit(principal, hold, "hold.requested", hold.reason)
    return hold


@transaction.atomic
def decide_hold(*, principal: Principal, hold: LegalHold, approve: bool) -> None:
    """Confirm a hold, or reject it: then what it kept may go. Raises PermissionDenied for the one who asked."""
    _ensure_keeper(principal)
    ensure_other_person(principal, requester=hold.requested_by)
    status = Status.ACTIVE if approve else Status.REJECTED
    _move(hold, Status.REQUESTED, status, decided_by=principal.reference, decided_at=database_now())
    _audit(principal, hold, "hold.approved" if approve else "hold.rejected")


@transaction.atomic
def request_release(*, principal: Principal, hold: LegalHold, reason: str) -> None:
    """Ask that a hold ends. It goes on until another person agrees."""
    _ensure_keeper(principal)
    if not reason.strip():
        raise refuse("reason", found="none", allowed="a reason is required")
    _move(
        hold,
        Status.ACTIVE,
        Status.RELEASE_REQUESTED,
        release_reason=reason.strip()[:500],
        release_requested_by=principal.reference,
        release_requested_at=database_now(),
    )
    _audit(principal, hold, "hold.release_requested", reason.strip()[:500])


@dangerous("lift a legal hold")
@transaction.atomic
def decide_release(*, principal: Principal, hold: LegalHold, approve: bool) -> None:
    """End a hold, or let it go on. Raises PermissionDenied for the one who asked."""
    _ensure_keeper(principal)
    ensure_other_person(principal, requester=hold.release_requested_by)
    if approve:
        _move(
            hold,
            Status.RELEASE_REQUESTED,
            Status.RELEASED,
            released_by=principal.reference,
            released_at=database_now(),
        )
    else:
        _move(hold, Status.RELEASE_REQUESTED, Status.ACTIVE, release_requested_by="", release_requested_at=None)
    _audit(principal, hold, "hold.released" if approve else "hold.release_rejected")


def count_what_is_kept() -> None:
    """Count anew what each hold in force keeps, for its page."""
    for hold in LegalHold.objects.filter(status__in=IN_FORCE):
        LegalHold.objects.filter(pk=hold.pk).update(kept=kept_by(hold), counted_at=database_now())


def may_keep(principal: Principal) -> bool:
    """Say whether the principal deals with holds: compliance managers and administrators."""
    return principal.may(Capability.COMPLIANCE_EDIT) or principal.may(Capability.SITE_ADMIN)


def _ensure_keeper(principal: Principal) -> None:
    if not principal.may(Capability.SITE_ADMIN):
        ensure_may(principal, Capability.COMPLIANCE_EDIT)


def _known_target(principal: Principal, kind: str, target: str) -> str:
    """Return the target as it is known; a hold on a name that is mistyped would keep nothing."""
    if kind == LegalHold.Kind.CLASS:
        known = {"ledger.entries", *(one.key for one in data_classes()), *(one.key for one in personal_data())}
        if target in known:
            return target
        raise refuse("target", found=target, allowed=", ".join(sorted(known)))
    if kind == LegalHold.Kind.SERVICE:
        found = service_by_slug(slug=target)
        name = found.slug if found else ""
    elif kind == LegalHold.Kind.INCIDENT:
        incident = incident_by_reference(reference=target)
        name = incident.reference if incident else ""
    elif kind == LegalHold.Kind.ENGAGEMENT:
        engagement = engagements_visible(access=access_of(principal)).filter(slug=target).first()
        name = engagement.slug if engagement else ""
    elif kind == LegalHold.Kind.TEAM:
        team = team_by_slug(slug=target)
        name = team.slug if team else ""
    elif kind == LegalHold.Kind.PERSON:
        # By number: an account that is renamed, or closed, is still held.
        person = user_by_username(username=target.removeprefix("@"))
        name = f"user:{person.pk}" if person else ""
    elif kind == LegalHold.Kind.SUBJECT:
        name = target if ":" in target and entries(subjects=(target,)).exists() else ""
    elif kind == LegalHold.Kind.WINDOW:
        try:
            window_of(target)
        except ValueError:
            raise refuse("target", found=target, allowed="two days in UTC, as 2026-01-01..2026-03-31") from None
        name = target
    else:
        raise refuse("kind", found=kind, allowed=", ".join(LegalHold.Kind.values))
    if not name:
        raise refuse("target", found=target, allowed=f"the name of {LegalHold.Kind(kind).label} of this site")
    return name


def _move(hold: LegalHold, old: str, new: str, **changes: object) -> None:
    if not LegalHold.objects.filter(pk=hold.pk, status=old).update(status=new, **changes):
        raise refuse("hold", found=hold.status, allowed=f"only a hold that is {old.replace('-', ' ')}")
    hold.refresh_from_db()


def _audit(principal: Principal, hold: LegalHold, action: str, reason: str = "") -> None:
    after = {"kind": str(hold.kind), "target": hold.target}
    record(
        AuditedAction(action=action, target=hold.reference, after=after, reason=reason),
        actor=principal.reference,
        subject=f"hold:{hold.pk}",
    )

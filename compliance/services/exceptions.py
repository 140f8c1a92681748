"""Deviations that are accepted for a while."""

from datetime import datetime, timedelta

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may, ensure_other_person
from compliance.models import Control, ControlException
from core.clock import database_now
from core.parsing import refuse
from ledger.data.access import AuditedAction
from ledger.services import record

LONGEST = timedelta(days=366)


@transaction.atomic
def request_exception(
    *,
    principal: Principal,
    control: Control,
    reason: str,
    expires_at: datetime,
    compensation: str = "",
    covers: str = "",
    starts_at: datetime | None = None,
) -> ControlException:
    """Ask for an exception; it counts once somebody else approves it, and never after it expires."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    now = database_now()
    start = starts_at or now
    if not start < expires_at <= start + LONGEST:
        raise refuse(
            "expires_at",
            found=expires_at.isoformat(),
            allowed=f"an instant after the start and within {LONGEST.days} days is allowed",
        )
    if not reason.strip():
        raise refuse("reason", found="nothing", allowed="a reason is required")
    exception = ControlException.objects.create(
        control=control,
        reason=reason,
        compensation=compensation,
        covers=" ".join(covers.split())[:200],
        starts_at=start,
        expires_at=expires_at,
        requested_by=principal.reference,
        requested_at=now,
    )
    _audit(principal, "exception.requested", exception)
    return exception


@transaction.atomic
def approve_exception(*, principal: Principal, exception: ControlException) -> None:
    """Approve an exception that somebody else asked for. Raises PermissionDenied for one's own."""
    ensure_may(principal, Capability.APPROVE)
    ensure_other_person(principal, requester=exception.requested_by)
    now = database_now()
    open_ones = ControlException.objects.filter(approved_at__isnull=True, rejected_at__isnull=True, expires_at__gt=now)
    if not open_ones.filter(pk=exception.pk).update(approved_by=principal.reference, approved_at=now):
        raise refuse("exception", found="one that is settled or has expired", allowed="an open one is allowed")
    _audit(principal, "exception.approved", exception)


@transaction.atomic
def reject_exception(*, principal: Principal, exception: ControlException) -> None:
    """Turn an exception down; it never counts."""
    ensure_may(principal, Capability.APPROVE)
    open_ones = ControlException.objects.filter(approved_at__isnull=True, rejected_at__isnull=True)
    now = database_now()
    if not open_ones.filter(pk=exception.pk).update(rejected_by=principal.reference, rejected_at=now):
        raise refuse("exception", found="one that is settled", allowed="an open one is allowed")
    _audit(principal, "exception.rejected", exception)


def _audit(principal: Principal, action: str, exception: ControlException) -> None:
    record(
        AuditedAction(
            action=action,
            target=exception.control.slug,
            after={"expires_at": exception.expires_at.isoformat(), "exception": str(exception.pk)},
            reason=exception.reason[:500],
        ),
        actor=principal.reference,
        subject=f"control:{exception.control.slug}",
    )

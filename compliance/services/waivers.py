"""Waivers of scorecards: a service need not show something for a while."""

from datetime import datetime, timedelta

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may, ensure_other_person
from catalog.selectors import service_by_slug
from compliance.models import ScorecardWaiver
from compliance.selectors.scorecards import scorecard_items
from core.clock import database_now
from core.parsing import refuse
from ledger.data.access import AuditedAction
from ledger.services import record

LONGEST = timedelta(days=366)


@transaction.atomic
def request_waiver(
    *, principal: Principal, service: str, item: str, reason: str, expires_at: datetime
) -> ScorecardWaiver:
    """Ask for a waiver; it counts once somebody else approves it, and never after it expires."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    found, now = service_by_slug(slug=service), database_now()
    if found is None:
        raise refuse("service", found=service, allowed="a service of the catalog is allowed")
    if item not in {one.name for one in scorecard_items()}:
        raise refuse("item", found=item, allowed="an item of the scorecard is allowed")
    if not reason.strip():
        raise refuse("reason", found="nothing", allowed="a reason is required")
    if not now < expires_at <= now + LONGEST:
        raise refuse("expires_at", found=expires_at.isoformat(), allowed="a time to come, within a year, is allowed")
    made = ScorecardWaiver.objects.create(
        service=found,
        item=item,
        reason=reason[:500],
        requested_by=principal.reference,
        requested_at=now,
        expires_at=expires_at,
    )
    _audit(principal, "waiver.requested", made)
    return made


@transaction.atomic
def approve_waiver(*, principal: Principal, waiver: ScorecardWaiver) -> None:
    """Approve a waiver that somebody else asked for."""
    ensure_may(principal, Capability.APPROVE)
    ensure_other_person(principal, requester=waiver.requested_by)
    now = database_now()
    waiting = ScorecardWaiver.objects.filter(pk=waiver.pk, approved_at__isnull=True, expires_at__gt=now)
    if not waiting.update(approved_by=principal.reference, approved_at=now):
        raise refuse("waiver", found="one that is settled or has expired", allowed="an open one is allowed")
    _audit(principal, "waiver.approved", waiver)


def _audit(principal: Principal, action: str, waiver: ScorecardWaiver) -> None:
    record(
        AuditedAction(
            action=action,
            target=f"{waiver.service.slug} {waiver.item}",
            after={"expires_at": waiver.expires_at.isoformat()},
            reason=waiver.reason,
        ),
        actor=principal.reference,
        subject=f"service:{waiver.service.slug}",
    )

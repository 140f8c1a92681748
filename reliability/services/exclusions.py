"""Exclusions: asked for by one person, approved by another; never changed, only replaced or withdrawn."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import PermissionDenied
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.parsing import refuse
from ledger.data.slo import ExclusionChanged
from ledger.services import record
from reliability.domain.exclusions import merged_spans, occurrences
from reliability.models import SLO, Exclusion, KeptMinute
from reliability.selectors.exclusion_effects import Effect, exclusion_effects

LONGEST = timedelta(days=366)
KEEP_EDGES_FOR = timedelta(days=366)
State = Exclusion.State


@dataclass(frozen=True)
class Stretch:
    """When something is excluded: once, or by an RRULE in local time."""

    starts_at: datetime
    ends_at: datetime
    recurrence: str = ""
    zone: str = "UTC"


@transaction.atomic
def request_exclusion(
    *,
    principal: Principal,
    stretch: Stretch,
    reason: str,
    slo: SLO | None = None,
    service: Any = None,
    replaces: Exclusion | None = None,
) -> Exclusion:
    """Ask that time does not count for an SLO or all of a service's; past or future. Raises InputRefusedError."""
    exclusion = _asked(principal, stretch, reason, slo, service, replaces)
    exclusion.save()
    exclusion.reference = f"EX-{exclusion.pk}"
    exclusion.save(update_fields=["reference"])
    _record(exclusion, principal)
    return exclusion


def preview_exclusion(
    *,
    principal: Principal,
    stretch: Stretch,
    reason: str,
    slo: SLO | None = None,
    service: Any = None,
    replaces: Exclusion | None = None,
) -> list[Effect]:
    """Return what an exclusion would change if it were approved; nothing is stored. Raises as asking for it does."""
    return exclusion_effects(exclusion=_asked(principal, stretch, reason, slo, service, replaces))


def _asked(  # noqa: PLR0917 what was asked for
    principal: Principal,
    stretch: Stretch,
    reason: str,
    slo: SLO | None,
    service: Any,
    replaces: Exclusion | None,
) -> Exclusion:
    """Return the exclusion that was asked for, not stored yet."""
    if (slo is None) == (service is None):
        raise refuse("exclusion", found="both or neither", allowed="an SLO or a service is allowed")
    ensure_may(principal, Capability.SLO_EXCLUDE, team_id=slo.service.team_id if slo else service.team_id)
    _ensure_sensible(stretch, reason)
    if replaces is not None and replaces.state != State.APPROVED:
        raise refuse("replaces", found=f"{replaces} is {replaces.state}", allowed="an approved exclusion is allowed")
    return Exclusion(
        reference=secrets.token_hex(8),
        slo=slo,
        service=service,
        reason=reason.strip(),
        starts_at=stretch.starts_at,
        ends_at=stretch.ends_at,
        recurrence=stretch.recurrence,
        zone=stretch.zone,
        requested_by=principal.label,
        requester_id=principal.user_id,
        requested_at=database_now(),
        replaces=replaces,
    )


def approve_exclusion(*, principal: Principal, exclusion: Exclusion) -> None:
    """Let an exclusion count from now on; whoever asked for it may not. What it replaces ends."""
    _decide(principal, exclusion, State.APPROVED)


def reject_exclusion(*, principal: Principal, exclusion: Exclusion) -> None:
    """Refuse an exclusion."""
    _decide(principal, exclusion, State.REJECTED)


@transaction.atomic
def withdraw_exclusion(*, principal: Principal, exclusion: Exclusion) -> None:
    """Let the time count again; that it was excluded until now stays known."""
    ensure_may(principal, Capability.SLO_EXCLUDE, team_id=_team_of(exclusion))
    now = database_now()
    changed = Exclusion.objects.filter(pk=exclusion.pk, state__in=(State.APPROVED, State.REQUESTED)).update(
        state=State.WITHDRAWN, ended_at=now
    )
    if not changed:
        raise refuse(exclusion.reference, found=exclusion.state, allowed="a requested or approved one is allowed")
    exclusion.refresh_from_db()
    _record(exclusion, principal)


@transaction.atomic
def _decide(principal: Principal, exclusion: Exclusion, state: Exclusion.State) -> None:
    ensure_may(principal, Capability.APPROVE, team_id=_team_of(exclusion))
    same_person = principal.user_id is not None and principal.user_id == exclusion.requester_id
    if same_person or principal.label == exclusion.requested_by:
        raise PermissionDenied(f"{exclusion} was asked for by {exclusion.requested_by}: another person must decide.")
    now = database_now()
    changed = Exclusion.objects.filter(pk=exclusion.pk, state=State.REQUESTED).update(
        state=state, decided_by=principal.label, decided_at=now
    )
    if not changed:
        raise refuse(exclusion.reference, found=exclusion.state, allowed="a requested one can be decided")
    if state == State.APPROVED:
        if exclusion.replaces_id is not None:
            Exclusion.objects.filter(pk=exclusion.replaces_id, state=State.APPROVED).update(
                state=State.REPLACED, ended_at=now
            )
        _keep_edges(exclusion, now)
    exclusion.refresh_from_db()
    _record(exclusion, principal)


def _keep_edges(exclusion: Exclusion, now: datetime) -> None:
    """Keep the sums at the edges when the minutes around them are thinned out."""
    spans = merged_spans(
        occurrences(
            starts_at=exclusion.starts_at,
            ends_at=exclusion.ends_at,
            recurrence=exclusion.recurrence,
            zone=exclusion.zone,
            since=exclusion.starts_at,
            until=max(now, exclusion.ends_at) + KEEP_EDGES_FOR,
        )
    )
    KeptMinute.objects.bulk_create(
        [KeptMinute(minute=minute, reason=exclusion.reference) for span in spans for minute in span],
        ignore_conflicts=True,
        batch_size=500,
    )


def _ensure_sensible(stretch: Stretch, reason: str) -> None:
    if not reason.strip():
        raise refuse("reason", found="nothing", allowed="a reason that an auditor understands is required")
    if not timedelta() < stretch.ends_at - stretch.starts_at <= LONGEST:
        raise refuse("ends", found=stretch.ends_at.isoformat(), allowed="an end after the start, within a year")
    try:
        ZoneInfo(stretch.zone)
        occurrences(
            starts_at=stretch.starts_at,
            ends_at=stretch.ends_at,
            recurrence=stretch.recurrence,
            zone=stretch.zone,
            since=stretch.starts_at,
            until=stretch.ends_at,
        )
    except (ValueError, TypeError, ZoneInfoNotFoundError, OSError) as error:
        raise refuse(
            "recurrence", found=f"{stretch.recurrence} {stretch.zone}", allowed=f"an RRULE and an IANA zone; {error}"
        ) from None


def _team_of(exclusion: Exclusion) -> int | None:
    service = exclusion.slo.service if exclusion.slo is not None else exclusion.service
    return service.team_id if service is not None else None


def _record(exclusion: Exclusion, principal: Principal) -> None:
    record(
        ExclusionChanged(
            exclusion=exclusion.reference,
            slo=exclusion.slo.slug if exclusion.slo else "",
            service=exclusion.service.slug if exclusion.service else "",
            state=exclusion.state,
            starts_at=exclusion.starts_at,
            ends_at=exclusion.ends_at,
            recurrence=exclusion.recurrence,
            zone=exclusion.zone,
            reason=exclusion.reason,
            requested_by=exclusion.requested_by,
            decided_by=exclusion.decided_by,
            replaces=exclusion.replaces.reference if exclusion.replaces else "",
        ),
        actor=principal.reference,
        subject=f"exclusion:{exclusion.reference}",
    )

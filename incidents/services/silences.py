"""Silence alerts for a while, and let go of what a silence held once it is over."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.data import ActivityKind
from catalog.selectors import services_by_slugs
from catalog.services import end_activity, start_activity
from core.clock import database_now
from core.parsing import refuse
from incidents.domain.routing import MatcherError, parse_matcher
from incidents.domain.silencing import ensure_recurrence_is_valid
from incidents.models import Silence

LONGEST = timedelta(days=366)


def add_silence(
    *,
    principal: Principal,
    matchers: Sequence[str],
    starts_at: datetime,
    ends_at: datetime,
    reason: str,
    kind: str = Silence.Kind.SILENCE,
    recurrence: str = "",
    time_zone: str = "UTC",
    team_id: int | None = None,
) -> Silence:
    """Silence alerts that fit all matchers. A maintenance window also stands in the catalogue's activities.

    Raises InputRefusedError when it fits everything, its end is not after its start, or a matcher or rule is none.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=team_id)
    if not matchers:
        raise refuse("matchers", found="none", allowed="at least one is needed; a silence of everything is refused")
    try:
        known = [str(parse_matcher(text)) for text in matchers]
        if recurrence:
            ensure_recurrence_is_valid(recurrence)
    except MatcherError as error:
        raise refuse("matchers", found=error, allowed="Alertmanager's matchers are allowed") from None
    except ValueError as error:
        raise refuse("recurrence", found=recurrence, allowed=str(error)) from None
    if not timedelta(0) < ends_at - starts_at <= LONGEST:
        raise refuse("ends_at", found=ends_at.isoformat(), allowed="an end after the start, within a year, is allowed")
    with transaction.atomic():
        silence = Silence.objects.create(
            kind=kind,
            matchers=known,
            starts_at=starts_at,
            ends_at=ends_at,
            time_zone=time_zone,
            recurrence=recurrence.strip(),
            reason=reason[:200],
            team_id=team_id,
            created_by=principal.reference,
            created_by_label=principal.label[:160],
            created_at=database_now(),
        )
        if kind == Silence.Kind.MAINTENANCE and not recurrence:
            slugs = [one.value for one in map(parse_matcher, known) if one.label == "service" and one.operator == "="]
            key = f"maintenance:{silence.reference}"
            start_activity(
                kind=ActivityKind.MAINTENANCE,
                source_key=key,
                title=reason,
                url=f"/alerts/silences/{silence.reference}/",
                service_ids=[service.pk for service in services_by_slugs(slugs)],
                started_at=starts_at,
            )
            end_activity(source_key=key, ended_at=ends_at)
    return silence


def end_silence(*, principal: Principal, silence: Silence) -> None:
    """End a silence now; what it held and still fires pages within seconds."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=silence.team_id)
    Silence.objects.filter(pk=silence.pk, ended_at=None).update(ended_at=database_now())

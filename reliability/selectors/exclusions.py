"""Which time does not count, for which SLOs, as known on a day."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from reliability.domain.exclusions import Span, merged_spans, occurrences
from reliability.models import SLO, Exclusion
from reliability.selectors.looking import looking, read_once


@dataclass(frozen=True)
class Assumed:
    """Exclusions as if they were decided otherwise: `held` count whatever their state, `dropped` (keys) do not."""

    held: tuple[Exclusion, ...] = ()
    dropped: frozenset[int] = frozenset()


def exclusions_visible(*, viewer: Principal) -> QuerySet[Exclusion]:
    """Return the exclusions of services that the viewer may see, newest first."""
    found = Exclusion.objects.select_related("slo", "slo__service", "service", "replaces")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    if teams is None:
        return found
    if not teams:
        return found.none()
    team_less = Q(slo__isnull=False, slo__service__team__isnull=True) | Q(
        service__isnull=False, service__team__isnull=True
    )
    return found.filter(Q(slo__service__team_id__in=teams) | Q(service__team_id__in=teams) | team_less)


def exclusions_of(*, slo: SLO) -> QuerySet[Exclusion]:
    """Return every exclusion that is or was for an SLO, in any state."""
    return Exclusion.objects.filter(Q(slo=slo) | Q(service_id=slo.service_id)).select_related("slo", "service")


def excluded_spans(
    slos: Iterable[SLO],
    *,
    since: datetime,
    until: datetime,
    known_at: datetime | None = None,
    assumed: Assumed | None = None,
) -> dict[int, list[Span]]:
    """Return the excluded minutes of SLOs by primary key, as approved now or as known at an instant; one query.

    A part of a composite SLO is excluded with the whole.
    """
    wanted = list(slos)
    ids = {slo.part_of_id or slo.pk for slo in wanted}
    rows = list(_decided(ids, {slo.service_id for slo in wanted}, since, until, known_at))
    if assumed is not None:
        rows = [row for row in rows if row.pk not in assumed.dropped]
        rows += assumed.held
    if not rows:
        return {}
    stretches = {
        id(row): occurrences(
            starts_at=row.starts_at,
            ends_at=row.ends_at,
            recurrence=row.recurrence,
            zone=row.zone,
            since=since,
            until=until,
        )
        for row in rows
    }
    spans = {}
    for slo in wanted:
        mine = [row for row in rows if row.slo_id == (slo.part_of_id or slo.pk) or row.service_id == slo.service_id]
        if merged := merged_spans(stretch for row in mine for stretch in stretches[id(row)]):
            spans[slo.pk] = merged
    return spans


def _decided(
    slos: set[int], services: set[int], since: datetime, until: datetime, known_at: datetime | None
) -> Iterable[Exclusion]:
    """Return the exclusions that may touch a time, as approved now or as known at an instant.

    Within a look all of them are read at once, whatever the time: its parts ask for many.
    """
    found = Exclusion.objects.filter(Q(slo_id__in=slos) | Q(service_id__in=services)).order_by("pk")
    if known_at is None:
        found = found.filter(state=Exclusion.State.APPROVED)
    else:
        found = found.filter(decided_at__lte=known_at).exclude(state=Exclusion.State.REJECTED)
        found = found.filter(Q(ended_at__isnull=True) | Q(ended_at__gt=known_at))
    if not looking():
        return found.filter(starts_at__lt=until).filter(Q(ends_at__gt=since) | ~Q(recurrence=""))
    key = ("exclusions", frozenset(slos), frozenset(services), known_at)
    rows = read_once(key, lambda: list(found))
    return [one for one in rows if one.starts_at < until and (one.ends_at > since or one.recurrence)]


def exclusion_as_json(one: Exclusion) -> dict[str, Any]:
    """Return an exclusion as the command line and the REST API say it."""
    return {
        "reference": one.reference,
        "state": one.state,
        "slo": one.slo.slug if one.slo else "",
        "service": one.service.slug if one.service else "",
        "from": one.starts_at.isoformat(),
        "to": one.ends_at.isoformat(),
        "recurrence": one.recurrence,
        "zone": one.zone,
        "requested_by": one.requested_by,
        "decided_by": one.decided_by,
        "reason": one.reason,
        "replaces": one.replaces.reference if one.replaces else "",
    }

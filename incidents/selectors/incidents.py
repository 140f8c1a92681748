"""Reads of incidents and their parts."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import Q, QuerySet

from accounts.data import Capability, Principal
from catalog.selectors import action_items_from
from incidents.data import AlertStatus, IncidentStatus
from incidents.domain.measures import Instants
from incidents.models import Alert, Incident, Review, TimelineEntry


def incidents_visible(*, viewer: Principal) -> QuerySet[Incident]:
    """Return the incidents that the viewer may see: of their teams, and those of no team."""
    found = Incident.objects.select_related("team", "acknowledged_by")
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    if teams is None:
        return found
    return found.filter(Q(team__in=teams) | Q(team__isnull=True)) if teams else found.none()


def incident_by_reference(*, reference: str, viewer: Principal | None = None) -> Incident | None:
    """Return an incident by `INC-3`, or None; with a viewer only if they may see it."""
    digits = reference.upper().removeprefix("INC-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        return None
    found = incidents_visible(viewer=viewer) if viewer is not None else Incident.objects.select_related("team")
    return found.filter(pk=int(digits)).first()


def keys_by_service_name(word: str) -> QuerySet[Any, Any]:
    """Return the primary keys of the incidents of services with a word in their name."""
    through = Incident.services.through.objects.filter(service__name__icontains=word)
    return through.values("incident_id")


def open_incidents(*, service_ids: Iterable[int] | None = None) -> QuerySet[Incident]:
    """Return the incidents that are not resolved, of the given services or all."""
    found = Incident.objects.exclude(status=IncidentStatus.RESOLVED)
    return found if service_ids is None else found.filter(services__in=list(service_ids)).distinct()


def timeline_of(*, incident: Incident) -> QuerySet[TimelineEntry]:
    """Return the timeline, first to last."""
    return TimelineEntry.objects.filter(incident=incident).select_related("corrects")


def alerts_visible(*, viewer: Principal, status: str = "") -> QuerySet[Alert]:
    """Return the alerts that the viewer may see, newest first."""
    found = Alert.objects.select_related("integration", "route", "service", "incident", "team")
    if status:
        found = found.filter(status=status)
    teams = viewer.teams_where(Capability.OPERATIONS_VIEW)
    if teams is None:
        return found
    return found.filter(Q(team__in=teams) | Q(team__isnull=True)) if teams else found.none()


def firing_alerts_of(*, incident: Incident) -> QuerySet[Alert]:
    """Return the alerts of an incident that still fire."""
    return Alert.objects.filter(incident=incident, status=AlertStatus.FIRING)


def review_of(*, incident: Incident) -> Review | None:
    """Return the review, or None before the incident is resolved."""
    return Review.objects.select_related("incident", "edited_by", "approved_by").filter(incident=incident).first()


def follow_ups_of(*, incident: Incident) -> Sequence[Any]:
    """Return the follow-ups of an incident's review."""
    return list(action_items_from(source=f"review:{incident.reference}"))


def similar_incidents(*, incident: Incident, viewer: Principal, most: int = 5) -> Sequence[Incident]:
    """Return earlier incidents of the same service and route, latest first."""
    if not incident.route_name:
        return []
    earlier = incidents_visible(viewer=viewer).filter(grouping_key=incident.grouping_key, pk__lt=incident.pk)
    return list(earlier[:most])


def measured(incident: Incident) -> Instants:
    """Return the instants that the measures are computed from."""
    return Instants(
        impact_started_at=incident.impact_started_at,
        detected_at=incident.detected_at,
        first_notified_at=incident.first_notified_at,
        acknowledged_at=incident.acknowledged_at,
        mitigated_at=incident.mitigated_at,
        resolved_at=incident.resolved_at,
        engaged_at=incident.engaged_at,
    )

"""Reads of what came in. Bodies may hold anything, so they are for those who answer alerts."""

from collections.abc import Sequence

from django.db.models import QuerySet

from accounts.data import Capability, Principal
from incidents.models import InboundBody, InboundEvent, Integration, Route


def inbound_events(*, viewer: Principal, integration_slug: str = "", state: str = "") -> QuerySet[InboundEvent]:
    """Return stored events without their bodies, newest first; none for those who may not respond to incidents."""
    found = InboundEvent.objects.select_related("integration").defer("body")
    if not viewer.may(Capability.INCIDENT_RESPOND):
        return found.none()
    if integration_slug:
        found = found.filter(integration__slug=integration_slug)
    return found.filter(state=state) if state else found


def inbound_event_by_reference(*, viewer: Principal, reference: str) -> InboundEvent | None:
    """Return one stored event with its body, or None."""
    if not viewer.may(Capability.INCIDENT_RESPOND):
        return None
    found = InboundEvent.objects.select_related("integration").filter(reference=reference).first()
    if found is not None:
        bring_bodies([found])
    return found


def integrations() -> QuerySet[Integration]:
    """Return the integrations."""
    return Integration.objects.all()


def integration_by_slug(*, slug: str) -> Integration | None:
    """Return an integration, or None."""
    return Integration.objects.select_related("team").filter(slug=slug).first()


def latest_events_of(*, integration: Integration, limit: int) -> list[InboundEvent]:
    """Return an integration's newest stored events with their bodies, for who may read them."""
    found = list(InboundEvent.objects.filter(integration=integration)[:limit])
    bring_bodies(found)
    return found


def bring_bodies(events: Sequence[InboundEvent]) -> None:
    """Give events their headers and bytes, in one query. Those that the release before has stored have them already."""
    bare = {event.pk: event for event in events if not event.body}
    if not bare:
        return
    for key, headers, body in InboundBody.objects.filter(pk__in=bare).order_by().values_list("pk", "headers", "body"):
        bare[key].headers, bare[key].body = headers, body


def routes() -> QuerySet[Route]:
    """Return the routes in the order in which they are tried."""
    return Route.objects.select_related("service", "policy")

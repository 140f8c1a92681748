"""What becomes of pages: a dead one is told and does not hold the escalation up."""

from accounts.data import Capability, system_principal
from accounts.selectors import users_with
from core.clock import database_now
from core.events import subscribe
from delivery.data import Channel, DeliveryState
from delivery.events import DeliverySettled
from delivery.services import send
from incidents.data import TimelineKind
from incidents.selectors import incident_by_reference
from incidents.services import add_timeline_entry, advance_after_dead_page

DELIVERY = system_principal("delivery")


def _is_dead(event: DeliverySettled) -> bool:
    return event.state == DeliveryState.DEAD


@subscribe(DeliverySettled, when=_is_dead)
def follow_page(event: DeliverySettled) -> None:
    """Write to the timeline that a page could not be delivered, and go on with the escalation without waiting."""
    parts = event.idempotency_key.split(":")
    if parts[0] != "escalation" or len(parts) != 6:
        return
    incident = incident_by_reference(reference=event.about.removeprefix("incident:"))
    if incident is None:
        return
    add_timeline_entry(
        incident=incident,
        kind=TimelineKind.PAGE,
        text=f"A page by {event.channel} could not be delivered: {event.error}",
        source_key=f"{event.idempotency_key}:dead",
        principal=DELIVERY,
    )
    advance_after_dead_page(incident_id=incident.pk, run_id=int(parts[1]), position=f"{parts[2]}:{parts[3]}")


@subscribe(DeliverySettled, when=_is_dead)
def alarm_on_dead_letter(event: DeliverySettled) -> None:
    """Tell the administrators of a dead letter: once an hour for each address, in the site."""
    hour = database_now().strftime("%Y-%m-%dT%H")
    for user in users_with(Capability.SITE_ADMIN):
        send(
            channel=Channel.IN_APP,
            address=f"user:{user.pk}",
            idempotency_key=f"dead:{event.channel}:{event.address}:{hour}:{user.pk}"[:255],
            subject=f"A {event.channel} to {event.address} was given up",
            text=event.error,
            link="/settings/deliveries/?state=dead",
        )

"""Send every room's events to the endpoints that asked for them."""

from collections.abc import Iterator

from core.clock import database_now
from core.events import DomainEvent, subscribe
from core.identifiers import new_id
from delivery.data import Channel
from delivery.selectors import endpoints_for_kind
from delivery.services import send


def fan_out(event: DomainEvent) -> None:
    """Put one signed webhook into the outbox for each endpoint that wants this kind of event."""
    wanting = endpoints_for_kind(kind=event.kind)
    if not wanting:
        return
    event_id = new_id("evt")
    payload = {
        "type": event.kind,
        "timestamp": database_now().isoformat(),
        "data": {"id": event_id, **event.model_dump(mode="json")},
    }
    for endpoint in wanting:
        send(
            channel=Channel.WEBHOOK,
            address=endpoint.slug,
            idempotency_key=f"{event_id}:{endpoint.slug}",
            subject=event.kind,
            text="",
            payload=payload,
            about=f"event:{event.kind}",
            order_key=f"{endpoint.slug}:{_resource_of(event)}" if endpoint.ordered else "",
        )


def _is_wanted(kind: str) -> bool:
    return bool(endpoints_for_kind(kind=kind))


def _resource_of(event: DomainEvent) -> str:
    """Return what an event is about, so that what concerns one thing stays in order."""
    values = event.model_dump(mode="json")
    return str(
        next((values[name] for name in ("reference", "run_reference", "slo_slug") if values.get(name)), event.kind)
    )


def _kinds_of(base: type[DomainEvent]) -> Iterator[type[DomainEvent]]:
    for event_type in base.__subclasses__():
        if hasattr(event_type, "kind"):
            yield event_type
        yield from _kinds_of(event_type)


# Every room's events are loaded before any subscriber. Delivery's own would feed themselves.
for _event_type in _kinds_of(DomainEvent):
    if not _event_type.kind.startswith("delivery."):
        subscribe(_event_type, wanted=_is_wanted)(fan_out)

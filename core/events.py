"""Announce what happened to whoever subscribes, in the transaction of the change.

`publish` writes the event and one row for each subscriber of its kind; workers claim these rows. A subscriber runs in
one transaction with the settling of its row, so what it writes to the database happens exactly once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from django.db import models, transaction
from django.db.models import Q
from pydantic import BaseModel, ConfigDict

from core.clock import database_now
from core.leases import LeasedModel
from core.work import WorkQueue, register_queue, wake


class DomainEvent(BaseModel):
    """What an app announces; a subclass names its `kind` (past tense, `incident.acknowledged`) and fields.

    A subclass whose fields change raises its `format` and converts what older code has published. Workers of the
    release before leave events of the new format to those that know it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]
    format: ClassVar[int] = 1

    @classmethod
    def converted(cls, payload: dict[str, Any], *, older_format: int) -> dict[str, Any]:  # noqa: ARG003 for subclasses
        """Return the fields of this format for a payload that was published in an older one."""
        return payload


class Event(models.Model):
    """Something that happened, as announced."""

    kind = models.CharField(max_length=100, db_index=True)
    payload = models.JSONField()
    published_at = models.DateTimeField()

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class EventDelivery(LeasedModel):
    """An event that one subscriber still has to hear of, or has heard of."""

    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="deliveries")
    subscriber = models.CharField(max_length=160)

    class Meta:
        ordering = ("pk",)
        constraints = (
            models.UniqueConstraint(fields=("event", "subscriber"), name="one_delivery_per_event_and_subscriber"),
        )
        indexes = (
            models.Index(
                fields=("due_at",),
                name="due_event_delivery",
                condition=models.Q(finished_at__isnull=True, dead_at__isnull=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.event} → {self.subscriber}"


AnyEvent = TypeVar("AnyEvent", bound=DomainEvent)
Subscriber = Callable[[AnyEvent], None]

Condition = Callable[[AnyEvent], bool]


@dataclass(frozen=True)
class _Subscription:
    event_type: type[DomainEvent]
    function: Callable[[Any], None]
    when: Callable[[Any], bool] | None
    wanted: Callable[[str], bool] | None


_subscribers: dict[str, dict[str, _Subscription]] = {}


def subscribe(
    event_type: type[AnyEvent],
    *,
    when: Condition[AnyEvent] | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> Callable[[Subscriber[AnyEvent]], Subscriber[AnyEvent]]:
    """Call the decorated function, in a worker and in its own transaction, for every event of this type.

    With `when`, only for those for which it holds: it looks at the event alone, at the moment of publishing, and spares
    the row and the worker's turn. `wanted` says the same of a whole kind and may ask the database: it is called once
    for each announcement, in its transaction.
    """

    def register(function: Subscriber[AnyEvent]) -> Subscriber[AnyEvent]:
        name = f"{function.__module__}.{function.__qualname__}"
        by_name = _subscribers.setdefault(event_type.kind, {})
        if name in by_name:
            raise ValueError(f"{name} subscribes to {event_type.kind} twice")
        by_name[name] = _Subscription(event_type, function, when, wanted)
        return function

    return register


def _address(name: str, number: int) -> str:
    """Return what stands on a row for a subscriber: its name, and the event's format where it is not the first."""
    return name if number == 1 else f"{name}@{number}"


def known_addresses() -> Q:
    """Return the condition of rows that are addressed to a subscriber of this code, in a format that it knows."""
    return Q(
        subscriber__in=[
            _address(name, number)
            for by_name in _subscribers.values()
            for name, one in by_name.items()
            for number in range(1, one.event_type.format + 1)
        ]
    )


def publish(event: DomainEvent) -> Event:
    """Write the event and a row for each subscriber. Call it inside the transaction of the change."""
    (row,) = publish_many([event])
    return row


def publish_many(events: Sequence[DomainEvent]) -> list[Event]:
    """Publish events in this order, in a few statements for all of them."""
    if not events:
        return []
    now = database_now()
    with transaction.atomic(savepoint=False):
        rows = Event.objects.bulk_create(
            [Event(kind=one.kind, payload=one.model_dump(mode="json"), published_at=now) for one in events]
        )
        known = {kind: _wanting(kind) for kind in {one.kind for one in events}}
        heard = [
            EventDelivery(event=row, subscriber=_address(name, event.format), due_at=now)
            for row, event in zip(rows, events, strict=True)
            for name, one in known[event.kind].items()
            if one.when is None or one.when(event)
        ]
        if heard:
            EventDelivery.objects.bulk_create(heard)
            wake(EVENT_QUEUE.name)
    return rows


def _wanting(kind: str) -> dict[str, _Subscription]:
    """Return the subscribers of a kind that want to hear of it now."""
    known = _subscribers.get(kind, {})
    answers: dict[Callable[[str], bool], bool] = {}
    for one in known.values():
        if one.wanted is not None and one.wanted not in answers:
            answers[one.wanted] = one.wanted(kind)
    return {name: one for name, one in known.items() if one.wanted is None or answers[one.wanted]}


def _deliver(row: EventDelivery) -> None:
    event = row.event
    name, _, number = row.subscriber.partition("@")
    known = _subscribers.get(event.kind, {}).get(name)
    if known is None:
        raise LookupError(f"nothing is registered as {row.subscriber} for {event.kind}")
    event_type = known.event_type
    written = int(number or 1)
    payload = (
        event.payload if written == event_type.format else event_type.converted(event.payload, older_format=written)
    )
    known.function(event_type.model_validate(payload))


EVENT_QUEUE = register_queue(
    WorkQueue(
        name="core.events",
        model=EventDelivery,
        handle=_deliver,
        transactional=True,
        select_related=("event",),
        known=known_addresses,
        lease_for=timedelta(seconds=60),
        # Threads of the worker must be left for what they announce.
        parallel=2,
    )
)

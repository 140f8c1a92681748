"""Put something into the outbox; release it again."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction

from core.clock import database_now
from core.events import publish_many
from core.identifiers import new_id
from core.work import wake
from delivery.data import Actor, AttemptOutcome, Channel, DeliveryState, Outgoing
from delivery.events import DeliverySettled
from delivery.models import URGENT_BELOW, Delivery, DeliveryAttempt, Notification

URGENT_QUEUE = "delivery.urgent"
ORDINARY_QUEUE = "delivery.ordinary"


def send(
    *,
    channel: Channel,
    address: str,
    idempotency_key: str,
    subject: str,
    text: str,
    payload: dict[str, Any] | None = None,
    link: str = "",
    priority: int = 5,
    about: str = "",
    delay: timedelta = timedelta(0),
    order_key: str = "",
) -> Delivery:
    """Put a message into the outbox, in the caller's transaction, and return its row.

    A key that was used before returns the row that has it and changes nothing. Priority below 5 is urgent: it has its
    own queue and short retries. In-app messages are written at once; there is nothing to wait for. With a delay it
    leaves later, unless it is withdrawn first. Of one `order_key` nothing leaves before what came
    earlier has settled.
    """
    (delivery,) = send_many(
        [
            Outgoing(
                channel=channel,
                address=address,
                idempotency_key=idempotency_key,
                subject=subject,
                text=text,
                payload=payload,
                link=link,
                priority=priority,
                about=about,
                delay=delay,
                order_key=order_key,
            )
        ]
    )
    return delivery


def send_many(messages: Sequence[Outgoing]) -> list[Delivery]:
    """Put messages into the outbox as `send` does, in a few statements for all; returns their rows in this order."""
    if not messages:
        return []
    now = database_now()
    rows = [_row(one, now) for one in messages]
    with transaction.atomic(savepoint=False):
        # A key is new nearly always, so it is written without a look first.
        try:
            with transaction.atomic():
                Delivery.objects.bulk_create(rows)
        except IntegrityError:
            if len(messages) == 1:
                return [Delivery.objects.get(idempotency_key=messages[0].idempotency_key)]
            return [row for one in messages for row in send_many([one])]
        _write_notifications([row for row in rows if row.channel == Channel.IN_APP], now)
        for queue in dict.fromkeys(queue_name_for(row.priority) for row in rows if row.channel != Channel.IN_APP):
            wake(queue)
    return rows


def _row(one: Outgoing, now: datetime) -> Delivery:
    payload = one.payload
    delivery = Delivery(
        idempotency_key=one.idempotency_key,
        reference=new_id("dlv"),
        channel=one.channel,
        address=one.address,
        subject=one.subject[:300],
        text=one.text,
        payload=payload if payload is not None else _plain_payload(one.channel, now, one.subject, one.text, one.link),
        link=one.link,
        priority=one.priority,
        about=one.about,
        due_at=now + one.delay,
        created_at=now,
        order_key=one.order_key[:200],
    )
    if one.channel is Channel.IN_APP:
        delivery.state, delivery.sent_at, delivery.finished_at, delivery.tries = DeliveryState.SENT, now, now, 1
    return delivery


def queue_name_for(priority: int) -> str:
    """Return the queue that carries this priority."""
    return URGENT_QUEUE if priority < URGENT_BELOW else ORDINARY_QUEUE


def redeliver(*, principal: Actor, delivery: Delivery) -> Delivery:
    """Release a delivery again, whatever became of it, with the same identity and a fresh schedule.

    Raises PermissionDenied; returns the row unchanged when a worker holds it at this moment.
    """
    ensure_may_edit(principal)
    now = database_now()
    with transaction.atomic():
        if (
            Delivery.objects.filter(pk=delivery.pk, lease_owner="")
            .exclude(channel=Channel.IN_APP)
            .update(
                state=DeliveryState.PENDING,
                tries=0,
                attempts=0,
                due_at=now,
                finished_at=None,
                dead_at=None,
                sent_at=None,
                withdrawn_at=None,
                last_error="",
            )
        ):
            wake(queue_name_for(delivery.priority))
        delivery.refresh_from_db()
    return delivery


def withdraw_pending(*, about: str, keys_starting_with: str = "") -> int:
    """Withdraw what has not been handed over yet (an acknowledged page needs no further mail); returns how many.

    A delivery that a worker holds right now goes out: it cannot be called back.
    """
    now = database_now()
    waiting = Delivery.objects.filter(about=about, state=DeliveryState.PENDING, lease_owner="")
    if keys_starting_with:
        waiting = waiting.filter(idempotency_key__startswith=keys_starting_with)
    with transaction.atomic():
        withdrawn = 0
        for row in waiting:
            withdrawn += Delivery.objects.filter(pk=row.pk, fence=row.fence, lease_owner="", finished_at=None).update(
                state=DeliveryState.WITHDRAWN, withdrawn_at=now, finished_at=now
            )
    return withdrawn


def withdraw_older_than(*, instant: datetime) -> int:
    """Withdraw what was put into the outbox before an instant and has not been handed over; returns how many.

    For a restored site: the original has most likely sent it. Each can be released again on its page.
    """
    now = database_now()
    return (
        Delivery.objects.filter(state=DeliveryState.PENDING, created_at__lt=instant)
        .exclude(channel=Channel.IN_APP)
        .update(state=DeliveryState.WITHDRAWN, withdrawn_at=now, finished_at=now)
    )


def announce_settled(rows: Iterable[Delivery]) -> None:
    """Publish that each of these has settled."""
    publish_many(
        [
            DeliverySettled(
                delivery_id=row.pk,
                idempotency_key=row.idempotency_key,
                channel=row.channel,
                address=row.address,
                state=row.state,
                about=row.about,
                error=row.last_error[:500],
            )
            for row in rows
        ]
    )


def ensure_may_edit(principal: Actor) -> None:
    """Raise PermissionDenied unless the principal may change deliveries and endpoints."""
    if not principal.may("delivery.edit"):
        raise PermissionDenied(f"{principal.label} may not do this (delivery.edit); allowed for: admin.")


def _plain_payload(channel: Channel, now: datetime, subject: str, text: str, link: str) -> dict[str, Any] | None:
    if channel is not Channel.WEBHOOK:
        return None
    return {
        "type": "message",
        "timestamp": now.isoformat(),
        "data": {"subject": subject, "text": text, "link": link},
    }


def _write_notifications(rows: Sequence[Delivery], now: datetime) -> None:
    if not rows:
        return
    Notification.objects.bulk_create(
        [
            Notification(
                delivery=row,
                recipient=row.address,
                title=row.subject,
                text=row.text,
                link=row.link,
                created_at=now,
            )
            for row in rows
        ]
    )
    DeliveryAttempt.objects.bulk_create(
        [
            DeliveryAttempt(delivery=row, number=1, started_at=now, finished_at=now, outcome=AttemptOutcome.ACCEPTED)
            for row in rows
        ]
    )
    announce_settled(rows)

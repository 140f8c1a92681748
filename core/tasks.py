"""The Celery task that wakes a worker, and core's own recurring jobs."""

import logging
import time
from datetime import timedelta

from celery import shared_task
from django.db import DatabaseError, close_old_connections

from core.beats import beat
from core.clock import database_now
from core.deleting import delete_in_batches
from core.events import EVENT_QUEUE, Event, EventDelivery, known_addresses
from core.leases import due_q
from core.partitions import open_months, partitioned_tables
from core.periodic import periodic
from core.waking import WakeUps
from core.work import drain

logger = logging.getLogger(__name__)

KEEP_HEARD_EVENTS = timedelta(days=7)
NOBODY_KNOWS_AFTER = timedelta(days=1)
# After a broker has not answered, it is left alone this long: a request that wakes ten queues must not wait ten times.
BROKER_REST_SECONDS = 2.0

_broker_rests_until = [0.0]


@shared_task(name="core.drain")
def drain_queue(name: str) -> int:
    """Drain one queue."""
    close_old_connections()
    beat("worker")
    return drain(name)


def send_wake_up(name: str) -> None:
    """Publish a wake-up, together with others that come at about this time."""
    _wake_ups.ask(name)


def _publish(name: str) -> None:
    """Publish a wake-up; a broker that does not answer costs a second of delay, nothing else."""
    if time.monotonic() < _broker_rests_until[0]:
        return
    try:
        drain_queue.apply_async(args=(name,), retry=False, expires=60)
    except Exception as error:  # noqa: BLE001 any transport may raise its own errors; the sweep carries correctness
        _broker_rests_until[0] = time.monotonic() + BROKER_REST_SECONDS
        logger.warning("no wake-up for %s: %s", name, error)


_wake_ups = WakeUps(_publish)


@periodic("core.forget_heard_events", every=timedelta(hours=1))
def forget_heard_events() -> None:
    """Delete events that every subscriber has heard, after a week."""
    unheard = EventDelivery.objects.filter(finished_at__isnull=True).values("event_id")
    delete_in_batches(Event.objects.filter(published_at__lt=database_now() - KEEP_HEARD_EVENTS).exclude(pk__in=unheard))


@periodic("core.give_up_unknown_subscribers", every=timedelta(hours=1))
def give_up_unknown_subscribers() -> None:
    """Give up events whose subscriber no worker has known for a day: longer than a release is rolled out."""
    now = database_now()
    unheard = EVENT_QUEUE.queryset().filter(due_q(now - NOBODY_KNOWS_AFTER)).exclude(known_addresses())
    unheard.update(dead_at=now, last_error="No release that worked here for a day knows this subscriber.")


@periodic("core.partitions", every=timedelta(hours=1), while_held=True)
def open_parts_of_tables() -> None:
    """Open the months of tables that are kept by month; one that fails does not keep the others from theirs."""
    now, failed = database_now(), []
    for table in partitioned_tables():
        try:
            open_months(table, now=now)
        except DatabaseError as error:
            failed.append(f"{table.table}: {str(error).strip().splitlines()[0]}")
    if failed:
        raise RuntimeError("; ".join(failed))

"""The Celery task that wakes a worker, and core's own recurring jobs."""

import logging
from datetime import timedelta

from celery import shared_task

from core.clock import database_now
from core.events import Event, EventDelivery
from core.periodic import periodic
from core.work import drain

logger = logging.getLogger(__name__)

KEEP_HEARD_EVENTS = timedelta(days=7)


@shared_task(name="core.drain")
def drain_queue(name: str) -> int:
    """Drain one queue."""
    return drain(name)


def send_wake_up(name: str) -> None:
    """Publish a wake-up; a broker that does not answer costs a second of delay, nothing else."""
    try:
        drain_queue.apply_async(args=(name,), retry=False, expires=60)
    except Exception as error:  # noqa: BLE001 any transport may raise its own errors; the sweep carries correctness
        logger.warning("no wake-up for %s: %s", name, error)


@periodic("core.forget_heard_events", every=timedelta(hours=1))
def forget_heard_events() -> None:
    """Delete events that every subscriber has heard, after a week."""
    unheard = EventDelivery.objects.filter(finished_at__isnull=True).values("event_id")
    Event.objects.filter(published_at__lt=database_now() - KEEP_HEARD_EVENTS).exclude(pk__in=unheard).delete()

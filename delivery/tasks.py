"""The queues of the outbox: what is urgent never waits behind what is not."""

from datetime import timedelta

from django.db.models import QuerySet

from core.work import WorkQueue, register_queue
from delivery.models import URGENT_BELOW, Delivery, OutsideWatch
from delivery.services import deliver, tell_outside
from delivery.services.outbox import ORDINARY_QUEUE, URGENT_QUEUE

LEASE = timedelta(seconds=60)


def _urgent() -> QuerySet[Delivery]:
    return Delivery.objects.filter(priority__lt=URGENT_BELOW)


def _ordinary() -> QuerySet[Delivery]:
    return Delivery.objects.filter(priority__gte=URGENT_BELOW)


# Receivers that hang must not take every thread of a worker.
for name, rows, parallel in ((URGENT_QUEUE, _urgent, 4), (ORDINARY_QUEUE, _ordinary, 2)):
    register_queue(
        WorkQueue(
            name=name,
            model=Delivery,
            handle=deliver,
            lease_for=LEASE,
            rows=rows,
            parallel=parallel,
            again_by="Settings, Deliveries, Send again, or manage.py delivery redeliver",
        )
    )
register_queue(WorkQueue(name="delivery.outside", model=OutsideWatch, handle=tell_outside, lease_for=LEASE))

from datetime import timedelta

import pytest
from django.utils import timezone

from core.deleting import delete_in_batches
from core.events import Event, EventDelivery
from core.tasks import forget_heard_events

pytestmark = [pytest.mark.django_db, pytest.mark.database]
LONG_AGO = timezone.now() - timedelta(days=30)


def old_events(count: int) -> list[Event]:
    return Event.objects.bulk_create(
        [Event(kind="shop.ordered", payload={}, published_at=LONG_AGO) for _ in range(count)]
    )


def test_old_rows_go_in_batches_and_what_is_left_goes_next_time() -> None:
    old_events(7)
    assert delete_in_batches(Event.objects.filter(published_at__lt=timezone.now()), batch=3, seconds=0) == 3
    assert delete_in_batches(Event.objects.filter(published_at__lt=timezone.now()), batch=3) == 4
    assert not Event.objects.exists()


def test_an_event_that_somebody_has_not_heard_is_kept() -> None:
    heard, unheard = old_events(2)
    EventDelivery.objects.create(event=heard, subscriber="a", due_at=LONG_AGO, finished_at=LONG_AGO)
    EventDelivery.objects.create(event=unheard, subscriber="a", due_at=LONG_AGO)
    forget_heard_events()
    assert list(Event.objects.all()) == [unheard]
    assert EventDelivery.objects.count() == 1

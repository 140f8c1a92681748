"""How what leaves the site fares."""

from collections.abc import Iterator
from datetime import timedelta

from core.clock import database_now
from core.measuring import Figure, figures
from delivery.data import Channel, DeliveryState
from delivery.models import Delivery, Endpoint, OutsideWatch

LATELY = timedelta(hours=1)
COUNT_UP_TO = 10_000


@figures("delivery")
def deliveries() -> Iterator[Figure]:
    """Say which channels gave messages up, whose circuits are open, and whether the outside watch hears this site."""
    given_up = Delivery.objects.filter(state=DeliveryState.DEAD, dead_at__gt=database_now() - LATELY)
    found = list(given_up.order_by("-pk").values_list("channel", flat=True)[:COUNT_UP_TO])
    for channel in Channel:
        count = found.count(channel.value)
        yield Figure("deliveries_given_up", "Messages given up in the last hour.", count, {"channel": channel.value})
    is_open = Endpoint.objects.filter(state=Endpoint.State.ACTIVE, circuit="open").count()
    yield Figure("webhook_circuits_open", "Receivers that nothing is sent to because they fail.", is_open)
    unheard = OutsideWatch.objects.exclude(last_error="").count()
    yield Figure("outside_watches_failing", "Outside watches that the last word did not reach.", unheard)

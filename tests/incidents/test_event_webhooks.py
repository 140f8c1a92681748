"""Endpoints that ask for kinds of events get them as signed webhooks, once each."""

import pytest

from core.work import drain, drain_all
from delivery.models import Delivery, Endpoint
from incidents.models import Incident
from incidents.services import acknowledge_incident
from tests.incidents.conftest import World, an_alert

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def test_an_endpoint_gets_the_events_of_the_kinds_that_it_named(world: World) -> None:
    for slug, kinds in (("all", ["incident.*"]), ("acks", ["incident.acknowledged"]), ("none", [])):
        Endpoint.objects.create(slug=slug, name=slug, url="https://127.0.0.1:9/", event_kinds=kinds)
    world.post_alertmanager(an_alert())
    drain("incidents.inbound")
    drain("core.events")
    acknowledge_incident(principal=world.who("alice"), incident=Incident.objects.get())
    drain("core.events")
    sent = Delivery.objects.filter(channel="webhook").order_by("pk").values_list("address", "subject")
    assert sorted(sent) == [
        ("acks", "incident.acknowledged"),
        ("all", "incident.acknowledged"),
        ("all", "incident.opened"),
    ]
    body = Delivery.objects.get(subject="incident.opened").payload
    assert body is not None
    assert (body["type"], body["data"]["service_slugs"]) == ("incident.opened", ["gateway"])
    drain_all()
    assert Delivery.objects.filter(channel="webhook").count() == 3

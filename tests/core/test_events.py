from typing import ClassVar

import pytest
from django.db import transaction

from core import events
from core.events import DomainEvent, Event, EventDelivery, publish, publish_many, subscribe
from core.leases import revive
from core.work import PeriodicJob, drain

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class LampLit(DomainEvent):
    kind: ClassVar[str] = "lamp.lit"
    colour: str


@pytest.fixture(autouse=True)
def no_other_subscribers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_subscribers", {})


def test_every_subscriber_hears_an_event_once() -> None:
    heard: list[str] = []

    @subscribe(LampLit)
    def first(event: LampLit) -> None:
        heard.append(f"first {event.colour}")

    @subscribe(LampLit)
    def second(event: LampLit) -> None:
        heard.append(f"second {event.colour}")

    publish(LampLit(colour="red"))
    drain("core.events")
    drain("core.events")
    assert sorted(heard) == ["first red", "second red"]


def test_a_subscriber_with_a_condition_costs_nothing_where_it_does_not_hold() -> None:
    heard: list[str] = []

    @subscribe(LampLit, when=lambda event: event.colour == "red")
    def listener(event: LampLit) -> None:
        heard.append(event.colour)

    publish(LampLit(colour="green"))
    assert not EventDelivery.objects.exists()
    publish(LampLit(colour="red"))
    drain("core.events")
    assert heard == ["red"]


def test_a_kind_that_nobody_wants_costs_one_question_for_all_of_its_events() -> None:
    asked: list[str] = []
    wanted: list[str] = []

    def is_wanted(kind: str) -> bool:
        asked.append(kind)
        return kind in wanted

    heard: list[str] = []

    @subscribe(LampLit, wanted=is_wanted)
    def listener(event: LampLit) -> None:
        heard.append(event.colour)

    publish_many([LampLit(colour="green"), LampLit(colour="blue")])
    assert asked == ["lamp.lit"]
    assert not EventDelivery.objects.exists()
    wanted.append("lamp.lit")
    publish_many([LampLit(colour="red"), LampLit(colour="white")])
    drain("core.events")
    assert heard == ["red", "white"]
    assert publish_many([]) == []


def test_an_event_of_a_change_that_is_rolled_back_is_never_heard() -> None:
    heard: list[str] = []

    @subscribe(LampLit)
    def listener(event: LampLit) -> None:
        heard.append(event.colour)

    with transaction.atomic():
        publish(LampLit(colour="red"))
        transaction.set_rollback(True)
    drain("core.events")
    assert heard == []
    assert not Event.objects.exists()


def test_what_a_failing_subscriber_wrote_is_undone_and_tried_again() -> None:
    fail = [True]

    @subscribe(LampLit)
    def listener(event: LampLit) -> None:
        PeriodicJob.objects.create(name=event.colour, due_at="2030-01-01T00:00:00Z")
        if fail[0]:
            raise ValueError("not yet")

    publish(LampLit(colour="red"))
    drain("core.events")
    assert not PeriodicJob.objects.exists()
    delivery = EventDelivery.objects.get()
    assert "not yet" in delivery.last_error
    assert delivery.attempts == 1
    EventDelivery.objects.update(due_at="2020-01-01T00:00:00Z")
    fail[0] = False
    drain("core.events")
    assert PeriodicJob.objects.get().name == "red"


def test_a_subscriber_that_keeps_failing_is_given_up_and_can_be_revived() -> None:
    @subscribe(LampLit)
    def listener(event: LampLit) -> None:
        raise ValueError("never")

    publish(LampLit(colour="red"))
    for _ in range(events.EVENT_QUEUE.max_attempts):
        EventDelivery.objects.update(due_at="2020-01-01T00:00:00Z")
        drain("core.events")
    delivery = EventDelivery.objects.get()
    assert delivery.dead_at is not None
    assert revive(EventDelivery.objects.all(), keys=[delivery.pk]) == 1
    delivery = EventDelivery.objects.get()
    assert delivery.dead_at is None
    assert delivery.attempts == 0


def test_one_function_cannot_subscribe_to_a_kind_twice() -> None:
    def listener(event: LampLit) -> None: ...

    subscribe(LampLit)(listener)
    with pytest.raises(ValueError, match=r"subscribes to lamp\.lit twice"):
        subscribe(LampLit)(listener)

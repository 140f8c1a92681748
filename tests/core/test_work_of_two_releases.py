"""While a release is rolled out, an older worker leaves alone what only a newer one can handle."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.utils import timezone

from core import events, periodic, work
from core.events import DomainEvent, EventDelivery, publish, subscribe
from core.periodic import ensure_jobs
from core.releases import SchemaRelease, WorkFormat, current_release, enter_release, formats_ahead, return_to_release
from core.tasks import give_up_unknown_subscribers
from core.work import PeriodicJob, drain, not_known_here, queue_formats

pytestmark = [pytest.mark.django_db, pytest.mark.database]


class Ordered(DomainEvent):
    """Somebody ordered."""

    kind: ClassVar[str] = "shop.ordered"
    item: str


class OrderedWithCount(DomainEvent):
    """The same in the release after: how many were ordered is said too."""

    kind: ClassVar[str] = "shop.ordered"
    format: ClassVar[int] = 2
    item: str
    count: int

    @classmethod
    def converted(cls, payload: dict[str, Any], *, older_format: int) -> dict[str, Any]:
        return {**payload, "count": 1}


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[DomainEvent]:
    monkeypatch.setattr(events, "_subscribers", {})
    return []


def runs_code_of(event_type: type[DomainEvent], heard: list[DomainEvent]) -> None:
    def ship(event: DomainEvent) -> None:
        heard.append(event)

    vars(events)["_subscribers"].clear()
    subscribe(event_type)(ship)


def test_an_older_worker_does_not_take_an_event_of_a_newer_format(heard: list[DomainEvent]) -> None:
    runs_code_of(OrderedWithCount, heard)
    publish(OrderedWithCount(item="tea", count=3))
    runs_code_of(Ordered, heard)
    publish(Ordered(item="milk"))
    assert drain("core.events") == 1
    assert heard == [Ordered(item="milk")]
    assert not_known_here() == {"core.events": 1}
    waiting = EventDelivery.objects.get(finished_at__isnull=True)
    assert (waiting.attempts, waiting.last_error) == (0, "")
    runs_code_of(OrderedWithCount, heard)
    assert drain("core.events") == 1
    assert heard[1] == OrderedWithCount(item="tea", count=3)


def test_a_newer_worker_converts_what_an_older_process_has_published(heard: list[DomainEvent]) -> None:
    runs_code_of(Ordered, heard)
    publish(Ordered(item="milk"))
    runs_code_of(OrderedWithCount, heard)
    assert drain("core.events") == 1
    assert heard == [OrderedWithCount(item="milk", count=1)]


def test_what_no_release_has_known_for_a_day_is_given_up(heard: list[DomainEvent]) -> None:
    runs_code_of(OrderedWithCount, heard)
    publish(OrderedWithCount(item="tea", count=3))
    runs_code_of(Ordered, heard)
    give_up_unknown_subscribers()
    assert not EventDelivery.objects.filter(dead_at__isnull=False).exists()
    EventDelivery.objects.update(due_at=timezone.now() - timedelta(days=2))
    give_up_unknown_subscribers()
    assert "knows this subscriber" in EventDelivery.objects.get(dead_at__isnull=False).last_error


def test_an_older_worker_leaves_a_queue_that_is_written_in_a_newer_format(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(periodic, "_jobs", {"a": periodic.Periodic("a", timedelta(minutes=1), lambda: ran.append("a"))})
    ensure_jobs()
    newer = {**queue_formats(), "core.periodic": 2}
    assert "core.periodic" in enter_release(version="2.0.0", formats=newer, by="test")
    assert drain("core.periodic") == 0
    assert not ran
    assert formats_ahead(queue_formats()) == {"core.periodic": 2}
    # The newer worker's code knows the format.
    monkeypatch.setitem(vars(work)["_queues"], "core.periodic", replace(periodic.PERIODIC_QUEUE, format=2))
    assert drain("core.periodic") == 1
    assert ran == ["a"]


def test_an_older_scheduler_that_starts_again_lowers_nothing_and_drops_no_newer_job() -> None:
    PeriodicJob.objects.create(name="of-the-newer-release", due_at=timezone.now())
    enter_release(version="2.0.0", formats={"core.events": 3}, by="test")
    enter_release(version="1.0.0", formats={"core.events": 1}, by="test")
    ensure_jobs()
    assert WorkFormat.objects.get(queue="core.events").format == 3
    assert PeriodicJob.objects.filter(name="of-the-newer-release").exists()
    assert drain("core.periodic") >= 0
    assert PeriodicJob.objects.get(name="of-the-newer-release").attempts == 0


def test_going_back_gives_the_queues_to_the_older_release_again() -> None:
    enter_release(version="2.0.0", formats={"core.events": 3}, by="test")
    assert return_to_release(version="1.0.0", formats=queue_formats(), by="test") == ["core.events"]
    assert not formats_ahead(queue_formats())
    stands = current_release()
    assert stands is not None
    assert stands.version == "1.0.0"
    assert SchemaRelease.objects.count() == 2

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from core import scheduling, tasks, work
from core.waking import WakeUps
from core.work import PeriodicJob, WorkQueue, drain, wake

DEADLINE_SECONDS = 30


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_the_first_wake_up_leaves_at_once_and_the_others_of_that_moment_as_one() -> None:
    sent: list[str] = []
    wake_ups = WakeUps(sent.append, apart=0.3)
    for _ in range(200):
        wake_ups.ask("a")
    assert sent == ["a"]
    wait_until(lambda: len(sent) == 2)
    wake_ups.ask("b")
    assert sent == ["a", "a", "b"], "another queue waits for nobody"


def test_none_is_the_last_without_one_that_follows_it() -> None:
    asked, answered = 0, threading.Event()
    seen: list[int] = []

    def note(_: str) -> None:
        seen.append(asked)
        if asked == 50:
            answered.set()

    wake_ups = WakeUps(note, apart=0.01)
    for number in range(1, 51):
        asked = number
        wake_ups.ask("a")
        time.sleep(0.001)
    assert answered.wait(DEADLINE_SECONDS)


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> dict[str, WorkQueue[Any]]:
    found: dict[str, WorkQueue[Any]] = {}
    monkeypatch.setattr(work, "_queues", found)
    return found


def put(*names: str) -> None:
    now = timezone.now() - timedelta(seconds=1)
    PeriodicJob.objects.bulk_create([PeriodicJob(name=name, due_at=now) for name in names])


@pytest.mark.django_db(transaction=True)
@pytest.mark.database
def test_what_a_claim_makes_due_is_woken_once_for_the_claim(
    queues: dict[str, WorkQueue[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(tasks, "send_wake_up", woken.append)
    queues["intake"] = WorkQueue("intake", PeriodicJob, lambda _: wake("pages"), True, batch=2)
    put("in-1", "in-2", "in-3")
    assert drain("intake") == 3
    assert woken == ["pages", "pages"], "one wake-up for each claim, not one for each row"


@pytest.mark.django_db
def test_a_thread_that_is_turned_away_makes_the_one_at_work_look_once_more(
    queues: dict[str, WorkQueue[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def handle(row: PeriodicJob) -> None:
        done.append(row.name)
        if row.name == "first":
            # As another thread would find it: all turns are taken.
            assert drain("alone") == 0

    queues["alone"] = WorkQueue("alone", PeriodicJob, handle, True, parallel=1)
    put("first")
    looks = []
    once = work._drain

    def counted(queue: WorkQueue[Any], *, limit: int) -> int:
        looks.append(queue.name)
        return once(queue, limit=limit)

    monkeypatch.setattr(work, "_drain", counted)
    assert drain("alone") == 1
    assert looks == ["alone", "alone"]
    assert done == ["first"]


@pytest.mark.django_db(transaction=True)
def test_a_drain_that_ends_at_its_limit_asks_that_somebody_goes_on(
    queues: dict[str, WorkQueue[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(tasks, "send_wake_up", woken.append)
    queues["long"] = WorkQueue("long", PeriodicJob, lambda _: None, True, batch=2, parallel=1)
    put(*(f"row-{number}" for number in range(5)))
    assert drain("long", limit=4) == 4
    assert woken == ["long"]
    assert drain("long", limit=4) == 1
    assert woken == ["long"]


@pytest.mark.django_db(transaction=True)
def test_a_backlog_that_is_long_overdue_still_wakes_the_workers(
    queues: dict[str, WorkQueue[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(scheduling, "send_wake_up", woken.append)
    queues["late"] = WorkQueue("late", PeriodicJob, lambda _: None, True)
    PeriodicJob.objects.create(name="old", due_at=timezone.now() - timedelta(minutes=1))
    scheduling.Scheduler(threading.Event()).sweep()
    assert woken == ["late"]
    assert PeriodicJob.objects.get().finished_at is not None, "nobody may be there to hear it, so it was done here"

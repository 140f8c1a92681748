from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from core import work
from core.leases import StaleFenceError, claim_due, finish, settle
from core.work import PeriodicJob, WorkQueue, drain

pytestmark = [pytest.mark.django_db, pytest.mark.database]


def a_due_job() -> PeriodicJob:
    return PeriodicJob.objects.create(name="job", due_at=timezone.now() - timedelta(seconds=1))


def test_a_claimed_row_is_not_claimed_again_while_its_lease_lives() -> None:
    a_due_job()
    assert len(claim_due(PeriodicJob.objects.all(), lease_for=timedelta(seconds=30))) == 1
    assert claim_due(PeriodicJob.objects.all(), lease_for=timedelta(seconds=30)) == []


def test_a_stale_worker_cannot_write_past_the_fence() -> None:
    a_due_job()
    (stale,) = claim_due(PeriodicJob.objects.all(), lease_for=timedelta(seconds=-1))
    (current,) = claim_due(PeriodicJob.objects.all(), lease_for=timedelta(seconds=30))
    with pytest.raises(StaleFenceError):
        finish(stale)
    finish(current)
    assert PeriodicJob.objects.get().finished_at is not None


@pytest.mark.parametrize(
    ("error", "at_most"),
    [(OperationalError("terminating connection"), 6), (ValueError("no"), 2)],
    ids=["connection cut", "handler failed"],
)
def test_a_row_that_fails_after_it_was_settled_comes_again_within_seconds(
    monkeypatch: pytest.MonkeyPatch, error: Exception, at_most: int
) -> None:
    def handle(row: PeriodicJob) -> None:
        settle(row, due_at=timezone.now(), attempts=0)
        raise error

    monkeypatch.setitem(
        vars(work)["_queues"], "test.settles", WorkQueue(name="test.settles", model=PeriodicJob, handle=handle)
    )
    job = a_due_job()
    drain("test.settles", limit=1)
    job.refresh_from_db()
    assert job.last_error
    assert job.due_at < timezone.now() + timedelta(seconds=at_most)


def test_a_row_is_not_given_up_because_its_connection_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(row: PeriodicJob) -> None:
        raise OperationalError("terminating connection")

    queue = WorkQueue(name="test.cut", model=PeriodicJob, handle=handle, max_attempts=1)
    monkeypatch.setitem(vars(work)["_queues"], "test.cut", queue)
    job = a_due_job()
    drain("test.cut", limit=1)
    job.refresh_from_db()
    assert job.dead_at is None

import time
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from core import periodic
from core.leases import claim_due
from core.work import PeriodicJob, drain

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    def broken() -> None:
        calls.append("broken")
        raise ValueError("no such source")

    monkeypatch.setattr(
        periodic,
        "_jobs",
        {
            "good": periodic.Periodic("good", timedelta(minutes=1), lambda: calls.append("good")),
            "broken": periodic.Periodic("broken", timedelta(minutes=1), broken),
        },
    )
    return calls


def test_each_job_runs_once_and_falls_due_again_after_its_interval(jobs: list[str]) -> None:
    periodic.ensure_jobs()
    drain("core.periodic")
    drain("core.periodic")
    assert sorted(jobs) == ["broken", "good"]
    good = PeriodicJob.objects.get(name="good")
    assert good.due_at > timezone.now() + timedelta(seconds=50)
    assert good.last_succeeded_at is not None


def test_a_failing_job_keeps_its_error_and_its_turn(jobs: list[str]) -> None:
    periodic.ensure_jobs()
    drain("core.periodic")
    broken = PeriodicJob.objects.get(name="broken")
    assert "no such source" in broken.last_error
    assert broken.dead_at is None
    assert broken.last_succeeded_at is None
    assert timezone.now() < broken.due_at < timezone.now() + timedelta(minutes=2)


def test_a_job_whose_connection_was_cut_does_not_wait_for_its_next_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_off() -> None:
        raise OperationalError("terminating connection due to administrator command")

    monkeypatch.setattr(periodic, "_jobs", {"daily": periodic.Periodic("daily", timedelta(days=1), cut_off)})
    periodic.ensure_jobs()
    drain("core.periodic")
    daily = PeriodicJob.objects.get(name="daily")
    assert "terminating connection" in daily.last_error
    assert daily.due_at < timezone.now() + timedelta(minutes=1)


def test_a_worker_that_is_killed_in_a_turn_keeps_the_job_for_a_minute_at_most(jobs: list[str]) -> None:
    periodic.ensure_jobs()
    claimed = claim_due(periodic.PERIODIC_QUEUE.claimable(), lease_for=periodic.PERIODIC_QUEUE.lease_for, limit=2)
    assert len(claimed) == 2
    assert all(one.lease_until and one.lease_until <= timezone.now() + timedelta(seconds=61) for one in claimed)


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_takes_longer_than_its_lease_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def slow() -> None:
        before = PeriodicJob.objects.get().lease_until
        deadline = time.monotonic() + 30
        while PeriodicJob.objects.get().lease_until == before and time.monotonic() < deadline:
            time.sleep(0.02)
        seen.append(len(claim_due(PeriodicJob.objects.all(), lease_for=timedelta(seconds=1))))

    brief = periodic.Periodic("slow", timedelta(minutes=1), slow, lease_for=timedelta(seconds=0.6))
    monkeypatch.setattr(periodic, "_jobs", {"slow": brief})
    periodic.ensure_jobs()
    drain("core.periodic")
    assert seen == [0]
    job = PeriodicJob.objects.get()
    assert (job.lease_until, job.last_error) == (None, "")


def test_the_row_of_a_job_that_is_gone_for_a_day_is_dropped(jobs: list[str]) -> None:
    PeriodicJob.objects.create(name="gone", due_at=timezone.now() - timedelta(hours=25))
    periodic.ensure_jobs()
    assert set(PeriodicJob.objects.values_list("name", flat=True)) == {"good", "broken"}

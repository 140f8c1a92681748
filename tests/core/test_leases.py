from datetime import timedelta

import pytest
from django.utils import timezone

from core.leases import StaleFenceError, claim_due, finish
from core.work import PeriodicJob

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

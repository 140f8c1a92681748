"""Many tables are counted in few statements, and each count is what the table says by itself."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Min, Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import SignInFailure, Team, User
from core import counting
from core.counting import Counted, counts_of, counts_since
from core.work import PeriodicJob, dead_counts, oldest_overdue, queue_standings

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NOW = timezone.now().replace(microsecond=123000)


def failures(*ages: int) -> None:
    for age in ages:
        SignInFailure.objects.create(username=f"n{age % 2}", failed_at=NOW - timedelta(minutes=age))


def test_counts_of_many_tables_are_those_of_each() -> None:
    failures(1, 2, 3, 4, 5)
    User.objects.create(username="100 %")
    asked = {
        "all": SignInFailure.objects.all(),
        "some": SignInFailure.objects.filter(username="n1").order_by("failed_at"),
        "percent": User.objects.filter(username__contains="%"),
        "none": SignInFailure.objects.none(),
        "nobody": SignInFailure.objects.filter(Q(pk__in=())),
        "joined": Team.objects.filter(members__username="x"),
    }
    with CaptureQueriesContext(connection) as queries:
        found = counts_of(asked)
    assert len(queries) == 1
    assert found == {name: rows.count() for name, rows in asked.items()}
    assert found["all"] == 5
    assert counts_of(asked, up_to=2) == {name: min(count, 2) for name, count in found.items()}
    assert counts_of({}) == {}


def test_more_than_fit_into_one_statement_are_asked_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "AT_ONCE", 2)
    failures(1, 2, 3)
    asked = {number: SignInFailure.objects.filter(failed_at__lt=NOW - timedelta(minutes=number)) for number in range(5)}
    with CaptureQueriesContext(connection) as queries:
        assert counts_of(asked) == {0: 3, 1: 2, 2: 1, 3: 0, 4: 0}
    assert len(queries) == 3


def test_the_earliest_instant_is_the_same_as_the_least_of_the_column() -> None:
    failures(7, 3, 9, 1)
    rows = SignInFailure.objects.filter(username="n1")
    found = counts_since({"rows": rows, "empty": rows.none()}, column="failed_at", up_to=2)
    assert found == {"rows": Counted(2, rows.aggregate(least=Min("failed_at"))["least"]), "empty": Counted()}
    assert found["rows"].earliest == NOW - timedelta(minutes=9)


def test_queues_are_asked_together() -> None:
    PeriodicJob.objects.create(name="late", due_at=NOW - timedelta(hours=2))
    PeriodicJob.objects.create(name="later", due_at=NOW - timedelta(hours=1))
    PeriodicJob.objects.create(name="gone", due_at=NOW, dead_at=NOW, last_error="first")
    PeriodicJob.objects.create(name="gone too", due_at=NOW, dead_at=NOW + timedelta(seconds=1), last_error="last")
    PeriodicJob.objects.create(name="held", due_at=NOW, lease_owner="x", lease_until=NOW + timedelta(hours=1))
    with CaptureQueriesContext(connection) as queries:
        standings = {one.name: one for one in queue_standings()}
    assert len(queries) < 8
    (name,) = (key for key, one in standings.items() if one.dead)
    one = standings[name]
    assert (one.due, one.claimed, one.dead, one.last_error) == (2, 1, 2, "last")
    assert one.oldest_due is not None
    assert timedelta(hours=2) <= one.oldest_due < timedelta(hours=3)
    assert list(oldest_overdue()) == [name]
    assert dead_counts() == {name: 2}

"""Of very many SLOs a list shows how they stood some seconds ago; of few, how they stand."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from reliability.domain.budgets import Counts
from reliability.models import SLO, SLOVersion
from reliability.selectors import minute_of, recent, recent_statuses
from reliability.selectors.recent import forget_recent
from reliability.services.tallying import add_to_tallies

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    forget_recent()
    yield
    forget_recent()


def count(version: SLOVersion, *, bad: int) -> None:
    minute = minute_of(timezone.now() - timedelta(minutes=3))
    add_to_tallies({(version.tally_id, minute): Counts(good=100, bad=bad)})


def left(slo: SLO) -> float | None:
    status = recent_statuses([slo], now=timezone.now())[slo.pk]
    return status.remaining.low if status.remaining else None


def test_few_slos_are_reckoned_anew_each_time(version: SLOVersion) -> None:
    count(version, bad=1)
    before = left(version.slo)
    count(version, bad=50)
    assert left(version.slo) != before


def test_many_are_kept_for_some_seconds_and_then_reckoned(version: SLOVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MANY", 0)
    count(version, bad=1)
    before = left(version.slo)
    count(version, bad=50)
    assert left(version.slo) == before
    recent._kept_at[0] -= recent.KEPT_SECONDS + 1
    assert left(version.slo) != before


def test_one_that_was_declared_since_is_reckoned_at_once(version: SLOVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MANY", 0)
    assert recent_statuses([], now=timezone.now()) == {}
    recent_statuses(SLO.objects.none(), now=timezone.now())
    recent._kept_at[0] += recent.KEPT_SECONDS
    assert version.slo.pk in recent_statuses([version.slo], now=timezone.now())

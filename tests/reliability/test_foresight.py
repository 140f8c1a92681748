"""Forecast, what-if, packs and delivery measures."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.data import ActivityKind
from catalog.services import end_activity, start_activity
from core.clock import database_now
from core.parsing import load_yaml_documents
from reliability.domain.budgets import Counts
from reliability.domain.dora import Delivered, Outage, measures
from reliability.domain.forecast import forecast
from reliability.models import SLO, SLOVersion
from reliability.selectors import budget_forecast, minute_of, what_if
from reliability.selectors.delivery_measures import delivery_measures
from reliability.selectors.packs import packs
from reliability.services import apply_documents, standard_tiers, written_window
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, TTFT, apply

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_steady_burn_of_one_spends_a_calendar_budget_at_the_period_s_end() -> None:
    hours = [Counts(good=999, bad=1)] * 240
    found = forecast(hours, target=Decimal("0.999"), window_hours=720, horizon=480, rolling=False)
    assert found is not None
    assert found.path[-1] == pytest.approx((0, 0, 0), abs=1e-9)


def test_an_outage_that_ages_out_is_foreseen() -> None:
    hours = [Counts(good=800, bad=200)] * 24 + [Counts(good=1000)] * 144
    found = forecast(hours, target=Decimal("0.95"), window_hours=168, horizon=168, rolling=True)
    assert found is not None
    assert found.latest is None
    assert found.path[0][2] == pytest.approx(1 - (4800 - 200) / 168_000 / 0.05, abs=0.01)
    assert found.path[-1][2] == pytest.approx(1)


def test_without_a_day_of_events_nothing_is_foreseen() -> None:
    assert forecast([Counts(good=1)] * 23, target=Decimal("0.9"), window_hours=672, horizon=9, rolling=True) is None
    assert forecast([Counts()] * 99, target=Decimal("0.9"), window_hours=672, horizon=9, rolling=True) is None


@given(st.lists(st.integers(0, 60), min_size=24, max_size=96), st.booleans())
def test_more_bad_events_never_spend_a_budget_later(bad: list[int], rolling: bool) -> None:
    hours = [Counts(good=100 - one, bad=one) for one in bad]
    found = forecast(hours, target=Decimal("0.9"), window_hours=96, horizon=96, rolling=rolling)
    assert found is not None
    assert all(many <= usual + 1e-9 and usual <= few + 1e-9 for many, usual, few in found.path)
    order = [one if one is not None else 10**6 for one in (found.earliest, found.likely, found.latest)]
    assert order == sorted(order)


def test_the_four_measures_and_what_is_not_known() -> None:
    deployments = [Delivered(1, NOW + hour * timedelta(hours=1), failed=False) for hour in (0, 5, 30)]
    outages = [Outage(frozenset({1}), NOW + timedelta(hours=6), NOW + timedelta(hours=8))]
    found = measures(deployments, outages, since=NOW, until=NOW + 3 * DAY)
    assert (found.per_day, found.failed_changes, found.time_to_restore) == (1.0, 1, timedelta(hours=2))
    assert found.change_failure_ratio == pytest.approx(1 / 3)
    assert found.lead_time is None
    empty = measures([], [], since=NOW, until=NOW + DAY)
    assert (empty.deployments, empty.change_failure_ratio, empty.time_to_restore) == (0, None, None)


@pytest.mark.parametrize("name", sorted(packs()))
@pytest.mark.django_db
@pytest.mark.usefixtures("catalog")
def test_a_pack_applies_as_it_is(name: str) -> None:
    text = packs()[name].filled({"service": "gateway"})
    documents = load_yaml_documents(text, source=name)
    assert apply_documents(principal=SITE, documents=documents)["created"]
    assert SLO.objects.filter(labels__pack=name).exists()


def test_a_pack_refuses_what_is_missing_unknown_or_odd() -> None:
    pack = packs()["api-latency"]
    for values in ({}, {"service": "gateway", "second": "1"}, {"service": "a}, x: {b"}):
        with pytest.raises(ValueError, match=r"must be given|not a parameter|are allowed"):
            pack.filled(values)


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.usefixtures("catalog")
class TestStored:
    def counted(self) -> SLOVersion:
        """Return forty days at one event a minute with one bad hour in March."""
        apply(TTFT)
        SLOVersion.objects.update(effective_from=NOW - 40 * DAY)
        version = SLOVersion.objects.get()
        end = minute_of(NOW)
        bad = minute_of(datetime(2026, 4, 10, 12, tzinfo=UTC))
        add_to_tallies(
            {
                (version.tally_id, minute): Counts(bad=10) if bad <= minute < bad + 60 else Counts(good=10)
                for minute in range(end - 40 * 1440, end, 5)
            }
        )
        return version

    def test_another_target_is_judged_over_all_that_is_stored(self) -> None:
        version = self.counted()
        window = written_window("7d", "window")
        tiers = standard_tiers(Decimal("0.99"), window.length)
        found = what_if(version=version, target=Decimal("0.99"), window=window, tiers=tiers, since=None, now=NOW)
        assert (found.counts.bad, found.counts.total) == (120, 115_200)
        assert found.worst_remaining == pytest.approx(1 - 120 / 20_160 / 0.01, abs=0.01)
        assert found.worst_at is not None
        assert found.spent_ratio == 0
        assert [one["month"] for one in found.months] == ["2026-03", "2026-04", "2026-05"]
        assert [one["bad"] for one in found.months] == [0, 120, 0]
        stricter = what_if(version=version, target=Decimal("0.999"), window=window, tiers=tiers, since=None, now=NOW)
        assert stricter.spent_ratio is not None
        assert 0.1 < stricter.spent_ratio < 0.2

    def test_a_budget_that_does_not_burn_is_not_foreseen_to_be_spent(self) -> None:
        found = budget_forecast(version=self.counted(), now=NOW)
        assert found is not None
        assert (found.earliest, found.likely, found.latest) == (None, None, None)
        assert found.days_seen == 28

    def test_incidents_of_the_catalog_count_as_restored(self) -> None:
        version = self.counted()
        now = database_now()
        key = "incident:INC-1"
        start_activity(
            kind=ActivityKind.INCIDENT,
            source_key=key,
            title="Slow",
            url="",
            service_ids=[version.slo.service_id],
            started_at=now - timedelta(hours=3),
        )
        end_activity(source_key=key, ended_at=now - timedelta(hours=2))
        found = delivery_measures(viewer=SITE, since=now - DAY, until=now)
        assert (found.time_to_restore, found.restored, found.deployments) == (timedelta(hours=1), 1, 0)

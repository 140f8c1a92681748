"""Several objectives and windows, time slices and composites, reckoned from what was counted."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reliability.data import BudgetStatus
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import Counts
from reliability.models import SLO, SLOVersion
from reliability.selectors import budget_status, detailed_statuses, minute_of, status_as_json, what_if
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import TTFT, apply

pytestmark = [pytest.mark.django_db, pytest.mark.database, pytest.mark.usefixtures("catalog")]
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
END = minute_of(NOW)
SLICES = TTFT.replace("budgetingMethod: Occurrences", "budgetingMethod: Timeslices").replace(
    "[{target: 0.95}]", "[{target: 0.9, timeSliceTarget: 0.95, timeSliceWindow: 5m}]"
)
JOURNEY = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: journey, annotations: {assay.dev/burn-tiers: none}}
spec:
  service: gateway
  budgetingMethod: Occurrences
  timeWindow: [{duration: 7d, isRolling: true}]
  objectives:
  - displayName: search
    target: 0.9
    compositeWeight: 3
    indicator: {metadata: {name: search}, spec: {ratioMetric: {counter: true,
      good: {metricSource: {type: otlp, spec: {metric: search, where: {ok: "yes"}}}},
      total: {metricSource: {type: otlp, spec: {metric: search}}}}}}
  - displayName: pay
    target: 0.9
    indicator: {metadata: {name: pay}, spec: {ratioMetric: {counter: true,
      good: {metricSource: {type: otlp, spec: {metric: pay, where: {ok: "yes"}}}},
      total: {metricSource: {type: otlp, spec: {metric: pay}}}}}}
"""


def count(slug: str, minutes: dict[int, Counts]) -> None:
    SLOVersion.objects.update(effective_from=NOW - timedelta(days=90))
    version = SLOVersion.objects.get(slo__slug=slug, retired_at__isnull=True)
    add_to_tallies({(version.tally_id, END - ago): counts for ago, counts in minutes.items()})


def statuses(slug: str, **kwargs: Any) -> list[BudgetStatus]:
    return detailed_statuses(SLO.objects.filter(slug=slug), now=NOW, **kwargs)


def test_each_objective_and_window_has_its_own_budget() -> None:
    text = TTFT.replace(
        "[{target: 0.95}]", "[{displayName: most, target: 0.9}, {displayName: nearly all, target: 0.99}]"
    )
    apply(text.replace("annotations: {", "annotations: {assay.dev/windows: 1h, "))
    count("gateway-ttft", {30: Counts(good=95, bad=5), 3000: Counts(good=100)})
    found = {(one.objective, one.window_label): one for one in statuses("gateway-ttft")}
    assert set(found) == {("most", "28d"), ("most", "1h"), ("nearly all", "28d"), ("nearly all", "1h")}
    left = {key: one.remaining.low for key, one in found.items() if one.remaining}
    assert left["most", "28d"] == pytest.approx(0.75)
    assert left["most", "1h"] == pytest.approx(0.5)
    assert left["nearly all", "28d"] == pytest.approx(-1.5)


def test_the_command_s_fields_are_those_that_are_documented() -> None:
    apply(TTFT)
    count("gateway-ttft", {1: Counts(good=90, bad=6, unknown=4)})
    row = status_as_json(statuses("gateway-ttft")[0])
    assert list(row)[:17] == [
        "name", "service", "objective", "target", "window", "at", "good", "bad", "unknown", "total", "sli", "sli_low",
        "sli_high", "error_budget_remaining", "coverage", "mode", "burn_rates",
    ]  # fmt: skip
    assert (row["sli_low"], row["sli_high"], row["sli"]) == (0.9, 0.94, 90 / 96)
    assert row["error_budget_remaining"] == pytest.approx(1 - 6 / 96 / 0.05)
    rates: Any = row["burn_rates"]
    assert rates["5m"] == pytest.approx(6 / 96 / 0.05)


def test_a_window_up_to_a_full_minute_ends_before_it() -> None:
    apply(TTFT)
    count(
        "gateway-ttft",
        {1: Counts(good=7), 0: Counts(good=100), 28 * 1440: Counts(good=5), 28 * 1440 + 1: Counts(bad=9)},
    )
    assert statuses("gateway-ttft")[0].counts == Counts(good=12, minutes_measured=2)


def test_time_slices_are_judged_whole_and_shown_beside_their_events() -> None:
    apply(SLICES)
    good, bad = Counts(good=100), Counts(good=80, bad=20)
    count("gateway-ttft", {ago: bad if 6 <= ago <= 10 else good for ago in range(1, 101)})
    SLOVersion.objects.update(effective_from=NOW - timedelta(minutes=100))
    status = budget_status(slo=SLO.objects.get(slug="gateway-ttft"), now=NOW)
    assert status is not None
    assert (status.units.bad, status.units.total) == (1, 20)
    assert status.counts.bad == 100
    assert status.remaining is not None
    assert status.remaining.low == pytest.approx(0.5)


def test_slices_that_were_not_measured_widen_the_budget() -> None:
    apply(SLICES)
    count("gateway-ttft", {ago: Counts(good=100) for ago in range(1, 51)})
    SLOVersion.objects.update(effective_from=NOW - timedelta(minutes=100))
    status = budget_status(slo=SLO.objects.get(slug="gateway-ttft"), now=NOW)
    assert status is not None
    assert status.remaining is not None
    assert (status.units.good, status.units.unknown) == (10, 10)
    assert (round(status.remaining.low, 6), status.remaining.high) == (-4, 1)


def test_a_composite_is_a_weighted_mean_with_bounds_for_the_journey() -> None:
    apply(JOURNEY)
    count("journey--part-1", {1: Counts(good=90, bad=10)})
    count("journey--part-2", {1: Counts(good=10, bad=10)})
    whole, search, pay = statuses("journey")
    assert whole.sli is not None
    assert whole.sli.low == pytest.approx(0.75 * 0.9 + 0.25 * 0.5)
    assert whole.journey is not None
    assert (whole.journey.low, whole.journey.high) == pytest.approx((0.4, 0.5))
    assert (whole.objective, search.objective, pay.objective) == ("", "search", "pay")
    assert pay.counts.bad == 10
    assert whole.measured_recently


def test_what_if_and_back_test_of_a_composite_use_the_same_mean() -> None:
    apply(JOURNEY)
    outage = {ago: Counts(bad=10) for ago in range(30, 40)}
    count("journey--part-1", {ago: Counts(good=90, bad=10) for ago in range(100)})
    count("journey--part-2", {ago: Counts(good=10) for ago in range(100)} | outage)
    version = SLO.objects.get(slug="journey").versions.get()
    tier = BurnTier("fast", "critical", 10, 5, 2.0)
    found = what_if(version=version, target=version.target, window=version.window, tiers=[tier], since=None, now=NOW)
    whole = statuses("journey")[0]
    assert found.sli is not None
    assert whole.sli is not None
    assert found.sli.low == pytest.approx(whole.sli.low)
    assert (found.counts.good, found.counts.bad) == (whole.counts.good, whole.counts.bad)
    assert found.now_remaining is not None
    assert whole.remaining is not None
    assert found.now_remaining.low == pytest.approx(whole.remaining.low)
    ((firing,),) = [one.firings for one in found.fired]
    assert END - 40 <= firing.start <= END - 30, "the mean exceeds twice the allowance only in the outage of a part"


def test_parts_of_a_composite_stand_in_no_list() -> None:
    apply(JOURNEY)
    assert SLO.objects.count() == 3
    assert [one.slug for one in SLO.objects.filter(part_of__isnull=True)] == ["journey"]

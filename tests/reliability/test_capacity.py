"""When something runs full: a robust trend, its interval, by values or by how often a threshold is passed."""

import math
import random
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Role
from accounts.services import create_user, grant_role
from core.clock import database_now
from reliability.domain.budgets import Counts
from reliability.domain.capacity import reach, trend
from reliability.models import GaugeDay, SLOVersion
from reliability.selectors import minute_of, slos_visible
from reliability.selectors.capacity import capacities
from reliability.selectors.packs import packs
from reliability.services import read_gauge_days
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, apply
from tests.reliability.worlds import Row, remote_write, server

GAUGE = """
apiVersion: openslo/v1
kind: DataSource
metadata: {name: metrics}
spec: {type: Prometheus, connectionDetails: {url: "URL"}}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: gpu-headroom}
spec:
  service: gateway
  budgetingMethod: Timeslices
  timeWindow: [{duration: 28d, isRolling: true}]
  objectives: [{op: lte, value: 0.85, target: 0.95, timeSliceTarget: 0.9, timeSliceWindow: 5m}]
  indicator:
    metadata: {name: gpu-headroom}
    spec:
      thresholdMetric: {metricSource: {metricSourceRef: metrics, spec: {query: gpu_busy}}}
"""
LINE = [(float(day), 0.5 + 0.01 * day) for day in range(30)]


def test_a_line_is_found_whatever_outliers_lie_beside_it() -> None:
    bent = [(time, 9.0) if time % 10 == 0 else (time, value) for time, value in LINE]
    found = trend(bent)
    assert found is not None
    assert found.slope == pytest.approx(0.01)
    assert found.level == pytest.approx(0.79)
    assert found.is_told
    there = reach(found, 0.99, rising=True)
    assert there.likely == pytest.approx(20)
    assert there.earliest is not None
    assert there.earliest <= 20.0001


def test_headroom_that_shrinks_reaches_its_limit_from_above() -> None:
    found = trend([(time, 1 - value) for time, value in LINE])
    assert found is not None
    assert reach(found, 0.01, rising=False).likely == pytest.approx(20)
    assert reach(found, 0.9, rising=True).likely is None
    assert reach(found, 0.3, rising=False) == reach(found, 0.25, rising=False)


def test_too_few_days_tell_nothing() -> None:
    assert trend(LINE[:6]) is None


@given(st.integers(0, 500))
def test_noise_has_no_certain_trend_more_often_than_it_says(seed: int) -> None:
    rolled = random.Random(seed)
    found = trend([(float(day), rolled.gauss(0.5, 0.1)) for day in range(56)])
    assert found is not None
    assert found.low <= found.slope <= found.high


def test_noise_alone_is_told_as_a_trend_in_a_tenth_of_cases() -> None:
    told = 0
    for seed in range(300):
        rolled = random.Random(seed)
        found = trend([(float(day), rolled.gauss(0.5, 0.1)) for day in range(28)])
        told += bool(found and found.is_told)
    assert 10 <= told <= 50


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(-5, 5)), min_size=7, max_size=30, unique_by=lambda one: one[0]))
def test_the_earliest_is_never_after_the_likely_and_this_never_after_the_latest(points: list[Any]) -> None:
    found = trend(sorted((float(time), value) for time, value in points))
    assert found is not None
    for rising in (True, False):
        there = reach(found, 1.0, rising=rising)
        order = [one if one is not None else math.inf for one in (there.earliest, there.likely, there.latest)]
        assert order == sorted(order)


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.usefixtures("catalog")
class TestStored:
    def headroom(self) -> SLOVersion:
        """Return the SLO of the GPU pack, whose readings pass 85 % more often day by day."""
        apply(packs()["gpu-headroom"].filled({"service": "gateway"}))
        now = database_now()
        SLOVersion.objects.update(effective_from=now - timedelta(days=30))
        version = SLOVersion.objects.get()
        today = minute_of(now) // 1440 * 1440
        add_to_tallies(
            {
                (version.tally_id, today - ago * 1440 + 60): Counts(good=1000 - (30 - ago), bad=30 - ago)
                for ago in range(30)
            }
        )
        return version

    def test_without_values_it_is_judged_by_how_often_the_threshold_is_passed(self) -> None:
        self.headroom()
        (found,) = capacities(slos=list(slos_visible(viewer=SITE)), now=database_now())
        assert not found.of_values
        assert found.limit == pytest.approx(0.1)
        assert found.per_week == pytest.approx(0.007)
        assert found.likely is not None
        assert found.likely / timedelta(days=1) == pytest.approx(100 - 29, abs=1.5)
        assert found.state == "ok"

    def test_with_values_it_is_judged_by_them(self) -> None:
        version = self.headroom()
        today = database_now().date()
        GaugeDay.objects.bulk_create(
            GaugeDay(version=version, day=today - timedelta(days=ago), peak=0.80 - 0.005 * ago) for ago in range(1, 40)
        )
        (found,) = capacities(slos=list(slos_visible(viewer=SITE)), now=database_now())
        assert (found.of_values, found.limit) == (True, 0.85)
        assert found.likely is not None
        assert found.likely / timedelta(days=1) == pytest.approx(11, abs=0.01)
        assert found.state == "at risk"
        assert isinstance(GaugeDay.objects.first(), GaugeDay)
        assert date.fromordinal(found.points[-1][0]) == today - timedelta(days=1)

    @pytest.mark.integration
    @pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
    def test_days_are_read_from_a_real_prometheus_once(self, tmp_path: Path) -> None:
        now = database_now()
        today = int(now.timestamp()) // 86_400 * 86_400
        labels = (("__name__", "gpu_busy"), ("instance", "a"), ("job", "gpu"))
        rows = [
            Row(labels, at, 0.5 + 0.1 * ((today - at) <= 86_400)) for at in range(today - 2 * 86_400 + 60, today, 240)
        ]
        with server("prometheus", tmp_path) as (url, _):
            remote_write(url, rows)
            apply(GAUGE.replace("URL", url))
            assert read_gauge_days(now=now) == 2
            assert read_gauge_days(now=now) == 0
        found = dict(GaugeDay.objects.values_list("day", "peak"))
        days = [datetime.fromtimestamp(today - back * 86_400, UTC).date() for back in (2, 1)]
        assert set(found) == set(days)
        assert [found[day] for day in days] == pytest.approx([0.5, 0.6])
        assert read_gauge_days(now=now + timedelta(days=1)) == 0, "a source that is gone is left for the next time"

    def test_the_page_lists_what_runs_full_first(self) -> None:
        self.headroom()
        user = create_user(principal=SITE, username="victor", password=None)
        grant_role(principal=SITE, user=user, role=Role.VIEWER)
        client = Client()
        client.force_login(user)
        page = client.get("/capacity/").content.decode()
        assert "GPUs have headroom" in page
        assert "readings beyond the threshold" in page
        assert Client().get("/capacity/").status_code == 302

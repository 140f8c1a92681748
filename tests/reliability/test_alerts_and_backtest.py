"""Tiers that wait, follow the traffic, want proof or tell of missing data; and what tiers would have done before."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.data import ActivityKind
from catalog.services import end_activity, start_activity
from core.events import Event
from reliability.domain.alerting import AlertDecision, BurnTier, decide, effective_threshold
from reliability.domain.backtest import History, JoinedHistory, precision_and_recall, replay
from reliability.domain.budgets import Counts
from reliability.models import BurnAlert, SLOVersion
from reliability.selectors import backtest, minute_of
from reliability.services import evaluate, written_tiers
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import TTFT, apply

TARGET = Decimal("0.999")
FAST = BurnTier("fast", "critical", 60, 5, 14.4)
NOW = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)


def decided(tier: BurnTier, long: Counts, short: Counts | None = None, **more: Any) -> AlertDecision:
    return decide(tier, long=long, short=short or long, target=TARGET, measured=True, **more)


def test_a_full_outage_fires_after_52_seconds_of_the_hour() -> None:
    """Workbook: time to fire is long window x burn rate x (1 - target) / error ratio."""
    per_second = 1000
    for seconds, fires in ((51, False), (52, True)):
        long = Counts(good=(3600 - seconds) * per_second, bad=seconds * per_second)
        short = Counts(good=(300 - seconds) * per_second, bad=seconds * per_second)
        assert (decided(FAST, long, short) is AlertDecision.FIRE) == fires


def test_few_failures_fire_only_with_proof() -> None:
    careful = BurnTier("fast", "critical", 60, 5, 14.4, alpha=0.01)
    assert decided(FAST, Counts(good=9, bad=1)) is AlertDecision.FIRE
    assert decided(careful, Counts(good=9, bad=1)) is AlertDecision.HOLD
    assert decided(careful, Counts(good=90, bad=10)) is AlertDecision.FIRE


def test_a_budget_share_means_the_same_by_day_and_by_night() -> None:
    share = BurnTier("fast", "critical", 60, 5, 14.4, budget_share=0.02)
    window = 1_000_000
    assert effective_threshold(share, long=Counts(good=10_000), events_in_window=window) == pytest.approx(2)
    # 2 % of a budget of 1000 bad events is 20, whether there were ten thousand events in the hour or a hundred.
    assert decided(share, Counts(good=9_979, bad=21), events_in_window=window) is AlertDecision.FIRE
    assert decided(share, Counts(good=9_981, bad=19), events_in_window=window) is not AlertDecision.FIRE
    assert decided(share, Counts(good=81, bad=19), events_in_window=window) is not AlertDecision.FIRE
    assert decided(FAST, Counts(good=81, bad=19)) is AlertDecision.FIRE


def test_tiers_are_written_in_one_line() -> None:
    text = "fast critical 1h/5m >=14.4 min 10 p 0.01 for 2m; slow warning 6h/30m share 5%"
    fast, slow = written_tiers(text, TARGET, timedelta(days=30), "x")
    assert (fast.inclusive, fast.minimum_events, fast.alpha, fast.wait_minutes) == (True, 10, 0.01, 2)
    assert (slow.budget_share, slow.threshold) == (0.05, 6.0)


def history(bad: dict[int, int], *, minutes: int, gaps: range = range(0)) -> History:
    units = {minute: Counts(good=100 - bad.get(minute, 0), bad=bad.get(minute, 0)) for minute in range(minutes)}
    return History.of(units, set(range(minutes)) - set(gaps), 0, minutes)


def test_a_replay_finds_each_outage_once_with_its_end() -> None:
    outages = {minute: 100 for start in (200, 600) for minute in range(start, start + 10)}
    first, second = replay(FAST, history(outages, minutes=900), target=TARGET, since=0, window_minutes=40_320)
    assert (first.start, first.end) == (200, 215)
    assert (second.start, second.end) == (600, 615)
    assert first.bad == 1000


def test_a_replay_holds_while_nothing_was_measured() -> None:
    outage = dict.fromkeys(range(200, 210), 100)
    found = replay(FAST, history(outage, minutes=400, gaps=range(210, 300)), target=TARGET, since=0, window_minutes=9)
    assert [(one.start, one.end) for one in found] == [(200, 305)]


@given(st.dictionaries(st.integers(0, 299), st.integers(0, 3), max_size=40), st.sampled_from((1.0, 5.0, 14.4)))
def test_a_replay_that_passes_over_quiet_minutes_finds_what_judging_each_minute_finds(
    bad: dict[int, int], threshold: float
) -> None:
    """A history of one part, which is judged minute by minute, says the same."""
    whole = history(bad, minutes=300, gaps=range(100, 110))
    joined = JoinedHistory((whole,), (1.0,), whole.measured)
    for inclusive in (False, True):
        tier = BurnTier("any", "critical", 60, 5, threshold, inclusive=inclusive, wait_minutes=2)
        for since in (0, 50):
            by_minute = replay(tier, joined, target=TARGET, since=since, window_minutes=300)
            found = replay(tier, whole, target=TARGET, since=since, window_minutes=300)
            assert [(one.start, one.end) for one in found] == [(one.start, one.end) for one in by_minute]


@given(st.dictionaries(st.integers(0, 299), st.integers(1, 100), max_size=60), st.integers(1, 3))
def test_a_replay_s_firings_never_overlap_and_lie_within(bad: dict[int, int], wait: int) -> None:
    tier = BurnTier("fast", "critical", 60, 5, 14.4, wait_minutes=wait)
    found = replay(tier, history(bad, minutes=300), target=TARGET, since=10, window_minutes=300)
    ends = [(one.start, 300 if one.end is None else one.end) for one in found]
    assert all(10 <= start < end <= 300 for start, end in ends)
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(ends))
    without_wait = replay(FAST, history(bad, minutes=300), target=TARGET, since=10, window_minutes=300)
    assert len(found) <= len(without_wait)


def test_precision_is_of_firings_and_recall_of_incidents() -> None:
    assert precision_and_recall([(10, 20), (50, 60)], [(25, 40), (100, 110)], slack=10) == (0.5, 0.5)
    assert precision_and_recall([], [], slack=10) == (None, None)


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.usefixtures("catalog")
class TestStored:
    def version(self, tiers: str) -> SLOVersion:
        apply(TTFT.replace("fast critical 5m/2m >2 min 10", tiers))
        SLOVersion.objects.update(effective_from=NOW - timedelta(days=30))
        return SLOVersion.objects.get()

    def count(self, version: SLOVersion, minutes: dict[int, Counts]) -> None:
        end = minute_of(NOW)
        add_to_tallies({(version.tally_id, end - ago): counts for ago, counts in minutes.items()})

    def test_an_alert_waits_as_long_as_it_says(self) -> None:
        version = self.version("fast critical 5m/2m >2 for 1m")
        self.count(version, {ago: Counts(bad=10) for ago in range(-2, 10)})
        assert evaluate(now=NOW) == 0
        assert evaluate(now=NOW + timedelta(seconds=30)) == 0
        assert evaluate(now=NOW + timedelta(seconds=60)) == 1

    def test_missing_measurements_fire_where_the_policy_says_so(self) -> None:
        version = self.version("fast critical 5m/2m >2")
        SLOVersion.objects.update(tiers=[version.tiers[0] | {"when_no_data": True}])
        assert evaluate(now=NOW) == 1
        assert Event.objects.get().payload["reason"] == "no data"
        self.count(version, {ago: Counts(good=10) for ago in range(10)})
        assert evaluate(now=NOW + timedelta(seconds=5)) == 1
        assert BurnAlert.objects.get().state == "ok"

    def test_a_backtest_says_what_would_have_fired_and_which_incidents_it_met(self) -> None:
        version = self.version("fast critical 5m/2m >2")
        outage = {ago: Counts(bad=10) for ago in range(100, 110)} | {ago: Counts(bad=10) for ago in range(500, 503)}
        self.count(version, {ago: outage.get(ago, Counts(good=10)) for ago in range(600)})
        key = "incident:INC-1"
        start_activity(
            kind=ActivityKind.INCIDENT,
            source_key=key,
            title="Slow",
            url="",
            service_ids=[version.slo.service_id],
            started_at=NOW - timedelta(minutes=105),
        )
        end_activity(source_key=key, ended_at=NOW - timedelta(minutes=95))
        tiers = [BurnTier(**values) for values in version.tiers]
        (result,) = backtest(version=version, tiers=tiers, since=NOW - timedelta(hours=11), until=NOW)
        assert len(result.firings) == 2
        assert (result.precision, result.recall, result.incidents) == (0.5, 1.0, 1)
        assert result.minutes_firing > 10

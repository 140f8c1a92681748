from datetime import timedelta
from decimal import Decimal

import pytest

from reliability.domain.alerting import AlertDecision, BurnTier, decide
from reliability.domain.budgets import (
    Counts,
    Interval,
    budget_remaining_ratio,
    burn_rate,
    burn_rate_threshold,
    highest_burn_rate,
    sli,
    time_to_exhaustion,
)


@pytest.mark.parametrize(("share", "hours", "threshold"), [(0.02, 1, 14.4), (0.05, 6, 6), (0.10, 24, 3), (0.10, 72, 1)])
def test_thresholds_are_those_of_the_workbook(share: float, hours: int, threshold: float) -> None:
    found = burn_rate_threshold(budget_share=share, window=timedelta(days=30), long_window=timedelta(hours=hours))
    assert found == pytest.approx(threshold)


def test_no_events_is_neither_good_nor_bad() -> None:
    assert sli(Counts()) is None
    assert burn_rate(Counts(), Decimal("0.99")) is None
    assert budget_remaining_ratio(Counts(), Decimal("0.99")) is None


def test_ten_bad_of_a_thousand_spend_the_budget_of_99_percent() -> None:
    counts = Counts(good=990, bad=10)
    remaining = budget_remaining_ratio(counts, Decimal("0.99"))
    assert remaining is not None
    assert remaining.high == pytest.approx(0)
    assert remaining.exact


def test_unknown_events_make_an_interval() -> None:
    assert sli(Counts(good=8, bad=1, unknown=1)) == Interval(0.8, 0.9)


def test_the_highest_burn_rate_of_90_percent_is_10() -> None:
    assert highest_burn_rate(Decimal("0.9")) == pytest.approx(10)


def test_half_a_budget_at_twice_the_speed_lasts_a_quarter_of_the_window() -> None:
    window = timedelta(days=30)
    assert time_to_exhaustion(remaining=0.5, burn=2, window=window) == timedelta(days=7.5)
    assert time_to_exhaustion(remaining=0.5, burn=0, window=window) is None


TIER = BurnTier("fast", "critical", 60, 5, 14.4, minimum_events=10)
BAD, FINE = Counts(good=50, bad=50), Counts(good=1000)


@pytest.mark.parametrize(
    ("long", "short", "measured", "decision"),
    [
        (BAD, BAD, True, AlertDecision.FIRE),
        (BAD, FINE, True, AlertDecision.RESOLVE),
        (FINE, BAD, True, AlertDecision.HOLD),
        (BAD, BAD, False, AlertDecision.FREEZE),
        (FINE, FINE, False, AlertDecision.FREEZE),
        (Counts(bad=3), Counts(bad=3), True, AlertDecision.HOLD),
        (Counts(unknown=99), Counts(unknown=99), True, AlertDecision.HOLD),
        (Counts(), Counts(), True, AlertDecision.RESOLVE),
    ],
)
def test_both_windows_fire_and_the_short_one_resolves(
    long: Counts, short: Counts, measured: bool, decision: AlertDecision
) -> None:
    assert decide(TIER, long=long, short=short, target=Decimal("0.99"), measured=measured) is decision


def test_too_little_measured_freezes_an_alert() -> None:
    decision = decide(TIER, long=BAD, short=FINE, target=Decimal("0.99"), measured=True, short_coverage_ratio=0.5)
    assert decision is AlertDecision.FREEZE


def test_a_full_outage_at_three_nines_fires_after_52_seconds_of_an_hour() -> None:
    # long x B x (1 - T) / error ratio: 3600 s x 14.4 x 0.001 / 1.
    bad = 3600 * 14.4 * 0.001
    assert bad == pytest.approx(51.84)
    before, after = Counts(good=3600 - 51, bad=51), Counts(good=3600 - 52, bad=52)
    fast = BurnTier("fast", "critical", 60, 5, 14.4)
    target = Decimal("0.999")
    assert decide(fast, long=before, short=BAD, target=target, measured=True) is AlertDecision.HOLD
    assert decide(fast, long=after, short=BAD, target=target, measured=True) is AlertDecision.FIRE

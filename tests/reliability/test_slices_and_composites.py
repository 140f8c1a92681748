"""Time slices, composites, exclusions and significance: the arithmetic, with the worked examples of their sources."""

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliability.domain.budgets import Counts, Interval, budget_remaining_ratio, burn_rate_threshold, sli
from reliability.domain.composites import journey_bounds, weighted_sli
from reliability.domain.exclusions import merged_spans, occurrences, without_excluded
from reliability.domain.objectives import ExclusionRule, Method, holds
from reliability.domain.significance import binomial_tail, is_significant, wilson_interval
from reliability.domain.slices import RATIO_UNITS, Slicing, judged_slices, merged_slices, units_between

MINUTES = Slicing(Method.TIMESLICES, 1, Decimal("0.95"))
counts = st.builds(
    Counts,
    good=st.integers(0, 50),
    bad=st.integers(0, 50),
    unknown=st.integers(0, 5),
    minutes_measured=st.just(1),
)
series = st.dictionaries(st.integers(0, 119), counts, max_size=120).map(lambda found: sorted(found.items()))
methods = st.sampled_from([Method.TIMESLICES, Method.RATIO_TIMESLICES])
rules = st.sampled_from(list(ExclusionRule))


def test_the_workbook_s_table_of_burn_rates() -> None:
    window = timedelta(days=30)
    rows = [(0.02, 1), (0.05, 6), (0.10, 24), (0.10, 72)]
    rates = [
        burn_rate_threshold(budget_share=share, window=window, long_window=timedelta(hours=hours))
        for share, hours in rows
    ]
    assert rates == pytest.approx([14.4, 6, 3, 1])


def test_openslo_s_fortnight_spends_its_slices_after_16_hours_48_minutes_of_outage() -> None:
    outage = 16 * 60 + 48
    minutes = [
        (minute, Counts(good=1, bad=99, minutes_measured=1) if minute < outage else Counts(good=16, minutes_measured=1))
        for minute in range(14 * 1440)
    ]
    units = units_between(judged_slices(minutes, MINUTES, start=0, end=14 * 1440), 0, 14 * 1440)
    assert (units.bad, units.total) == (outage, 14 * 1440)
    left = budget_remaining_ratio(units, Decimal("0.95"))
    assert left is not None
    assert left.low == pytest.approx(0, abs=1e-9)


def test_openslo_s_fortnight_of_ratio_slices_is_spent_after_13_hours_45_minutes_beside_one_percent_of_usual_loss() -> (
    None
):
    outage = 13 * 60 + 45
    minutes = [
        (minute, Counts(good=1, bad=99, minutes_measured=1) if minute < outage else Counts(99, 1, minutes_measured=1))
        for minute in range(14 * 1440)
    ]
    slicing = Slicing(Method.RATIO_TIMESLICES, 1, None)
    units = units_between(judged_slices(minutes, slicing, start=0, end=14 * 1440), 0, 14 * 1440)
    left = budget_remaining_ratio(units, Decimal("0.95"))
    assert left is not None
    assert left.low == pytest.approx(0, abs=0.003)


def test_a_quiet_slice_is_good_and_one_that_was_not_measured_is_unknown() -> None:
    found = judged_slices([(0, Counts(minutes_measured=1))], MINUTES, start=0, end=2)
    assert found == {0: Counts(good=1, minutes_measured=1), 1: Counts(unknown=1)}
    ratio = Slicing(Method.RATIO_TIMESLICES, 1, None)
    assert judged_slices([(0, Counts(minutes_measured=1))], ratio, start=0, end=1) == {}


def test_unknown_events_make_a_slice_unknown_only_where_they_decide() -> None:
    slicing = Slicing(Method.TIMESLICES, 1, Decimal("0.9"))

    def judged(good: int, bad: int, unknown: int) -> Counts:
        return judged_slices([(0, Counts(good, bad, unknown, 1))], slicing, start=0, end=1)[0]

    assert judged(95, 0, 5).good == 1
    assert judged(85, 5, 10).unknown == 1
    assert judged(50, 40, 10).bad == 1


@pytest.mark.parametrize(
    ("rule", "good", "total"),
    [(ExclusionRule.DROP_EVENTS, 10, 10), (ExclusionRule.DROP_TIME, 7, 7), (ExclusionRule.COUNT_GOOD, 10, 10)],
)
def test_the_three_rules_differ_in_what_becomes_of_the_budget(rule: ExclusionRule, good: int, total: int) -> None:
    minutes = [
        (minute, Counts(bad=5, minutes_measured=1) if minute < 3 else Counts(good=5, minutes_measured=1))
        for minute in range(10)
    ]
    slicing = Slicing(Method.TIMESLICES, 1, Decimal("0.9"), rule)
    units = units_between(judged_slices(minutes, slicing, start=0, end=10, excluded=[(0, 3)]), 0, 10)
    assert (units.good, units.total) == (good, total)


@given(series=series, method=methods, length=st.sampled_from([1, 5, 7]), cut=st.integers(0, 120))
def test_windows_of_slices_add_up(series: list[tuple[int, Counts]], method: Method, length: int, cut: int) -> None:
    slices = judged_slices(series, Slicing(method, length, Decimal("0.9")), start=0, end=120)
    assert units_between(slices, 0, cut) + units_between(slices, cut, 120) == units_between(slices, 0, 120)
    assert all(one.total in {1, RATIO_UNITS} for one in slices.values())


@given(series=series, method=methods, rule=rules)
def test_an_exclusion_never_makes_a_budget_worse_by_more_than_it_removes(
    series: list[tuple[int, Counts]], method: Method, rule: ExclusionRule
) -> None:
    slicing = Slicing(method, 5, Decimal("0.9"), rule)
    adjusted = units_between(judged_slices(series, slicing, start=0, end=120, excluded=[(0, 120)]), 0, 120)
    assert adjusted.bad == 0


@given(whole=counts, share=st.floats(0, 1), rule=rules)
def test_leaving_out_events_keeps_the_rest_whole(whole: Counts, share: float, rule: ExclusionRule) -> None:
    part = Counts(*(math.floor(number * share) for number in (whole.good, whole.bad, whole.unknown)))
    rest = without_excluded(whole, part, rule)
    assert min(rest.good, rest.bad, rest.unknown) >= 0
    assert rest.total == (whole.total if rule is ExclusionRule.COUNT_GOOD else whole.total - part.total)


def test_a_weighted_mean_as_in_a_published_example() -> None:
    slis = [Interval(value, value) for value in (0.9994, 0.9987, 0.9991, 0.9972, 0.9998)]
    mean = weighted_sli(slis, [0.35, 0.25, 0.20, 0.10, 0.10])
    assert mean is not None
    assert mean.low == pytest.approx(0.9990, abs=5e-5)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 100)), min_size=1, max_size=5))
def test_a_journey_s_bounds_hold_whether_failures_coincide_or_never_do(parts: list[tuple[int, int]]) -> None:
    slis = [sli(Counts(good, bad)) for good, bad in parts]
    bounds = journey_bounds(slis)
    assert bounds is not None
    independent = math.prod(one.low for one in slis if one is not None)
    assert bounds.low <= independent + 1e-9
    assert independent <= bounds.high + 1e-9


def test_a_composite_slice_is_bad_when_any_part_is() -> None:
    good, bad, unknown = Counts(good=1), Counts(bad=1), Counts(unknown=1)
    merged = merged_slices([{0: good, 1: good, 2: good}, {0: good, 1: bad, 2: unknown}], [1, 1], Method.TIMESLICES)
    assert merged == {0: good, 1: bad, 2: unknown}


@given(st.lists(counts, min_size=1, max_size=4))
def test_a_composite_of_ratio_slices_is_one_minus_the_weighted_losses(parts: list[Counts]) -> None:
    slices = [judged_slices([(0, one)], Slicing(Method.RATIO_TIMESLICES, 1, None), start=0, end=1) for one in parts]
    weights = [float(number) for number in range(1, len(parts) + 1)]
    merged = merged_slices(slices, weights, Method.RATIO_TIMESLICES)
    known = [(one[0], weight) for one, weight in zip(slices, weights, strict=True) if one]
    if known:
        total = sum(weight for _, weight in known)
        expected = 1 - sum(weight / total * one.bad / RATIO_UNITS for one, weight in known)
        assert (RATIO_UNITS - merged[0].bad) / RATIO_UNITS == pytest.approx(expected, abs=1e-5)


@given(bad=st.integers(0, 40), events=st.integers(1, 40), probability=st.floats(0.001, 0.999))
def test_the_tail_is_the_sum_of_its_probabilities(bad: int, events: int, probability: float) -> None:
    expected = sum(
        math.comb(events, k) * probability**k * (1 - probability) ** (events - k) for k in range(bad, events + 1)
    )
    assert binomial_tail(bad, events, probability) == pytest.approx(expected, abs=1e-9)


def test_one_failure_in_ten_requests_proves_nothing_and_ten_in_a_thousand_do() -> None:
    def proves(bad: int, events: int) -> bool:
        return is_significant(bad=bad, events=events, burn_rate_threshold=14.4, target=0.999, alpha=0.01)

    assert not proves(1, 10)
    assert not proves(20, 1000)
    assert proves(30, 1000)


def test_wilson_s_interval_of_nine_in_ten() -> None:
    low, high = wilson_interval(9, 10) or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.5958, 0.9821)
    assert wilson_interval(0, 0) is None


def test_a_weekly_exclusion_keeps_its_local_hour_when_the_clocks_change() -> None:
    start = datetime(2026, 3, 22, 1, 0, tzinfo=UTC)
    found = occurrences(
        starts_at=start,
        ends_at=start + timedelta(hours=2),
        recurrence="FREQ=WEEKLY",
        zone="Europe/Berlin",
        since=datetime(2026, 3, 20, tzinfo=UTC),
        until=datetime(2026, 4, 6, tzinfo=UTC),
    )
    assert [(one.day, one.hour) for one, _ in found] == [(22, 1), (29, 1), (5, 0)]


def test_overlapping_stretches_become_one_span_of_whole_minutes() -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    minute = int(begin.timestamp() // 60)
    stretches = [
        (begin, begin + timedelta(minutes=5, seconds=1)),
        (begin + timedelta(minutes=3), begin + timedelta(minutes=8)),
    ]
    assert merged_spans(stretches) == [(minute, minute + 8)]


def test_a_gauge_holds_by_its_operator_and_nan_never_does() -> None:
    assert [holds(op, 5.0, 5.0) for op in ("lte", "lt", "gte", "gt")] == [True, False, True, False]
    assert not any(holds(op, math.nan, 5.0) for op in ("lte", "lt", "gte", "gt"))

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliability.domain.readings import ExponentialReading, HistogramReading, exponential_bound
from reliability.domain.streams import CumulativeStream, DeltaStream, Stream, stream_from_json


def counter(value: int) -> HistogramReading:
    return HistogramReading((), (value,))


def total_of(stream: Stream, points: list[tuple[int, int, int]]) -> int:
    """The events credited for points (start, time, value), the state stored and read again between them."""
    total = 0
    for start, time, value in points:
        stream, credit = stream.credit(start=start, time=time, reading=counter(value))
        assert not credit.refused
        total += credit.increment.total if credit.increment else 0
        stream = stream_from_json(stream.as_json())
    return total


@given(st.lists(st.integers(0, 50), min_size=1, max_size=12), st.data())
def test_delta_points_in_any_order_with_repeats_add_up_to_what_happened(
    amounts: list[int], data: st.DataObject
) -> None:
    gaps = data.draw(st.lists(st.integers(0, 2), min_size=len(amounts), max_size=len(amounts)))
    points, time = [], 100
    for amount, gap in zip(amounts, gaps, strict=True):
        points.append((time + gap, time + gap + 10, amount))
        time += gap + 10
    repeats = data.draw(st.lists(st.sampled_from(points), max_size=8))
    order = data.draw(st.permutations([*points, *repeats]))
    assert total_of(DeltaStream(), order) == sum(amounts)


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=5), min_size=1, max_size=6), st.data())
def test_cumulative_points_with_resets_in_any_order_equal_the_true_sum(
    lives: list[list[int]], data: st.DataObject
) -> None:
    points, time = [], 100
    for amounts in lives:
        start, value = time, 0
        for amount in amounts:
            time += 10
            value += amount
            points.append((start, time, value))
        time += 5
    repeats = data.draw(st.lists(st.sampled_from(points), max_size=8))
    order = data.draw(st.permutations([*points, *repeats]))
    assert total_of(CumulativeStream(), order) == sum(map(sum, lives))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), min_size=1, max_size=30))
def test_a_counter_without_a_start_counts_from_where_it_was_first_seen(steps: list[tuple[bool, int]]) -> None:
    value, points, truth = 7, [(0, 1, 7)], 0
    for number, (reset, amount) in enumerate(steps, start=2):
        # A reset followed by less than was there before is seen; without a start, the other kind cannot be.
        value = amount if reset and amount < value else value + amount
        truth += amount
        points.append((0, number, value))
    assert total_of(CumulativeStream(), points) == truth


def test_two_writers_of_one_stream_are_found_out() -> None:
    stream, _ = CumulativeStream().credit(start=10, time=20, reading=counter(5))
    _, credit = stream.credit(start=15, time=25, reading=counter(5))
    assert "two writers" in credit.refused


def test_a_repeat_with_another_value_and_an_overlap_are_refused() -> None:
    stream, _ = CumulativeStream().credit(start=10, time=20, reading=counter(5))
    assert stream.credit(start=10, time=20, reading=counter(6))[1].refused
    delta, _ = DeltaStream().credit(start=10, time=20, reading=counter(5))
    assert delta.credit(start=15, time=25, reading=counter(5))[1].refused


def test_what_is_forgotten_is_refused_rather_than_counted_twice() -> None:
    delta: DeltaStream = DeltaStream()
    for number in range(100):
        delta, _ = delta.credit(start=1000 + number * 10, time=1005 + number * 10, reading=counter(1))
    assert len(delta.intervals) == 64
    assert "too late" in delta.credit(start=1000, time=1005, reading=counter(1))[1].refused


def test_a_threshold_on_a_bound_splits_exactly() -> None:
    assert HistogramReading((0.5, 1.0, 2.0), (5, 3, 2, 1)).split_at(1.0) == (8, 3, 0)


def test_a_threshold_inside_a_bucket_leaves_that_bucket_unknown() -> None:
    reading = HistogramReading((0.5, 1.0, 2.0), (5, 3, 2, 1))
    assert reading.split_at(1.5) == (8, 1, 2)
    assert reading.split_at(9) == (10, 0, 1)


def test_a_histogram_that_shrinks_or_changes_its_bounds_was_reset() -> None:
    old = HistogramReading((1.0,), (5, 5))
    assert HistogramReading((1.0,), (6, 5)).since(old).counts == (1, 0)
    assert HistogramReading((1.0,), (2, 5)).since(old).counts == (2, 5)
    assert HistogramReading((2.0,), (6, 6)).since(old).counts == (6, 6)


def test_an_exponential_histogram_of_scale_0_has_powers_of_two_as_bounds() -> None:
    reading = ExponentialReading(scale=0, zero=2, negative=0, buckets={0: 3, 1: 4})  # (1, 2] and (2, 4]
    assert reading.split_at(2.0) == (5, 4, 0)
    assert reading.split_at(3.0) == (5, 0, 4)
    assert reading.split_at(0.0) == (2, 7, 0)


@pytest.mark.parametrize("scale", [-3, 0, 3, 7, 20])
def test_an_edge_of_an_exponential_bucket_is_exact_at_powers_of_two(scale: int) -> None:
    index = 8 if scale < 0 else 3 * 2**scale
    assert exponential_bound(scale, index) == (2.0**64 if scale < 0 else 8.0)
    assert exponential_bound(0, 5000) == math.inf


@given(st.lists(st.floats(0.001, 1e6), min_size=2, max_size=40), st.integers(0, 5), st.integers(0, 5), st.data())
def test_a_change_of_scale_loses_and_invents_no_event(
    values: list[float], scale: int, coarser: int, data: st.DataObject
) -> None:
    def read(some: list[float], at: int) -> ExponentialReading:
        buckets: dict[int, int] = {}
        for value in some:
            index = math.ceil(math.log2(value) * 2**at) - 1
            buckets[index] = buckets.get(index, 0) + 1
        return ExponentialReading(at, 0, 0, buckets)

    cut = data.draw(st.integers(0, len(values)))
    before, after = read(values[:cut], scale), read(values, scale).at_scale(scale - coarser)
    grown = after.since(before)
    assert grown.total == len(values) - cut
    assert grown.buckets == read(values[cut:], scale).at_scale(scale - coarser).buckets

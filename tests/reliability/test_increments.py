from hypothesis import given
from hypothesis import strategies as st

from reliability.domain.increments import (
    HistogramReading,
    counter_increment,
    exponential_reading,
    histogram_increment,
    split_at,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=30))
def test_increments_of_a_counter_add_up_to_what_happened_whatever_was_reset(steps: list[tuple[bool, int]]) -> None:
    previous: float | None = None
    value = truth = credited = 0
    for reset, amount in steps:
        # A reset that is followed by less than was there before is seen; a counter cannot tell the other kind.
        value = amount if reset and amount < value else value + amount
        truth += amount
        credited += int(counter_increment(previous, value))
        previous = value
    assert credited == truth


def test_a_threshold_on_a_bound_splits_exactly() -> None:
    reading = HistogramReading((0.5, 1.0, 2.0), (5, 3, 2, 1))
    assert split_at(reading, 1.0) == (8, 3, 0)


def test_a_threshold_inside_a_bucket_leaves_that_bucket_unknown() -> None:
    reading = HistogramReading((0.5, 1.0, 2.0), (5, 3, 2, 1))
    assert split_at(reading, 1.5) == (8, 1, 2)
    assert split_at(reading, 9) == (10, 0, 1)


def test_a_histogram_that_shrinks_or_changes_its_bounds_was_reset() -> None:
    old = HistogramReading((1.0,), (5, 5))
    assert histogram_increment(old, HistogramReading((1.0,), (6, 5))).counts == (1, 0)
    assert histogram_increment(old, HistogramReading((1.0,), (2, 5))).counts == (2, 5)
    assert histogram_increment(old, HistogramReading((2.0,), (6, 6))).counts == (6, 6)


def test_an_exponential_histogram_of_scale_0_has_powers_of_two_as_bounds() -> None:
    reading = exponential_reading(scale=0, zero_count=2, offset=0, counts=[3, 4])  # (1, 2] and (2, 4]
    assert reading.total == 9
    assert split_at(reading, 2.0) == (5, 4, 0)
    assert split_at(reading, 3.0) == (5, 0, 4)

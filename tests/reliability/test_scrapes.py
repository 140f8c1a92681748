from hypothesis import given
from hypothesis import strategies as st

from reliability.domain.scrapes import Increment, Sample, increments, usual_interval


def events(found: list[Increment], *, known: bool = True) -> int:
    return sum(one.events for one in found if one.known is known)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), min_size=1, max_size=30), st.data())
def test_samples_in_any_cut_with_repeats_add_up_to_what_a_counter_proves(
    steps: list[tuple[bool, int]], data: st.DataObject
) -> None:
    value, truth, samples = 7, 0, [Sample(0, 7)]
    for number, (reset, amount) in enumerate(steps, start=1):
        value = amount if reset and amount < value else value + amount
        truth += amount
        samples.append(Sample(number * 15, value))
    carried, counted = None, 0
    position = 0
    while position < len(samples):
        cut = data.draw(st.integers(position + 1, len(samples)))
        overlap = max(position - data.draw(st.integers(0, 3)), 0)
        chunk = data.draw(st.permutations(samples[overlap:cut]))
        found, carried = increments(chunk, carried=carried, target_scrapes=[], interval=15)
        counted += events(found)
        position = cut
    assert counted == truth


def test_a_series_that_is_born_under_a_scraped_target_counts_in_full() -> None:
    found, _ = increments([Sample(30, 3), Sample(45, 4)], carried=None, target_scrapes=[0, 15, 30, 45], interval=15)
    assert [(one.since, one.events, one.known) for one in found] == [(15, 3, True), (30, 1, True)]


def test_a_series_of_a_new_target_leaves_its_first_value_unknown() -> None:
    found, _ = increments([Sample(30, 300), Sample(45, 301)], carried=None, target_scrapes=[30, 45], interval=15)
    assert (events(found), events(found, known=False)) == (1, 300)


def test_not_a_number_and_negative_values_count_nothing() -> None:
    samples = [Sample(15, float("nan")), Sample(30, -5), Sample(45, 12)]
    found, latest = increments(samples, carried=Sample(0, 10), target_scrapes=[], interval=15)
    assert (events(found), latest) == (2, Sample(45, 12))


def test_the_usual_interval_is_the_median() -> None:
    assert usual_interval([0, 15, 30, 90]) == 15
    assert usual_interval([]) == 60

"""Running sums on shelves against a plain dictionary of minutes: whatever is added in whatever order, windows agree."""

from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reliability.domain.budgets import Counts
from reliability.domain.sheets import FIELDS, PLACES, packed, packed_day, unpacked, unpacked_day
from reliability.models import SLO, KeptMinute, SLOVersion, TallyBlock, TallyDay, TallyPack
from reliability.selectors import bucket_sums, groups_of, last_measured_minutes, sums_before, window_counts, window_sums
from reliability.selectors.tallies import tally_minutes
from reliability.services.packing import pack_days, thin
from reliability.services.tallying import add_to_tallies, group_tally, merge

pytestmark = [pytest.mark.django_db, pytest.mark.database]
DAY = 1440
START = 20_000 * DAY
ADDED = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(st.integers(0, 20), st.integers(0, 4 * DAY)),
        st.builds(
            lambda good, bad, low, more: Counts(good, bad, low + more, 0, low),
            *(st.integers(0, 10**9) for _ in range(2)),
            *(st.integers(0, 50) for _ in range(2)),
        ),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture
def versions(version: SLOVersion) -> list[SLOVersion]:
    """Four versions whose tallies lie on more than one shelf."""
    found = [version]
    for number in range(3):
        slo = SLO.objects.create(slug=f"other-{number}", name="Other", service=version.slo.service)
        copy = SLOVersion.objects.get(pk=version.pk)
        copy.pk, copy.slo, copy.number = version.pk + 99 * (number + 1), slo, 1
        copy.save(force_insert=True)
        found.append(copy)
    return found


class Plain:
    """What is expected: events by tally and minute."""

    def __init__(self) -> None:
        self.minutes: dict[tuple[int, int], Counts] = {}

    def add(self, tally: int, minute: int, counts: Counts) -> None:
        old = self.minutes.get((tally, minute), Counts(minutes_measured=1))
        self.minutes[tally, minute] = old + counts

    def window(self, tally: int, start: int, end: int) -> Counts:
        inside = (counts for (one, minute), counts in self.minutes.items() if one == tally and start <= minute < end)
        return sum(inside, Counts())


@given(rounds=st.lists(ADDED, min_size=1, max_size=5), cuts=st.lists(st.integers(-5, 4 * DAY + 5), max_size=4))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_window_equals_the_sum_of_its_minutes_whatever_came_late(
    versions: list[SLOVersion], rounds: list[list[tuple[int, int, Counts]]], cuts: list[int]
) -> None:
    # Each example has minutes of its own: what earlier ones added stays out of its windows.
    base = (max((key % 2**32 for key in TallyDay.objects.values_list("key", flat=True)), default=20_000) + 2) * DAY
    plain = Plain()
    for number, additions in enumerate(rounds):
        increments: dict[tuple[int, int], Counts] = {}
        for which, offset, counts in additions:
            tally = versions[which].tally_id
            merge(increments, tally_id=tally, minute=base + offset, counts=counts)
            plain.add(tally, base + offset, counts)
        add_to_tallies(increments)
        if number == 1:
            pack_days(before_day=base // DAY + 10)
    edges = sorted({base - 10, *(base + cut for cut in cuts), base + 4 * DAY + 10})
    windows = [(low, high) for low in edges for high in edges if low < high]
    ids = [one.tally_id for one in versions]
    found = window_counts(ids, windows)
    columns = window_sums(ids, windows)
    for tally in ids:
        for window in windows:
            wanted = plain.window(tally, *window)
            assert found[tally, window] == wanted
            if tally in columns.tally_ids:
                at = list(columns.tally_ids).index(tally)
                got = [figure[at] for figure in columns.columns[window]]
                assert got == [
                    wanted.good,
                    wanted.bad,
                    wanted.unknown,
                    wanted.unknown_low,
                    wanted.minutes_measured,
                ]
        series = tally_minutes(tally, start_minute=edges[0], end_minute=edges[-1])
        assert dict(series) == {minute: counts for (one, minute), counts in plain.minutes.items() if one == tally}
        buckets = bucket_sums([tally], start_minute=edges[0], end_minute=edges[-1], step=60)[tally]
        measured = {minute // 60 for (one, minute) in plain.minutes if one == tally}
        assert sum(one is not None for one in buckets) == len(measured)


@given(st.lists(st.integers(0, 2**63), min_size=PLACES * FIELDS, max_size=PLACES * FIELDS))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_sheet_comes_back_as_it_was_packed(numbers: list[int]) -> None:
    sheet = unpacked(packed(array("Q", numbers)))
    assert list(sheet) == numbers


def test_a_day_comes_back_as_it_was_packed() -> None:
    minutes = [(0, Counts(5, 1, 3, 1, 2)), (7, Counts(0, 0, 0, 1)), (1439, Counts(2**40, 1, 0, 1))]
    assert unpacked_day(packed_day(minutes)) == minutes


def test_a_window_is_the_sum_of_its_parts(version: SLOVersion) -> None:
    add_to_tallies({(version.tally_id, START + 3 * number): Counts(number, 1) for number in range(2000)})
    one, two, both = (START, START + 1500), (START + 1500, START + 7000), (START, START + 7000)
    found = window_counts([version.tally_id], [one, two, both])
    assert found[version.tally_id, one] + found[version.tally_id, two] == found[version.tally_id, both]
    assert found[version.tally_id, both].bad == 2000


def test_groups_are_counted_beside_the_whole(version: SLOVersion) -> None:
    assert groups_of(version=version) == []
    group = group_tally(version_id=version.tally_id, labels={"region": "eu"})
    assert group_tally(version_id=version.tally_id, labels={"region": "eu"}) == group
    add_to_tallies({(version.tally_id, START): Counts(10, 2), (group, START): Counts(4, 1)})
    (found,) = groups_of(version=version)
    assert (found.tally_id, found.labels) == (group, {"region": "eu"})
    assert sums_before([group, version.tally_id], [START + 1]) == {
        (group, START + 1): Counts(4, 1, 0, 1),
        (version.tally_id, START + 1): Counts(10, 2, 0, 1),
    }


def test_the_last_measured_minute_is_the_latest_even_when_a_late_one_follows(version: SLOVersion) -> None:
    add_to_tallies({(version.tally_id, START + 5): Counts(1)})
    add_to_tallies({(version.tally_id, START + 2): Counts(1)})
    assert last_measured_minutes([version]) == {version.pk: START + 5}


def test_thinning_keeps_hours_and_named_minutes_and_every_later_sum(version: SLOVersion) -> None:
    tally = version.tally_id
    add_to_tallies({(tally, START + minute): Counts(good=minute, bad=1) for minute in range(3 * DAY)})
    KeptMinute.objects.create(minute=START + 77, reason="exclusion 1")
    windows = [(START, START + 77), (START + 60, START + 180), (START, START + 2 * DAY), (START + DAY, START + 3 * DAY)]
    before = window_counts([tally], windows)
    pack_days(before_day=START // DAY + 3)
    thin(before_day=START // DAY + 1)
    assert window_counts([tally], windows) == before
    assert TallyBlock.objects.count() == 24 + 1 + 2 * DAY
    assert TallyPack.objects.count() == 2

# ruff: noqa: DTZ001 wall times have no zone by nature
"""The schedule is a pure function: properties over awkward zones, and worked examples of days with a jump."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from incidents.domain.oncall import Override, Shift, Version, gaps, resolve
from incidents.domain.rotations import Basis, Layer, Restriction, Rotation, Unit, turns_of
from incidents.domain.wall_time import instant_of, wall_of

ZONES = [
    "America/New_York",
    "Europe/London",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "America/Santiago",
    "Africa/Casablanca",
    "Pacific/Apia",
    "UTC",
]
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
PEOPLE = (("alice",), ("bob",), ("carol",))

# 2011 has the day that Apia skipped; 2026 has current rules.
walls = st.datetimes(datetime(2011, 1, 1), datetime(2027, 12, 31)).map(lambda d: d.replace(second=0, microsecond=0))
instants = walls.map(lambda d: d.replace(tzinfo=UTC))
spans = st.integers(1, 60 * 24 * 60).map(lambda minutes: timedelta(minutes=minutes))
rotations = st.one_of(
    st.builds(Rotation, st.sampled_from(list(Unit)), st.integers(1, 20), walls),
    st.builds(
        Rotation, st.sampled_from([Unit.HOUR, Unit.DAY, Unit.WEEK]), st.integers(1, 20), walls, st.just(Basis.ELAPSED)
    ),
)
times = st.times().map(lambda t: t.replace(second=0, microsecond=0))
restrictions = st.lists(
    st.builds(Restriction, st.frozensets(st.integers(0, 6), min_size=1), times, times), max_size=2
).map(tuple)


@st.composite
def layers(draw: st.DrawFn, *, restricted: bool = True) -> Layer:
    return Layer(
        name=draw(st.sampled_from(["first", "second", "night"])),
        priority=draw(st.integers(0, 2)),
        zone=draw(st.sampled_from(ZONES)),
        rotation=draw(rotations),
        groups=PEOPLE[: draw(st.integers(1, 3))],
        starts_at=draw(st.sampled_from([EPOCH, datetime(2026, 3, 1, tzinfo=UTC)])),
        restrictions=draw(restrictions) if restricted else (),
    )


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[Version], list[Override]]:
    versions = [
        Version(number + 1, at, tuple(draw(st.lists(layers(), min_size=1, max_size=3))))
        for number, at in enumerate(sorted(draw(st.lists(instants, min_size=1, max_size=3, unique=True))))
    ]
    overrides = [
        Override(f"o{n}", at, at + length, ("dora",))
        for n, (at, length) in enumerate(draw(st.lists(st.tuples(instants, spans), max_size=3)))
    ]
    return versions, overrides


def assert_in_order_and_apart(shifts: list[Shift], start: datetime, end: datetime) -> None:
    at = start
    for shift in shifts:
        assert at <= shift.starts_at < shift.ends_at <= end
        at = shift.ends_at


@settings(max_examples=150, deadline=None)
@given(layer=layers(restricted=False), start=instants, span=spans)
def test_an_unrestricted_layer_leaves_no_gap_and_no_overlap(layer: Layer, start: datetime, span: timedelta) -> None:
    start = max(start, layer.starts_at)
    turns = turns_of(layer, start, start + span)
    assert turns[0].starts_at == start
    assert turns[-1].ends_at == start + span
    for turn, following in pairwise(turns):
        assert turn.ends_at == following.starts_at
        assert turn.number < following.number


@settings(max_examples=150, deadline=None)
@given(rotation=rotations, zone=st.sampled_from(ZONES), turn=st.integers(-400, 400))
def test_a_hand_off_shows_the_configured_wall_time_unless_that_time_is_skipped(
    rotation: Rotation, zone: str, turn: int
) -> None:
    if rotation.unit is Unit.HOUR or rotation.basis is Basis.ELAPSED:
        return
    at = rotation.handoff(turn, zone)
    shown = wall_of(at, zone)
    if shown.time() != rotation.anchor.time():
        just_before = wall_of(at - timedelta(seconds=1), zone)
        assert shown - just_before > timedelta(seconds=1), "only a jump may move a hand-off"


@settings(max_examples=150, deadline=None)
@given(rotation=rotations, zone=st.sampled_from(ZONES), at=instants)
def test_the_turn_found_for_an_instant_holds_it(rotation: Rotation, zone: str, at: datetime) -> None:
    turn = rotation.turn_at(at, zone)
    assert rotation.handoff(turn, zone) <= at < rotation.handoff(turn + 1, zone)


@settings(max_examples=100, deadline=None)
@given(schedule=schedules(), start=instants, first=spans, second=spans)
def test_two_adjoining_periods_give_the_same_as_both_at_once(
    schedule: tuple[list[Version], list[Override]], start: datetime, first: timedelta, second: timedelta
) -> None:
    versions, overrides = schedule
    middle, end = start + first, start + first + second
    whole = resolve(versions, overrides, start, end)
    parts = resolve(versions, overrides, start, middle) + resolve(versions, overrides, middle, end)
    if len(parts) != len(whole):
        seam = next(n for n, shift in enumerate(parts) if shift.ends_at == middle)
        left, right = parts[seam], parts[seam + 1]
        assert (left.people, left.why) == (right.people, right.why)
        parts[seam : seam + 2] = [Shift(left.starts_at, right.ends_at, left.people, left.why)]
    assert parts == whole
    assert_in_order_and_apart(whole, start, end)


@settings(max_examples=100, deadline=None)
@given(schedule=schedules(), extra=layers(), start=instants, span=spans)
def test_a_new_version_does_not_change_the_past(
    schedule: tuple[list[Version], list[Override]], extra: Layer, start: datetime, span: timedelta
) -> None:
    versions, overrides = schedule
    at = start + span
    edited = [v for v in versions if v.effective_from < at] + [Version(99, at, (extra,))]
    before = resolve([v for v in versions if v.effective_from < at], overrides, start, at)
    assert resolve(edited, overrides, start, at) == before


@settings(max_examples=60, deadline=None)
@given(layer=layers(restricted=False))
def test_over_whole_rounds_every_group_has_the_same_number_of_turns(layer: Layer) -> None:
    numbers = [layer.groups[n % len(layer.groups)] for n in range(10 * len(layer.groups))]
    assert {numbers.count(group) for group in layer.groups} == {10}


def test_an_override_wins_whatever_the_priority_and_says_so() -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    layer = Layer("main", 9, "UTC", Rotation(Unit.WEEK, 1, datetime(2026, 6, 1)), PEOPLE, EPOCH)
    override = Override("swap-1", start + timedelta(hours=1), start + timedelta(hours=2), ("zoe",))
    shifts = resolve([Version(1, EPOCH, (layer,))], [override], start, start + timedelta(hours=3))
    assert [shift.people for shift in shifts] == [("alice",), ("zoe",), ("alice",)]
    assert str(shifts[1].why) == "override swap-1"
    assert str(shifts[0].why) == "layer main, turn 0 (version 1)"


def test_the_higher_priority_wins_and_the_lower_fills_what_it_leaves() -> None:
    weekdays = frozenset(range(5))
    office = Restriction(weekdays, time(9), time(17))
    rotation = Rotation(Unit.WEEK, 1, datetime(2026, 6, 1))
    day = Layer("office", 5, "Europe/London", rotation, (("alice",),), EPOCH, restrictions=(office,))
    rest = Layer("rest", 1, "Europe/London", rotation, (("bob",),), EPOCH)
    start = instant_of(datetime(2026, 6, 1), "Europe/London")
    shifts = resolve([Version(1, EPOCH, (rest, day))], [], start, start + timedelta(days=1))
    assert [(shift.people[0], wall_of(shift.starts_at, "Europe/London").hour) for shift in shifts] == [
        ("bob", 0),
        ("alice", 9),
        ("bob", 17),
    ]


def test_gaps_are_what_no_shift_covers() -> None:
    night = Restriction(frozenset(range(7)), time(22), time(6))
    layer = Layer("night", 1, "UTC", Rotation(Unit.DAY, 1, datetime(2026, 1, 1)), PEOPLE, EPOCH, None, (night,))
    start = datetime(2026, 6, 1, tzinfo=UTC)
    end = start + timedelta(days=1)
    found = gaps(resolve([Version(1, EPOCH, (layer,))], [], start, end), start, end)
    assert found == [(start + timedelta(hours=6), start + timedelta(hours=22))]


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 3, 7), 23.0), (date(2026, 10, 31), 25.0), (date(2026, 6, 1), 24.0)],
)
def test_a_daily_shift_in_new_york_is_as_long_as_its_day(day: date, hours: float) -> None:
    rotation = Rotation(Unit.DAY, 1, datetime(2026, 1, 1, 8))
    start = instant_of(datetime.combine(day, time(8)), "America/New_York")
    turn = rotation.turn_at(start, "America/New_York")
    ends = rotation.handoff(turn + 1, "America/New_York")
    assert (ends - start).total_seconds() / 3600 == hours


def test_lord_howe_has_a_day_of_twenty_three_hours_and_a_half() -> None:
    rotation = Rotation(Unit.DAY, 1, datetime(2026, 1, 1))
    lengths = {
        (rotation.handoff(n + 1, "Australia/Lord_Howe") - rotation.handoff(n, "Australia/Lord_Howe")).total_seconds()
        / 3600
        for n in range(365)
    }
    assert lengths == {23.5, 24.0, 24.5}


def test_a_skipped_wall_time_means_the_first_instant_after_the_jump() -> None:
    assert instant_of(datetime(2026, 3, 8, 2, 30), "America/New_York") == datetime(2026, 3, 8, 7, tzinfo=UTC)
    assert instant_of(datetime(2011, 12, 30, 9), "Pacific/Apia") == datetime(2011, 12, 30, 10, tzinfo=UTC)
    midnight = instant_of(datetime(2026, 9, 6), "America/Santiago")
    assert midnight.astimezone(ZoneInfo("America/Santiago")).hour == 1


def test_a_repeated_wall_time_means_the_first() -> None:
    assert instant_of(datetime(2026, 11, 1, 1, 30), "America/New_York") == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_months_are_counted_from_the_anchor_and_do_not_drift() -> None:
    rotation = Rotation(Unit.MONTH, 1, datetime(2026, 1, 31, 9))
    days = [wall_of(rotation.handoff(n, "UTC"), "UTC").day for n in range(6)]
    assert days == [31, 28, 31, 30, 31, 30]


def test_every_twelve_elapsed_hours_is_not_every_twelve_hours_on_the_wall() -> None:
    anchor = datetime(2026, 3, 7, 8)
    wall = Rotation(Unit.HOUR, 12, anchor).handoff(2, "America/New_York")
    elapsed = Rotation(Unit.HOUR, 12, anchor, Basis.ELAPSED).handoff(2, "America/New_York")
    assert elapsed - wall == timedelta(hours=1)

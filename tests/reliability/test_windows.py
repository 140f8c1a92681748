from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from reliability.domain.attribution import UNEXPLAINED, Span, attribute
from reliability.domain.windows import CalendarWindow, RollingWindow, Unit


def test_a_rolling_window_ends_now() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert RollingWindow(timedelta(days=28)).bounds(now) == (datetime(2026, 2, 1, tzinfo=UTC), now)


def test_a_month_in_berlin_begins_at_local_midnight_on_both_sides_of_the_change_of_clocks() -> None:
    window = CalendarWindow(1, "M", datetime(2026, 1, 1), "Europe/Berlin")  # noqa: DTZ001 wall time
    assert window.bounds(datetime(2026, 3, 15, tzinfo=UTC)) == (
        datetime(2026, 2, 28, 23, tzinfo=UTC),
        datetime(2026, 3, 31, 22, tzinfo=UTC),
    )


def test_a_day_with_a_change_of_clocks_has_23_hours() -> None:
    window = CalendarWindow(1, "d", datetime(2026, 1, 1), "Europe/Berlin")  # noqa: DTZ001 wall time
    start, end = window.bounds(datetime(2026, 3, 29, 12, tzinfo=UTC))
    assert end - start == timedelta(hours=23)


@given(
    st.sampled_from(("d", "w", "M", "Q", "Y")),
    st.integers(1, 3),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")),
)
def test_periods_hold_now_and_touch_without_gap(unit: Unit, count: int, now: datetime, zone: str) -> None:
    window = CalendarWindow(count, unit, datetime(2024, 1, 31), zone)  # noqa: DTZ001 wall time
    start, end = window.bounds(now)
    assert start <= now < end
    assert window.bounds(end)[0] == end


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2)), max_size=8),
    st.lists(st.integers(0, 9), min_size=60, max_size=60),
)
def test_what_is_attributed_adds_up_to_what_was_spent(
    activities: list[tuple[int, int, int]], bad_by_minute: list[int]
) -> None:
    spans = [Span(key, min(a, b), max(a, b), rank) for key, (a, b, rank) in enumerate(activities)]
    shares = attribute(spans, start=0, end=60, bad_before=lambda minute: sum(bad_by_minute[:minute]))
    assert sum(shares.values()) == sum(bad_by_minute)


def test_an_overlap_goes_to_the_likelier_cause() -> None:
    spans = [Span(1, 0, 10, 0), Span(2, 5, 20, 1)]
    shares = attribute(spans, start=0, end=30, bad_before=lambda minute: minute)
    assert shares == {1: 10, 2: 10, UNEXPLAINED: 10}

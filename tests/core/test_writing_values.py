from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from core.formatting import (
    exact_time,
    relative_time,
    time_element,
    written_duration,
    written_interval,
    written_number,
    written_ratio,
)
from core.states import Tone, shown, tone_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(milliseconds=250), "250 ms"),
        (timedelta(seconds=61), "1 min 1 s"),
        (timedelta(hours=3), "3 h"),
        (timedelta(days=2, hours=5, minutes=9), "2 d 5 h"),
        (timedelta(seconds=-90), "\u22121 min 30 s"),
        (None, "—"),
    ],
)
def test_durations_are_written_in_two_units(value: timedelta | None, text: str) -> None:
    assert written_duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9995, "99.95 %"),
        (0.99999, "99.999 %"),
        (0.5, "50 %"),
        (1.0, "100 %"),
        (0.0, "0 %"),
        (1.2, "120 %"),
        (None, "unknown"),
    ],
)
def test_a_ratio_is_never_rounded_up_to_a_hundred_percent(value: float | None, text: str) -> None:
    assert written_ratio(value) == text


def test_a_missing_number_is_no_zero() -> None:
    assert written_number(None) == "—"
    assert written_number(1234567) == "1\u202f234\u202f567"


def test_times_are_relative_with_the_exact_one_in_the_readers_zone() -> None:
    assert relative_time(NOON - timedelta(minutes=3), now=NOON) == "3 min ago"
    assert relative_time(NOON + timedelta(hours=2), now=NOON) == "in 2 h"
    with timezone.override("Asia/Tokyo"):
        assert exact_time(NOON) == "2026-03-01 21:00:00 Asia/Tokyo"
        assert 'title="2026-03-01 21:00:00 Asia/Tokyo"' in time_element(NOON, now=NOON)


def test_a_state_that_nobody_listed_never_looks_good() -> None:
    assert tone_of("flabbergasted") is Tone.PLAIN
    assert tone_of(None) is Tone.UNKNOWN
    assert shown(None).word == "UNKNOWN"


@pytest.mark.parametrize(
    ("word", "tone"),
    [("AT RISK", Tone.RISK), ("at_risk", Tone.RISK), ("BREACHED", Tone.BAD), ("OK", Tone.OK), ("paused", Tone.FROZEN)],
)
def test_spelling_does_not_change_the_tone(word: str, tone: Tone) -> None:
    assert tone_of(word) is tone


def test_an_interval_has_as_many_digits_as_tell_its_bounds_apart() -> None:
    assert written_interval(0.98566, 0.98623) == "98.57 to 98.62 %"
    assert written_interval(0.1, 0.5) == "10.0 to 50.0 %"
    assert written_interval(0.999, 0.999) == "99.9 %"
    assert written_interval(-0.5, 1.0, digits=1) == "\N{MINUS SIGN}50.0 to 100.0 %"

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from delivery.domain.breaker import FAILURES_TO_OPEN, LONGEST_COOL_DOWN, Breaker, Circuit
from delivery.domain.retries import PAGE_DELAYS, WEBHOOK_DELAYS, next_delay

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def test_webhooks_follow_the_published_schedule_of_ten_tries_in_75_6_hours() -> None:
    delays = [next_delay(WEBHOOK_DELAYS, tries=n, chance=0.5) for n in range(1, 11)]
    assert delays[-1] is None
    assert [d.total_seconds() for d in delays if d] == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert round(sum(WEBHOOK_DELAYS, timedelta()).total_seconds() / 3600, 1) == 75.6


def test_a_page_is_settled_within_three_minutes_and_a_half_whatever_the_channel_does() -> None:
    assert sum(PAGE_DELAYS, timedelta()) * 1.2 < timedelta(minutes=3, seconds=40)


@given(tries=st.integers(1, 9), chance=st.floats(0, 1))
def test_the_jitter_stays_within_a_fifth(tries: int, chance: float) -> None:
    delay = next_delay(WEBHOOK_DELAYS, tries=tries, chance=chance)
    plain = WEBHOOK_DELAYS[tries - 1]
    assert delay is not None
    assert plain * 0.799 <= delay <= plain * 1.201


def test_what_the_receiver_asks_for_is_not_undercut_but_bounded_by_a_day() -> None:
    hour = timedelta(hours=1)
    assert next_delay(WEBHOOK_DELAYS, tries=1, chance=0, retry_after=hour) == hour
    assert next_delay(WEBHOOK_DELAYS, tries=1, chance=0, retry_after=hour * 900) == hour * 24


def test_the_circuit_opens_after_failures_in_a_row_and_one_success_closes_it() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker = breaker.after_failure(NOW)
        assert breaker.circuit is Circuit.CLOSED
    breaker = breaker.after_failure(NOW)
    assert breaker.circuit is Circuit.OPEN
    assert breaker.until is not None
    assert not breaker.may_probe(NOW)
    assert breaker.may_probe(breaker.until)
    assert breaker.after_success() == Breaker()


@given(failures=st.integers(FAILURES_TO_OPEN, 10_000))
def test_the_cool_down_grows_and_stays_bounded(failures: int) -> None:
    until = Breaker(Circuit.OPEN, failures, NOW).after_failure(NOW).until
    assert until is not None
    assert NOW < until <= NOW + LONGEST_COOL_DOWN

"""The seven words, as rules."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.domain.effectiveness import (
    BADNESS,
    Due,
    Judgement,
    Outcome,
    Standing,
    Strength,
    excused_at,
    judge_check,
    judge_whole,
)
from compliance.selectors.life import alive_throughout

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def due(outcome: Outcome, *, days: int = 1, verified: bool = True, excepted: bool = False) -> Due:
    at = NOW - timedelta(days=days)
    return Due(f"{outcome}{days}", at, outcome, None if outcome is Outcome.MISSED else at, verified, excepted)


def judge(*rows: Due, events: bool = True, alive: bool | None = None, fresh: int | None = 35) -> Judgement:
    return judge_check(
        rows,
        now=NOW,
        events=events,
        operating_from_percent=80,
        fresh_for=timedelta(days=fresh) if fresh else None,
        collector_alive=alive,
    )


def test_all_due_passed_and_verified_is_operating() -> None:
    judged = judge(due(Outcome.PASSED), due(Outcome.PASSED, days=2))
    assert (judged.standing, judged.counted) == (Standing.OPERATING, "2 of 2")


def test_one_deviation_in_ten_is_operating_with_exceptions() -> None:
    judged = judge(*(due(Outcome.PASSED, days=n) for n in range(1, 10)), due(Outcome.FAILED))
    assert (judged.standing, judged.counted) == (Standing.OPERATING_WITH_EXCEPTIONS, "9 of 10")


def test_half_failed_is_not_operating() -> None:
    assert judge(due(Outcome.PASSED), due(Outcome.FAILED, days=2)).standing is Standing.NOT_OPERATING


def test_what_does_not_verify_does_not_count() -> None:
    assert judge(due(Outcome.PASSED, verified=False)).standing is Standing.NOT_OPERATING


@pytest.mark.parametrize(
    ("alive", "word"),
    [(True, Standing.NO_POPULATION), (False, Standing.COLLECTOR_SILENT), (None, Standing.NOT_TESTED)],
)
def test_nothing_happened_needs_proof_that_the_collector_worked(*, alive: bool | None, word: Standing) -> None:
    assert judge(alive=alive).standing is word


def test_a_scheduled_check_goes_stale() -> None:
    assert judge(due(Outcome.PASSED, days=40), events=False).standing is Standing.STALE


def test_a_scheduled_check_that_was_due_and_never_happened_does_not_operate() -> None:
    assert judge(due(Outcome.MISSED), events=False).standing is Standing.NOT_OPERATING


def test_a_scheduled_check_that_is_not_due_yet_was_not_tested() -> None:
    assert judge(due(Outcome.PENDING), events=False).standing is Standing.NOT_TESTED


def test_supporting_alone_never_makes_a_whole_good() -> None:
    good = Judgement(Standing.OPERATING, 5, 5)
    assert judge_whole([(Strength.SUPPORTING, good)], nothing="no proof").standing is Standing.NOT_TESTED


outcomes = st.lists(st.sampled_from([Outcome.PASSED, Outcome.FAILED, Outcome.MISSED, Outcome.PENDING]), max_size=30)


@given(outcomes, st.booleans())
def test_more_good_evidence_never_lowers(rows: list[Outcome], events: bool) -> None:
    occurrences = [due(one, days=n * 3 + 1) for n, one in enumerate(rows)]
    before = judge(*occurrences, events=events)
    after = judge(*occurrences, due(Outcome.PASSED), events=events)
    if before.due:
        assert BADNESS.index(after.standing) >= BADNESS.index(before.standing)
    assert after.passed == before.passed + 1


@given(outcomes, st.randoms())
def test_order_of_arrival_does_not_matter(rows: list[Outcome], shuffler: object) -> None:
    occurrences = [due(one, days=n + 1) for n, one in enumerate(rows)]
    mixed = list(occurrences)
    shuffler.shuffle(mixed)  # type: ignore[attr-defined]
    assert judge(*occurrences) == judge(*mixed)


OUTCOMES = st.sampled_from([Outcome.PASSED, Outcome.FAILED, Outcome.MISSED])
ROWS = st.lists(
    st.builds(
        lambda outcome, days, verified, excepted: due(outcome, days=days, verified=verified, excepted=excepted),
        OUTCOMES,
        st.integers(0, 300),
        st.booleans(),
        st.booleans(),
    ),
    max_size=30,
)
# From worst to best, of what was due: more good evidence must never lead to the left.
RISING = (Standing.NOT_OPERATING, Standing.STALE, Standing.OPERATING_WITH_EXCEPTIONS, Standing.OPERATING)


@given(ROWS, st.booleans(), st.integers(0, 30))
def test_more_good_evidence_never_lowers_a_control(rows: list[Due], events: bool, days: int) -> None:
    before = judge(*rows, events=events)
    after = judge(*rows, due(Outcome.PASSED, days=days), events=events)
    if before.due:
        assert RISING.index(after.standing) >= RISING.index(before.standing)
    assert after.passed == before.passed + 1


@given(ROWS, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_arrival_does_not_matter(rows: list[Due], order: Any, events: bool) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert judge(*rows, events=events) == judge(*shuffled, events=events)


@given(st.integers(1, 60), st.integers(1, 60), ROWS)
def test_an_expired_exception_never_helps(starts: int, lasts: int, rows: list[Due]) -> None:
    expired = [(NOW - timedelta(days=400 + starts + lasts), NOW - timedelta(days=400 + starts))]
    assert not any(excused_at(expired, one.due_at) for one in rows)
    end = expired[0][1]
    assert excused_at(expired, end - timedelta(seconds=1))
    assert not excused_at(expired, end)


@given(ROWS)
def test_an_exception_never_counts_as_passed(rows: list[Due]) -> None:
    with_it = [replace(one, excepted=True) for one in rows]
    without = [replace(one, excepted=False) for one in rows]
    assert judge(*with_it).passed == judge(*without).passed
    assert judge(*with_it).standing is not Standing.OPERATING or judge(*without).standing is Standing.OPERATING


@given(st.lists(st.sampled_from(list(Standing)), max_size=8))
def test_supporting_evidence_alone_is_never_green(standings: list[Standing]) -> None:
    parts = [(Strength.SUPPORTING, Judgement(one, 1, 1)) for one in standings]
    assert judge_whole(parts, nothing="none").standing is Standing.NOT_TESTED


@given(st.lists(st.integers(0, 90), min_size=1, max_size=12), st.integers(1, 40))
def test_a_collector_is_alive_only_without_a_longer_silence(days: list[int], within: int) -> None:
    signs = sorted(NOW - timedelta(days=one) for one in days)
    start, reach = NOW - timedelta(days=60), timedelta(days=within)
    alive = alive_throughout(signs, start=start, end=NOW, reach=reach)
    silent_day = next(
        (
            start + timedelta(days=n)
            for n in range(within, 61)
            if not any(start + timedelta(days=n - within) <= one <= start + timedelta(days=n) for one in signs)
        ),
        None,
    )
    assert not (alive and silent_day is not None)

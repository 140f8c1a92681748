"""The arithmetic of the guards."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from chaos.domain.limits import BudgetRule, Radius, budget_problem, cap_problem, near, radius_problem
from chaos.domain.redaction import redacted
from chaos.domain.schedules import ScheduleSpec, next_turn, turns_missed
from chaos.domain.windows import Window

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("radius", "hurt", "matched", "tier", "said"),
    [
        (Radius(2, 70), 2, 3, 1, ""),
        (Radius(2, 60), 2, 3, 1, "2 of 3 targets (66.7 %); allowed are 60 %: 1 of 3"),
        (Radius(1, 100), 2, 3, 3, "allowed are 1"),
        (Radius(5, 100, min_healthy=2), 2, 3, 3, "2 must stay healthy"),
        (Radius(5, 100), 3, 3, 1, "for tier 1 never more than 70 %"),
        (Radius(5, 100), 1, 1, 1, ""),
        (Radius(50, 100), 6, 20, 1, "for tier 1 never more than 5"),
        (Radius(5, 100), 0, 0, 4, "no target matches"),
    ],
)
def test_a_blast_radius_holds_or_says_why_not(radius: Radius, hurt: int, matched: int, tier: int, said: str) -> None:
    problem = radius_problem(radius, hurt=hurt, matched=matched, tier=tier)
    assert said in problem
    assert bool(problem) == bool(said)


@given(st.integers(1, 50), st.integers(1, 100), st.integers(1, 60))
def test_a_share_never_rounds_in_favour_of_hurting_more(hurt: int, share: int, matched: int) -> None:
    hurt = min(hurt, matched)
    if not radius_problem(Radius(50, share), hurt=hurt, matched=matched, tier=4):
        assert hurt / matched <= share / 100


@pytest.mark.parametrize(
    ("rule", "left", "others", "said"),
    [
        (BudgetRule(), -5, 0, ""),
        (BudgetRule(at_least=60), 59.9, 0, "at least 60 %"),
        (BudgetRule(at_least=60), 60, 0, ""),
        (BudgetRule(reserve=10), 30, 20, ""),
        (BudgetRule(reserve=10), 30, 21, "other runs reserve 21 %"),
    ],
)
def test_a_budget_is_enough_or_not(rule: BudgetRule, left: float, others: float, said: str) -> None:
    problem = budget_problem(rule, left=left, reserved_by_others=others)
    assert said in problem
    assert bool(problem) == bool(said)


def test_a_cap_counts_from_the_start_and_fails_closed() -> None:
    rule = BudgetRule(cap=5)
    assert not cap_problem(rule, left_at_start=50, left=45)
    assert "5.1 %" in cap_problem(rule, left_at_start=50, left=44.9)
    assert "not known" in cap_problem(rule, left_at_start=None, left=44.9)
    assert not cap_problem(BudgetRule(), left_at_start=None, left=0)


def test_what_is_near_reaches_through_others_but_not_to_siblings() -> None:
    edges = [("gateway", "model"), ("gateway", "store"), ("model", "disk"), ("site", "gateway")]
    assert near(["model"], edges) == {"model", "disk", "gateway", "site"}
    assert near(["gateway"], edges) == {"gateway", "model", "store", "disk", "site"}
    assert near(["a"], [("a", "b"), ("b", "a")]) == {"a", "b"}


def window(**values: object) -> Window:
    return Window.model_validate({"zone": "Europe/Berlin", **values})


def test_a_window_is_read_on_the_clock_of_its_zone() -> None:
    office = window(days=["mon", "tue", "wed", "thu", "fri"], start="09:00", end="17:00")
    assert office.holds_at(datetime(2026, 7, 1, 7, 0, tzinfo=UTC))  # 09:00 in summer
    assert not office.holds_at(datetime(2026, 7, 1, 15, 0, tzinfo=UTC))
    assert not office.holds_at(datetime(2026, 1, 5, 7, 30, tzinfo=UTC))  # 08:30 in winter
    assert not office.holds_at(datetime(2026, 7, 4, 10, 0, tzinfo=UTC))  # a Saturday


def test_a_window_over_midnight_belongs_to_the_day_it_begins() -> None:
    night = window(days=["fri"], start="22:00", end="06:00")
    assert night.holds_at(datetime(2026, 7, 3, 23, 0, tzinfo=BERLIN))
    assert night.holds_at(datetime(2026, 7, 4, 5, 59, tzinfo=BERLIN))
    assert not night.holds_at(datetime(2026, 7, 3, 5, 0, tzinfo=BERLIN))
    assert not night.holds_at(datetime(2026, 7, 4, 22, 30, tzinfo=BERLIN))


def test_dates_include_both_ends() -> None:
    holidays = window(since="2026-12-20", until="2027-01-02")
    assert holidays.holds_at(datetime(2026, 12, 20, 0, 0, tzinfo=BERLIN))
    assert holidays.holds_at(datetime(2027, 1, 2, 23, 59, tzinfo=BERLIN))
    assert not holidays.holds_at(datetime(2027, 1, 3, 0, 0, tzinfo=BERLIN))


@pytest.mark.parametrize("values", [{}, {"zone": "Mars/Olympus", "days": ["mon"]}, {"days": ["someday"]}])
def test_a_wrong_window_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Window.model_validate(values)


def schedule(**values: object) -> ScheduleSpec:
    return ScheduleSpec.model_validate({"cron": "0 10 * * 1-5", "zone": "Europe/Berlin", **values})


def test_the_next_turn_is_on_the_clock_of_its_zone_and_keeps_its_jitter() -> None:
    after = datetime(2026, 7, 3, 12, 0, tzinfo=UTC)  # a Friday, 14:00 in Berlin
    turn = next_turn(schedule(), after=after, seed="a")
    assert turn.nominal == datetime(2026, 7, 6, 8, 0, tzinfo=UTC) == turn.due
    shaken = [next_turn(schedule(jitter="30m"), after=after, seed=seed) for seed in ("a", "b", "a")]
    assert shaken[0] == shaken[2]
    assert shaken[0].due != shaken[1].due
    assert all(timedelta(0) <= one.due - one.nominal < timedelta(minutes=30) for one in shaken)


def test_missed_turns_are_counted() -> None:
    spec = schedule(cron="*/10 * * * *")
    nominal = datetime(2026, 7, 3, 12, 0, tzinfo=UTC)
    assert turns_missed(spec, nominal=nominal, now=nominal + timedelta(hours=1)) == 6
    assert turns_missed(spec, nominal=nominal, now=nominal + timedelta(minutes=9)) == 0


@pytest.mark.parametrize("cron", ["", "61 * * * *", "* * * *", "0 0 31 2 *"])
def test_a_wrong_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(ValidationError):
        schedule(cron=cron)


def test_secrets_are_hidden_by_name_and_in_addresses() -> None:
    journal = {
        "configuration": {"db_password": "hunter2", "url": "postgresql://u:hunter2@h/d", "Authorization": ["x"]},
        "run": [{"arguments": {"token": "abc", "count": 2, "empty_token": ""}}],
    }
    assert redacted(journal) == {
        "configuration": {
            "db_password": "[hidden]",
            "url": "postgresql://[hidden]@h/d",
            "Authorization": "[hidden]",
        },
        "run": [{"arguments": {"token": "[hidden]", "count": 2, "empty_token": ""}}],
    }

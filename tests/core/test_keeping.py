"""What took long is kept for a while, by all that it depends on."""

import itertools

import pytest

from core import keeping
from core.keeping import Keeper


def test_an_answer_is_kept_by_its_key() -> None:
    keeper, numbers = Keeper[int](seconds=60, worth=lambda _: True), itertools.count()
    assert [keeper.get(key, lambda: next(numbers)) for key in ("a", "a", "b")] == [0, 0, 1]
    keeper.forget()
    assert keeper.get("a", lambda: 7) == 7


def test_what_is_not_worth_it_is_reckoned_each_time() -> None:
    keeper = Keeper[int](seconds=60, worth=lambda value: value > 10)
    assert [keeper.get("a", lambda: 1), keeper.get("a", lambda: 2)] == [1, 2]
    assert [keeper.get("a", lambda: 11), keeper.get("a", lambda: 12)] == [11, 11]


def test_an_answer_that_is_too_old_is_reckoned_again_and_a_failure_keeps_nobody_out() -> None:
    keeper = Keeper[int](seconds=0, worth=lambda _: True)
    assert keeper.get("a", lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        keeper.get("a", lambda: 1 // 0)
    assert keeper.get("a", lambda: 2) == 2


def test_the_oldest_answers_make_room() -> None:
    keeper = Keeper[int](seconds=60, worth=lambda _: True)
    for key in range(keeping.MOST_KEPT + 1):
        keeper.get(key, lambda: 1)
    assert keeper.get(0, lambda: 2) == 2
    assert keeper.get(keeping.MOST_KEPT, lambda: 2) == 1

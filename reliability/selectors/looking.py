"""What the parts of one page read of the sums is read once.

A page of an SLO is made of a dozen answers that each ask for windows of the same counts. Inside `one_look` what was
read is handed out again, so that they cost one reading and all speak of the same instant; outside, everything is read
anew at each call.
"""

import contextlib
from array import array
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
Key = tuple[int, int]
Numbers = dict[Key, int]


@dataclass
class _Look:
    answers: dict[Hashable, Any] = field(default_factory=dict)
    slots: dict[int, int | None] = field(default_factory=dict)
    numbers: dict[Key, int | None] = field(default_factory=dict)
    sheets: dict[int, "array[int]"] = field(default_factory=dict)


_present: ContextVar[_Look | None] = ContextVar("reliability_look", default=None)


@contextlib.contextmanager
def one_look() -> Iterator[None]:
    """Read nothing twice until the end of the block; a look inside a look is part of it."""
    if _present.get() is not None:
        yield
        return
    token = _present.set(_Look())
    try:
        yield
    finally:
        _present.reset(token)


def looking() -> bool:
    """Say whether this is within a look."""
    return _present.get() is not None


def read_once(key: Hashable, read: Callable[[], T]) -> T:
    """Return what `read` returns, within a look the same for the same key. Nobody may change it."""
    look = _present.get()
    if look is None:
        return read()
    if key not in look.answers:
        look.answers[key] = read()
    answer: T = look.answers[key]
    return answer


def slots_once(tally_ids: Iterable[int], read: Callable[[Iterable[int]], dict[int, int]]) -> dict[int, int]:
    """Return what `read` returns of tallies, within a look without asking again for those that were asked for."""
    look = _present.get()
    if look is None:
        return read(tally_ids)
    wanted = list(tally_ids)
    if missing := [one for one in wanted if one not in look.slots]:
        found = read(missing)
        look.slots.update((one, found.get(one)) for one in missing)
    return {one: slot for one in wanted if (slot := look.slots[one]) is not None}


def numbers_once(
    shelves: Iterable[int], minutes: Iterable[int], read: Callable[[Iterable[int], Iterable[int]], Numbers]
) -> Numbers:
    """Return what `read` returns of shelves before minutes, within a look asking for the minutes that are missing."""
    look = _present.get()
    if look is None:
        return read(shelves, minutes)
    places, instants = set(shelves), set(minutes)
    missing = {one for shelf in places for one in instants if (shelf, one) not in look.numbers}
    if missing:
        found = read(places, missing)
        look.numbers.update(((shelf, one), found.get((shelf, one))) for shelf in places for one in missing)
    return {
        (shelf, one): number for shelf in places for one in instants if (number := look.numbers[shelf, one]) is not None
    }


def opened_sheets() -> dict[int, "array[int]"]:
    """Return where opened sheets are kept, by the identity of their number: as long as the look, which holds both."""
    look = _present.get()
    return look.sheets if look is not None else {}

"""Reads of the stored sums: where a tally is kept, and a shelf's sums before an instant."""

import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from django.db import connection

from reliability.domain.sheets import MINUTES_A_DAY, PLACES, from_whole, unpacked, whole
from reliability.models import KEY_BASE, MINUTE_OF_KEY, TallyBlock, TallyDay, TallyEdge, TallyShelf, TallySlot
from reliability.selectors.looking import numbers_once, opened_sheets, read_once, slots_once

T = TypeVar("T")
LOOKUPS_PER_QUERY = 2000
FEW = 200
# No day as young as this has been thinned: minutes are kept for ninety days at least.
YOUNG_DAYS = 80

# The last block of a day before each wanted key: two seeks in an index, whatever the planner thinks of the tables (it
# would read all parts for a join of a thousand keys, because it does not know that each asks one). The minute is said
# beside the key, so that PostgreSQL asks the one part that has it.
_MINUTE = f"key & {MINUTE_OF_KEY}"
_OF_DAY = f"""
FROM {{table}} AS block WHERE block.key >= wanted.low AND block.key < wanted.high
AND (block.{_MINUTE}) >= (wanted.low & {MINUTE_OF_KEY}) AND (block.{_MINUTE}) < (wanted.high & {MINUTE_OF_KEY})
ORDER BY block.key DESC LIMIT 1
"""
_LAST = f"SELECT wanted.high, (SELECT block.key {_OF_DAY}), (SELECT block.body {_OF_DAY}) FROM wanted"  # noqa: S608 names of its own  # nosec B608
_LAST_BLOCK = _LAST.format(table=TallyBlock._meta.db_table)  # noqa: SLF001 Django's documented name
_LAST_EDGE = _LAST.format(table=TallyEdge._meta.db_table)  # noqa: SLF001
_LAST_OF_EITHER = f"{_LAST_BLOCK} UNION ALL {_LAST_EDGE}"
_LAST_DAY = """
SELECT wanted.high, day.key, day.body, day.form FROM wanted JOIN reliability_tallyday AS day ON day.key = (
    SELECT max(earlier.key) FROM reliability_tallyday AS earlier
    WHERE earlier.key >= wanted.low AND earlier.key < wanted.high
)
"""
_BETWEEN = f"""
SELECT key, body FROM reliability_tallyminute
WHERE key >= %s AND key < %s AND ({_MINUTE}) >= %s AND ({_MINUTE}) < %s
UNION ALL SELECT key, body FROM reliability_tallyedge WHERE key >= %s AND key < %s
ORDER BY key
"""  # noqa: S608 names of its own  # nosec B608


def slots_of(tally_ids: Iterable[int]) -> dict[int, int]:
    """Return the slots of tallies that have counted anything, by tally."""
    return slots_once(tally_ids, _slots_of)


def _slots_of(tally_ids: Iterable[int]) -> dict[int, int]:
    wanted = list(tally_ids)
    found = {tally_id: -tally_id for tally_id in wanted if tally_id < 0}
    versions = {tally_id for tally_id in wanted if tally_id > 0}
    if len(versions) > FEW:
        # Thousands of parameters cost more than rows that are not needed.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT version_id, id FROM reliability_tallyslot WHERE digest = '' AND version_id BETWEEN %s AND %s",
                [min(versions), max(versions)],
            )
            found.update(row for row in cursor.fetchall() if row[0] in versions)
    elif versions:
        whole = TallySlot.objects.filter(version_id__in=versions, digest="").order_by()
        found.update(whole.values_list("version_id", "pk"))
    return found


def sheets_before(shelves: Iterable[int], minutes: Iterable[int]) -> dict[tuple[int, int], "array[int]"]:
    """Return the running sums of each shelf before each minute; what has none is left out."""
    sheets = opened_sheets()
    found = {}
    for key, number in numbers_before(shelves, minutes).items():
        if id(number) not in sheets:
            sheets[id(number)] = from_whole(number)
        found[key] = sheets[id(number)]
    return found


def numbers_before(shelves: Iterable[int], minutes: Iterable[int]) -> dict[tuple[int, int], int]:
    """Return what `sheets_before` returns, each sheet as one big number (`domain.sheets.whole`)."""
    return numbers_once(shelves, minutes, _numbers_before)


def _numbers_before(shelves: Iterable[int], minutes: Iterable[int]) -> dict[tuple[int, int], int]:
    wanted = {
        shelf * KEY_BASE + minute: (shelf, minute) for minute in sorted(set(minutes)) for shelf in sorted(set(shelves))
    }
    asked = {key: _day_key(key - 1) for key in wanted if key % KEY_BASE}
    blocks = _last_blocks(_LAST_BLOCK, [(_first_minute(day), key) for key, day in asked.items()])
    days = _last_days(asked.values())
    edges = {key: whole(body) for key, body, _ in days.values()}
    numbers: dict[int, int] = {}
    found = {}
    for high, (key, body) in blocks.items():
        if key not in numbers:
            numbers[key] = whole(body) + edges.get(_day_key(key), 0)
        found[wanted[high]] = numbers[key]
    # Without a block before it on its day, the sums are those at the end of the last day that has any.
    gaps: dict[tuple[int, int], list[int]] = {}
    for key, day in asked.items():
        if key in blocks or day not in days:
            continue
        if days[day][0] == day and _is_whole(day, days[day][2]):
            found[wanted[key]] = edges[day]
            continue
        first = _first_minute(days[day][0])
        gaps.setdefault((first, min(key, first + MINUTES_A_DAY)), []).append(key)
    # Its blocks may have gone, but for those that outlive them.
    ends = _last_blocks(_LAST_OF_EITHER, list(gaps))
    for (first, high), keys in gaps.items():
        number = edges[_day_key(first)] + (whole(ends[high][1]) if high in ends else 0)
        found.update((wanted[key], number) for key in keys)
    return found


def last_block(shelf: int, day: int) -> "array[int] | None":
    """Return a shelf's sums at the end of a day, since it began."""
    first = shelf * KEY_BASE + day * MINUTES_A_DAY
    found = _last_blocks(_LAST_OF_EITHER, [(first, first + MINUTES_A_DAY)])
    return unpacked(next(iter(found.values()))[1]) if found else None


def _is_whole(day: int, form: int) -> bool:
    """Say whether all blocks of a day lie where blocks are written: its form, read later, says so of a young one."""
    return form != TallyDay.Form.EDGES and day % KEY_BASE > time.time() // 86_400 - YOUNG_DAYS


def _last_days(keys: Iterable[int]) -> dict[int, tuple[int, Any, int]]:
    """Return the last stored day of a shelf up to and including each of these, with the sums before it and its form."""
    days: dict[int, tuple[int, Any, int]] = {}
    with connection.cursor() as cursor:
        for chunk in _batches(sorted(set(keys)), LOOKUPS_PER_QUERY):
            cursor.execute(_with_wanted(_LAST_DAY, [(key // KEY_BASE * KEY_BASE, key + 1) for key in chunk]))
            days.update((high - 1, (key, body, form)) for high, key, body, form in cursor.fetchall())
    return days


def _last_blocks(query: str, bounds: Sequence[tuple[int, int]]) -> dict[int, tuple[int, Any]]:
    """Return the last block from a key on and before another, by the other."""
    blocks: dict[int, tuple[int, Any]] = {}
    with connection.cursor() as cursor:
        for chunk in _batches(bounds, LOOKUPS_PER_QUERY):
            cursor.execute(_with_wanted(query, chunk))
            for high, key, body in cursor.fetchall():
                if key is not None and (high not in blocks or blocks[high][0] < key):
                    blocks[high] = key, body
    return blocks


def _with_wanted(query: str, bounds: Iterable[tuple[int, int]]) -> str:
    # Whole numbers of this module's own making: nothing to quote.
    values = ",".join(f"({low},{high})" for low, high in bounds)
    return f"WITH wanted (low, high) AS (VALUES {values}) {query}"


def days_stored(keys: Iterable[int]) -> list[tuple[int, bytes]]:
    """Return the sums before days, by key."""
    found: list[tuple[int, Any]] = []
    for chunk in _batches(sorted(keys), 10_000):
        found.extend(TallyDay.objects.filter(key__in=chunk).order_by().values_list("key", "body"))
    return found


def blocks_between(shelf: int, start_minute: int, end_minute: int) -> Iterator[tuple[int, "array[int]"]]:
    """Return a shelf's sums since the day began at each stored minute of an interval, in order."""
    base, last = shelf * KEY_BASE, -1
    keys = [base + start_minute, base + end_minute]
    with connection.cursor() as cursor:
        cursor.execute(_BETWEEN, [*keys, start_minute, end_minute, *keys])
        for key, body in cursor.fetchall():
            # A block that outlives its month is in both tables until the month goes.
            if key != last:
                yield key - base, unpacked(body)
            last = key


def last_measured_of(shelves: Iterable[int]) -> dict[int, "array[int]"]:
    """Return the last measured minute of each place, by shelf; 0 where there is none."""
    wanted = sorted(shelves)
    return read_once(("last measured", *wanted), lambda: _last_measured_of(wanted))


def _last_measured_of(shelves: Sequence[int]) -> dict[int, "array[int]"]:
    rows = TallyShelf.objects.filter(number__in=shelves).order_by().values_list("number", "last_measured")
    return {number: array("I", bytes(body)) for number, body in rows}


def shelves_of(slots: Mapping[int, int]) -> set[int]:
    """Return the shelves of slots."""
    return {slot // PLACES for slot in slots.values()}


def _day_key(key: int) -> int:
    return key // KEY_BASE * KEY_BASE + key % KEY_BASE // MINUTES_A_DAY


def _first_minute(day_key: int) -> int:
    return day_key // KEY_BASE * KEY_BASE + day_key % KEY_BASE * MINUTES_A_DAY


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]

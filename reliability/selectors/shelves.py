"""Reads of the stored sums: where a tally is kept, and a shelf's sums before an instant."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import connection

from reliability.domain.sheets import MINUTES_A_DAY, PLACES, from_whole, unpacked, whole
from reliability.models import KEY_BASE, TallyDay, TallyShelf, TallySlot
from reliability.selectors.looking import numbers_once, opened_sheets, read_once, slots_once

LOOKUPS_PER_QUERY = 2000
FEW = 200

# The last block before each wanted key, with the sums before its day: two seeks in an index each.
_BEFORE = """
WITH wanted (low, high) AS (VALUES {values})
SELECT wanted.high, block.key, block.body
FROM wanted JOIN reliability_tallyblock AS block ON block.key = (
    SELECT max(earlier.key) FROM reliability_tallyblock AS earlier
    WHERE earlier.key >= wanted.low AND earlier.key < wanted.high
)
"""


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
    blocks: dict[int, tuple[int, Any]] = {}
    with connection.cursor() as cursor:
        for chunk in _batches(list(wanted), LOOKUPS_PER_QUERY):
            # Whole numbers of this module's own making: nothing to quote.
            values = ",".join(f"({key // KEY_BASE * KEY_BASE},{key})" for key in chunk)
            cursor.execute(_BEFORE.format(values=values))
            blocks.update((high, (key, body)) for high, key, body in cursor.fetchall())
    days = {_day_key(key) for key, _ in blocks.values()}
    edges = {key: whole(body) for key, body in days_stored(days)}
    numbers: dict[int, int] = {}
    found = {}
    for high, (key, body) in blocks.items():
        if key not in numbers:
            numbers[key] = whole(body) + edges.get(_day_key(key), 0)
        found[wanted[high]] = numbers[key]
    return found


def days_stored(keys: Iterable[int]) -> list[tuple[int, bytes]]:
    """Return the sums before days, by key."""
    found: list[tuple[int, Any]] = []
    for chunk in _batches(sorted(keys), 10_000):
        found.extend(TallyDay.objects.filter(key__in=chunk).order_by().values_list("key", "body"))
    return found


def blocks_between(shelf: int, start_minute: int, end_minute: int) -> Iterator[tuple[int, "array[int]"]]:
    """Return a shelf's sums since the day began at each stored minute of an interval, in order."""
    base = shelf * KEY_BASE
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT key, body FROM reliability_tallyblock WHERE key >= %s AND key < %s ORDER BY key",
            [base + start_minute, base + end_minute],
        )
        for key, body in cursor.fetchall():
            yield key - base, unpacked(body)


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


def _batches(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]

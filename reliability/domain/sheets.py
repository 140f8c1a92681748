"""The sums of a shelf, a hundred tallies, at one instant: a sheet of whole numbers that packs into a few bytes each.

A sheet is an array of 64-bit numbers, field after field: good, bad, unknown, the least of unknown, minutes measured,
each for a hundred tallies. It is stored byte plane by byte plane, the empty high planes left out and the rest deflated:
neighbours in a plane are alike where neighbours in a number are not.
"""

import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence

from reliability.domain.budgets import Counts

PLACES = 100
FIELDS = 5
MINUTES_A_DAY = 1440
_WIDTH = 8
_BYTES = PLACES * FIELDS * _WIDTH
_GOOD, _BAD, _UNKNOWN, _UNKNOWN_LOW, MEASURED = (field * PLACES for field in range(FIELDS))

Sheet = array  # of typecode "Q", PLACES * FIELDS long


def blank() -> "Sheet[int]":
    """Return a sheet of zeros."""
    return array("Q", bytes(_BYTES))


def packed(numbers: "array[int]") -> bytes:
    """Return an array of 64-bit numbers in few bytes."""
    raw = numbers.tobytes()
    planes = (max(numbers, default=0).bit_length() + 7) // 8
    return bytes((planes,)) + zlib.compress(b"".join([raw[plane::_WIDTH] for plane in range(planes)]), 1)


def unpacked(body: bytes | memoryview, length: int = PLACES * FIELDS) -> "array[int]":
    """Return the numbers that `packed` was given."""
    return array("Q", bytes(_raw(body, length)))


def whole(body: bytes | memoryview) -> int:
    """Return a packed sheet as one big number, its 64-bit numbers side by side.

    Two of them add and subtract in one step: sums only grow, so nothing is ever borrowed from a neighbour.
    """
    return int.from_bytes(_raw(body, PLACES * FIELDS), sys.byteorder)


def from_whole(number: int) -> "Sheet[int]":
    """Return the sheet that a big number stands for."""
    return array("Q", number.to_bytes(_BYTES, sys.byteorder))


def _raw(body: bytes | memoryview, length: int) -> bytearray:
    planes = body[0]
    flat = zlib.decompress(body[1:])
    raw = bytearray(length * _WIDTH)
    for plane in range(planes):
        raw[plane::_WIDTH] = flat[plane * length : (plane + 1) * length]
    return raw


def counts_at(sheet: Sequence[int], place: int) -> Counts:
    """Return one tally's numbers."""
    return Counts(
        sheet[place],
        sheet[_BAD + place],
        sheet[_UNKNOWN + place],
        sheet[MEASURED + place],
        sheet[_UNKNOWN_LOW + place],
    )


def add_at(sheet: "Sheet[int]", place: int, counts: Counts) -> None:
    """Add to one tally's numbers, in place."""
    add_events_at(sheet, place, counts, minutes_measured=counts.minutes_measured)


def add_events_at(sheet: "Sheet[int]", place: int, counts: Counts, *, minutes_measured: int) -> None:
    """Add events to one tally's numbers, in place, and so many minutes."""
    sheet[place] += counts.good
    if counts.bad:
        sheet[_BAD + place] += counts.bad
    if counts.unknown:
        sheet[_UNKNOWN + place] += counts.unknown
        sheet[_UNKNOWN_LOW + place] += counts.unknown_low
    sheet[MEASURED + place] += minutes_measured


def packed_day(minutes: Iterable[tuple[int, Counts]]) -> bytes:
    """Return the events of one tally's measured minutes of a day (0 to 1439) in few bytes."""
    columns = array("Q", bytes(MINUTES_A_DAY * FIELDS * _WIDTH))
    for minute, counts in minutes:
        columns[minute] = counts.good
        columns[MINUTES_A_DAY + minute] = counts.bad
        columns[2 * MINUTES_A_DAY + minute] = counts.unknown
        columns[3 * MINUTES_A_DAY + minute] = counts.unknown_low
        columns[4 * MINUTES_A_DAY + minute] = counts.minutes_measured
    return packed(columns)


def unpacked_day(body: bytes | memoryview) -> list[tuple[int, Counts]]:
    """Return the measured minutes that `packed_day` was given, in order."""
    columns = unpacked(body, MINUTES_A_DAY * FIELDS)
    good, bad, unknown, low, measured = (
        columns[field * MINUTES_A_DAY : (field + 1) * MINUTES_A_DAY] for field in range(FIELDS)
    )
    return [
        (minute, Counts(good[minute], bad[minute], unknown[minute], 1, low[minute]))
        for minute in range(MINUTES_A_DAY)
        if measured[minute]
    ]

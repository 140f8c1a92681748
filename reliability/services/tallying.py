"""Add events to the running sums of their minutes."""

import operator
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson
from django.db import connection

from reliability.domain.budgets import Counts
from reliability.domain.sheets import (
    MEASURED,
    MINUTES_A_DAY,
    PLACES,
    add_at,
    add_events_at,
    blank,
    counts_at,
    packed,
    unpacked,
)
from reliability.models import KEY_BASE, MINUTE_OF_KEY, TallyDay, TallyShelf, TallySlot
from reliability.selectors.shelves import days_stored, last_block, slots_of

Increments = dict[tuple[int, int], Counts]
Sheet = array
Additions = Mapping[int, Mapping[int, Counts]]
"""Events by minute and by place on the shelf."""

_UPSERT = (
    "INSERT INTO reliability_tally{name} (key, body{more}) VALUES (%s, %s{marks}) "
    "ON CONFLICT (key) DO UPDATE SET body = excluded.body{set}"
)
_MINUTE = f"key & {MINUTE_OF_KEY}"
# Parts have no key in common that a conflict could be told by; but who holds the shelf knows which minutes are there.
_INSERT_BLOCKS = "INSERT INTO reliability_tallyminute (key, body) VALUES {rows}"
_UPDATE_BLOCKS = f"""
WITH wanted (key, body) AS (VALUES {{rows}}) UPDATE reliability_tallyminute AS block SET body = wanted.body
FROM wanted WHERE block.key = wanted.key AND (block.{_MINUTE}) >= %s AND (block.{_MINUTE}) <= %s
"""  # noqa: S608 names of its own  # nosec B608
BLOCKS_A_STATEMENT = 200
UPSERT_DAY = _UPSERT.format(name="day", more=", form", marks=", %s", set=", form = excluded.form")
UPSERT_PACK = _UPSERT.format(name="pack", more="", marks="", set="")


def merge(increments: Increments, *, tally_id: int, minute: int, counts: Counts) -> None:
    """Add counts to what is to be added to a minute."""
    known = increments.get((tally_id, minute))
    increments[tally_id, minute] = counts if known is None else known + counts


def group_tally(*, version_id: int, labels: Mapping[str, str]) -> int:
    """Return the tally of a group of a version's events, made when it is new."""
    digest = blake2b(orjson.dumps(labels, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
    slot, _ = TallySlot.objects.get_or_create(version_id=version_id, digest=digest, defaults={"labels": dict(labels)})
    return -slot.pk


@dataclass
class Held:
    """What a transaction has locked: the slots of tallies, and of their shelves when each place was last measured."""

    slots: dict[int, int] = field(default_factory=dict)
    last_measured: "dict[int, array[int]]" = field(default_factory=dict)

    def hold(self, tally_ids: Iterable[int]) -> None:
        """Lock what is not locked yet."""
        wanted = set(tally_ids)
        if missing := {one for one in wanted if one > 0 and one not in self.slots}:
            self.slots.update(_ensured_slots(missing))
        self.slots.update((one, -one) for one in wanted if one < 0)
        shelves = {self.slots[one] // PLACES for one in wanted}
        if free := shelves - self.last_measured.keys():
            self.last_measured.update(_locked_shelves(sorted(free)))


def lock_tallies(tally_ids: Iterable[int], *, slots: Mapping[int, int] | None = None) -> Held:
    """Let one transaction at a time count for these tallies; call it before reading what counting depends on.

    Running sums and stream states are read and written back: two at once would lose what the other added. `slots` are
    those that the caller knows to be committed.
    """
    wanted = set(tally_ids)
    held = Held({one: slots[one] for one in wanted if one in slots} if slots else {})
    held.hold(wanted)
    return held


def lock_shelf(number: int) -> None:
    """Let one transaction at a time change a shelf."""
    list(TallyShelf.objects.select_for_update(no_key=True).filter(number=number).values_list("number", flat=True))


def add_to_tallies(increments: Mapping[tuple[int, int], Counts], *, held: Held | None = None) -> None:
    """Add what was counted, in the caller's transaction; a minute that is named without events counts as measured.

    A late minute moves the sums of the minutes after it in its day and of the days after: all of them packed numbers.
    `held` is what `lock_tallies` returned in the same transaction.
    """
    if not increments:
        return
    held = held or Held()
    held.hold(tally_id for tally_id, _ in increments)
    by_shelf: dict[int, dict[int, dict[int, Counts]]] = {}
    for (tally_id, minute), counts in increments.items():
        shelf, place = divmod(held.slots[tally_id], PLACES)
        by_shelf.setdefault(shelf, {}).setdefault(minute, {})[place] = counts
    known = _known_days(by_shelf)
    for shelf, minutes in by_shelf.items():
        for day in {minute // MINUTES_A_DAY for minute in minutes}:
            if known.get(shelf, {}).get(day) == TallyDay.Form.EDGES:
                _reopen(shelf, day)
    _write(_loaded(by_shelf), by_shelf, held.last_measured, known)


@dataclass
class _Loaded:
    """A shelf's day as stored, from the last block before the first minute that changes."""

    base: "Sheet[int] | None"
    blocks: "dict[int, Sheet[int]]"


def _ensured_slots(tally_ids: set[int]) -> dict[int, int]:
    slots = slots_of(tally_ids)
    if missing := [tally_id for tally_id in tally_ids if tally_id not in slots]:
        TallySlot.objects.bulk_create(
            [TallySlot(version_id=version) for version in sorted(missing)], ignore_conflicts=True, batch_size=1000
        )
        slots = slots_of(tally_ids)
    return slots


def _locked_shelves(numbers: Sequence[int]) -> "dict[int, array[int]]":
    """Lock shelves in one order and return the last measured minute of each place."""
    rows = _select_shelves(numbers)
    if missing := [number for number in numbers if number not in rows]:
        fresh = [TallyShelf(number=number, last_measured=bytes(4 * PLACES)) for number in missing]
        TallyShelf.objects.bulk_create(fresh, ignore_conflicts=True)
        rows = _select_shelves(numbers)
    return {number: array("I", bytes(body)) for number, body in rows.items()}


def _select_shelves(numbers: Sequence[int]) -> dict[int, Any]:
    # Written out: this runs for each request of an exporter, and Django's query costs more than the database's answer.
    lock = " FOR NO KEY UPDATE" if connection.features.has_select_for_no_key_update else ""
    marks = ",".join(map(str, numbers))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT number, last_measured FROM reliability_tallyshelf WHERE number IN ({marks}) "  # noqa: S608 numbers  # nosec B608
            f"ORDER BY number{lock}"
        )
        return dict(cursor.fetchall())


def _loaded(by_shelf: Mapping[int, Additions]) -> dict[tuple[int, int], _Loaded]:
    """Read, for each shelf and day that changes, the blocks from the first changed minute on and the one before."""
    firsts: dict[tuple[int, int], int] = {}
    for shelf, minutes in by_shelf.items():
        for minute in minutes:
            key = shelf, minute // MINUTES_A_DAY
            firsts[key] = min(firsts.get(key, minute), minute)
    loaded = {key: _Loaded(None, {}) for key in firsts}
    keys = list(firsts)
    with connection.cursor() as cursor:
        for begin in range(0, len(keys), 500):
            values = []
            for shelf, day in keys[begin : begin + 500]:
                base, first = shelf * KEY_BASE, firsts[shelf, day]
                values.append(f"({base + day * MINUTES_A_DAY},{base + first},{base + (day + 1) * MINUTES_A_DAY})")
            days = [day for _, day in keys[begin : begin + 500]]
            low, high = min(days) * MINUTES_A_DAY, (max(days) + 1) * MINUTES_A_DAY
            cursor.execute(
                f"WITH wanted (low, first, high) AS (VALUES {','.join(values)}) "  # noqa: S608 numbers of its own  # nosec B608
                "SELECT block.key, block.body FROM wanted JOIN reliability_tallyminute AS block "
                "ON block.key < wanted.high AND block.key >= COALESCE((SELECT max(earlier.key) "
                "FROM reliability_tallyminute AS earlier WHERE earlier.key >= wanted.low "
                f"AND earlier.key < wanted.first AND (earlier.{_MINUTE}) >= {low} AND (earlier.{_MINUTE}) < {high}), "
                f"wanted.first) AND (block.{_MINUTE}) >= {low} AND (block.{_MINUTE}) < {high}"
            )
            for key, body in cursor.fetchall():
                shelf, minute = divmod(key, KEY_BASE)
                one = loaded[shelf, minute // MINUTES_A_DAY]
                if minute < firsts[shelf, minute // MINUTES_A_DAY]:
                    one.base = unpacked(body)
                else:
                    one.blocks[minute] = unpacked(body)
    return loaded


def _write(
    loaded: Mapping[tuple[int, int], _Loaded],
    by_shelf: Mapping[int, Additions],
    last_measured: "Mapping[int, array[int]]",
    known: Mapping[int, Mapping[int, int]],
) -> None:
    fresh: list[tuple[int, bytes]] = []
    changed: list[tuple[int, bytes]] = []
    grown: dict[int, dict[int, dict[int, Counts]]] = {}
    for (shelf, day), one in loaded.items():
        first = day * MINUTES_A_DAY
        added = {m: by_shelf[shelf][m] for m in by_shelf[shelf] if first <= m < first + MINUTES_A_DAY}
        sums: dict[int, Counts] = {}
        for minute, sheet in _moved(one, added, sums):
            (changed if minute in one.blocks else fresh).append((shelf * KEY_BASE + minute, packed(sheet)))
        grown.setdefault(shelf, {})[day] = sums
        last = last_measured[shelf]
        for minute, places in added.items():
            for place in places:
                last[place] = max(last[place], minute)
    with connection.cursor() as cursor:
        for chunk in _batches(fresh):
            cursor.execute(_INSERT_BLOCKS.format(rows=_marks(chunk)), _flat(chunk))
        for chunk in _batches(changed):
            minutes = [key % KEY_BASE for key, _ in chunk]
            cursor.execute(_UPDATE_BLOCKS.format(rows=_marks(chunk)), [*_flat(chunk), min(minutes), max(minutes)])
        if days := _moved_days(grown, known):
            cursor.executemany(UPSERT_DAY, days)
        cursor.executemany(
            "UPDATE reliability_tallyshelf SET last_measured = %s WHERE number = %s",
            [(last_measured[shelf].tobytes(), shelf) for shelf in by_shelf],
        )


def _batches(rows: Sequence[tuple[int, bytes]]) -> Iterator[Sequence[tuple[int, bytes]]]:
    for begin in range(0, len(rows), BLOCKS_A_STATEMENT):
        yield rows[begin : begin + BLOCKS_A_STATEMENT]


def _marks(rows: Sequence[tuple[int, bytes]]) -> str:
    return ",".join(["(%s,%s)"] * len(rows))


def _flat(rows: Sequence[tuple[int, bytes]]) -> list[int | bytes]:
    return [value for row in rows for value in row]


def _moved(
    one: _Loaded, added: Mapping[int, Mapping[int, Counts]], sums: dict[int, Counts]
) -> "Iterator[tuple[int, Sheet[int]]]":
    """Return the day's sheets from the first that changes on; `sums` collects what each place has grown by."""
    old = one.base if one.base is not None else blank()
    grown, touched = blank(), set[int]()
    for minute in sorted({*one.blocks, *added}):
        stored = one.blocks.get(minute)
        places = added.get(minute, {})
        touched.update(places)
        for place, counts in places.items():
            # A minute is measured once, however often something is added to it.
            fresh = stored is None or stored[MEASURED + place] == old[MEASURED + place]
            add_events_at(grown, place, counts, minutes_measured=int(fresh))
        if stored is not None:
            old = stored
        yield minute, array("Q", map(operator.add, old, grown))
    sums.update((place, counts_at(grown, place)) for place in touched)


def _known_days(by_shelf: Mapping[int, Additions]) -> dict[int, dict[int, int]]:
    """Return, for each shelf, the stored days from the first that changes on, with how they are stored."""
    values = ",".join(
        f"({shelf * KEY_BASE + min(minutes) // MINUTES_A_DAY},{(shelf + 1) * KEY_BASE})"
        for shelf, minutes in by_shelf.items()
    )
    known: dict[int, dict[int, int]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH wanted (low, high) AS (VALUES {values}) SELECT day.key, day.form FROM wanted "  # noqa: S608 numbers  # nosec B608
            "JOIN reliability_tallyday AS day ON day.key >= wanted.low AND day.key < wanted.high"
        )
        for key, form in cursor.fetchall():
            known.setdefault(key // KEY_BASE, {})[key % KEY_BASE] = form
    return known


def _reopen(shelf: int, day: int) -> None:
    """Bring a day back whose blocks have outlived their month: it is written to again."""
    base, first = shelf * KEY_BASE, day * MINUTES_A_DAY
    keys = [base + first, base + first + MINUTES_A_DAY]
    minutes = [first, first + MINUTES_A_DAY]
    with connection.cursor() as cursor:
        # What is left where the month has not gone yet.
        cursor.execute(
            "DELETE FROM reliability_tallyminute WHERE key >= %s AND key < %s "  # noqa: S608 numbers  # nosec B608
            f"AND ({_MINUTE}) >= %s AND ({_MINUTE}) < %s",
            [*keys, *minutes],
        )
        cursor.execute(
            "INSERT INTO reliability_tallyminute (key, body) "
            "SELECT key, body FROM reliability_tallyedge WHERE key >= %s AND key < %s",
            keys,
        )
        cursor.execute("DELETE FROM reliability_tallyedge WHERE key >= %s AND key < %s", keys)


def _moved_days(
    grown: Mapping[int, Mapping[int, Mapping[int, Counts]]], known: Mapping[int, Mapping[int, int]]
) -> list[tuple[int, bytes, int]]:
    """Return the days that are new, that must be packed again, or whose sums before them have grown."""
    changed: list[tuple[int, bytes, int]] = []
    for shelf, days in grown.items():
        stored = known.get(shelf, {})
        if set(stored) != set(days) or len(stored) > 1 or any(stored.values()):
            changed += _shelf_days(shelf, stored, days)
    return changed


def _shelf_days(
    shelf: int, stored: Mapping[int, int], days: Mapping[int, Mapping[int, Counts]]
) -> Iterator[tuple[int, bytes, int]]:
    """Go through a shelf's days from the first that has grown: later ones move, missing ones begin where theirs end."""
    base = shelf * KEY_BASE
    bodies = dict(days_stored(base + day for day in stored))
    moved: dict[int, Counts] = {}
    previous = None
    for day in sorted({*stored, *days}):
        if day in stored:
            sheet = unpacked(bodies[base + day])
            for place, counts in moved.items():
                add_at(sheet, place, counts)
        else:
            sheet = _end_of(shelf, previous or _last_day_before(base + day))
        previous = base + day, sheet
        yield base + day, packed(sheet), _form_after(stored.get(day), changed=day in days)
        for place, counts in days.get(day, {}).items():
            moved[place] = moved[place] + counts if place in moved else counts


def _form_after(form: int | None, *, changed: bool) -> int:
    """Return how a day is stored once it has been written: a changed one must be packed, or thinned, again."""
    return TallyDay.Form.BLOCKS if form is None or changed else form


def _last_day_before(key: int) -> "tuple[int, Sheet[int]] | None":
    earlier = TallyDay.objects.filter(key__lt=key, key__gte=key // KEY_BASE * KEY_BASE).order_by("-key").first()
    return (earlier.key, unpacked(earlier.body)) if earlier else None


def _end_of(shelf: int, day: "tuple[int, Sheet[int]] | None") -> "Sheet[int]":
    """Return the sums at the end of a day: those before it and those of its last block."""
    if day is None:
        return blank()
    last = last_block(shelf, day[0] % KEY_BASE)
    return array("Q", map(operator.add, day[1], last)) if last else day[1]

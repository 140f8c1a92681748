"""Reads of the running sums: any window is one subtraction."""

import itertools
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reliability.data import TallyGroup
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import Counts
from reliability.domain.sheets import FIELDS, MINUTES_A_DAY, PLACES, blank, counts_at, from_whole, unpacked_day
from reliability.models import KEY_BASE, SLOVersion, TallyDay, TallyPack, TallySlot
from reliability.selectors.shelves import (
    blocks_between,
    last_measured_of,
    numbers_before,
    sheets_before,
    shelves_of,
    slots_of,
)

RECENT = timedelta(minutes=3)
NOTHING = Counts()
Window = tuple[int, int]


@dataclass(frozen=True)
class WindowSums:
    """The events of windows for many tallies at once, as columns: one list of numbers per figure, in `tally_ids` order.

    A tally that has counted nothing is not in `tally_ids`.
    """

    tally_ids: Sequence[int]
    columns: Mapping[Window, Sequence[Sequence[int]]]

    def good(self, window: Window) -> Sequence[int]:
        """Good events of a window, tally by tally."""
        return self.columns[window][0]

    def bad(self, window: Window) -> Sequence[int]:
        """Bad events."""
        return self.columns[window][1]

    def unknown(self, window: Window) -> Sequence[int]:
        """Events of unknown outcome, at most."""
        return self.columns[window][2]

    def unknown_low(self, window: Window) -> Sequence[int]:
        """Events of unknown outcome, at least."""
        return self.columns[window][3]

    def minutes_measured(self, window: Window) -> Sequence[int]:
        """Minutes in which events were measured."""
        return self.columns[window][4]


def minute_of(instant: datetime) -> int:
    """Return the minute of an instant, counted from 1970 UTC."""
    return int(instant.timestamp() // 60)


def sums_before(tally_ids: Iterable[int], minutes: Iterable[int]) -> dict[tuple[int, int], Counts]:
    """Return the running sums before each of the minutes, for each of the tallies: a fixed number of queries."""
    ids, wanted = sorted(set(tally_ids)), sorted(set(minutes))
    slots = slots_of(ids)
    sheets = sheets_before(shelves_of(slots), wanted)
    found = {(tally_id, minute): NOTHING for tally_id in ids for minute in wanted}
    for tally_id, slot in slots.items():
        shelf, place = divmod(slot, PLACES)
        for minute in wanted:
            if sheet := sheets.get((shelf, minute)):
                found[tally_id, minute] = counts_at(sheet, place)
    return found


def window_counts(tally_ids: Iterable[int], windows: Iterable[Window]) -> dict[tuple[int, Window], Counts]:
    """Return the events of each window (first minute, minute after its last), for each tally, in a few queries."""
    ids, wanted = list(tally_ids), list(windows)
    sums = sums_before(ids, {minute for window in wanted for minute in window})
    return {
        (tally_id, window): sums[tally_id, window[1]] - sums[tally_id, window[0]]
        for tally_id in ids
        for window in wanted
    }


def window_sums(tally_ids: Iterable[int], windows: Iterable[Window]) -> WindowSums:
    """Return what `window_counts` returns as columns, for thousands of tallies at once."""
    wanted = sorted(set(windows))
    by_slot = {slot: tally_id for tally_id, slot in slots_of(tally_ids).items()}
    shelves: dict[int, list[int]] = {}
    for slot in sorted(by_slot):
        shelves.setdefault(slot // PLACES, []).append(slot % PLACES)
    sums = numbers_before(shelves, {minute for window in wanted for minute in window})
    columns: dict[Window, list[array[int]]] = {}
    for window in wanted:
        columns[window] = [array("Q") for _ in range(FIELDS)]
        for shelf, places in shelves.items():
            grown = from_whole(sums.get((shelf, window[1]), 0) - sums.get((shelf, window[0]), 0))
            for number, column in enumerate(columns[window]):
                part = grown[number * PLACES : (number + 1) * PLACES]
                column.extend(part if len(places) == PLACES else array("Q", [part[place] for place in places]))
    return WindowSums([by_slot[slot] for slot in sorted(by_slot)], columns)


def groups_of(*, version: SLOVersion) -> list[TallyGroup]:
    """Return the groups that a version's events are also counted by; empty when it has no grouping.

    A group's `tally_id` goes wherever a version's does; the groups add up to the version's own tally.
    """
    slots = TallySlot.objects.filter(version_id=version.tally_id).exclude(digest="").order_by("pk")
    return [TallyGroup(-slot.pk, slot.labels) for slot in slots]


def counts_between(*, version: SLOVersion, start_minute: int, end_minute: int) -> Counts:
    """Return the events of the minutes `start_minute` to `end_minute - 1`."""
    sums = sums_before([version.tally_id], (start_minute, end_minute))
    return sums[version.tally_id, end_minute] - sums[version.tally_id, start_minute]


def counts_in_last(*, version: SLOVersion, minutes: int, now: datetime) -> Counts:
    """Return the events of the last `minutes` minutes, the one that is going on included."""
    end = minute_of(now) + 1
    return counts_between(version=version, start_minute=end - minutes, end_minute=end)


def alert_counts(
    tiers: Sequence[tuple[SLOVersion, BurnTier]], *, now: datetime
) -> dict[tuple[int, str], tuple[Counts, Counts]]:
    """Return the events of the long and the short window by version and tier.

    A window holds its full minutes and the one that is going on: never less than it promises, so that an alert with a
    short window of a minute is not judged by the first second of the next.
    """
    end = minute_of(now) + 1
    lengths = {minutes for _, tier in tiers for minutes in (tier.long_minutes, tier.short_minutes)}
    sums = sums_before((version.tally_id for version, _ in tiers), {end, *(end - minutes - 1 for minutes in lengths)})

    def last(version: SLOVersion, minutes: int) -> Counts:
        return sums[version.tally_id, end] - sums[version.tally_id, end - minutes - 1]

    return {
        (version.pk, tier.name): (last(version, tier.long_minutes), last(version, tier.short_minutes))
        for version, tier in tiers
    }


def last_measured_minutes(versions: Iterable[SLOVersion]) -> dict[int, int]:
    """Return the last minute that was measured, by version; versions without any are left out."""
    known = list(versions)
    slots = slots_of({version.tally_id for version in known})
    last = last_measured_of(shelves_of(slots))
    found = {}
    for version in known:
        slot = slots.get(version.tally_id)
        minutes = last.get(slot // PLACES) if slot is not None else None
        if slot is not None and minutes is not None and minutes[slot % PLACES]:
            found[version.pk] = minutes[slot % PLACES]
    return found


def was_measured_recently(last_minute: int | None, *, now: datetime) -> bool:
    """Say whether the last measured minute is a recent one."""
    return last_minute is not None and last_minute >= minute_of(now - RECENT)


def minute_series(*, version: SLOVersion, start_minute: int, end_minute: int) -> list[tuple[int, Counts]]:
    """Return the events of each measured minute of an interval, in order."""
    return tally_minutes(version.tally_id, start_minute=start_minute, end_minute=end_minute)


def tally_minutes(tally_id: int, *, start_minute: int, end_minute: int) -> list[tuple[int, Counts]]:
    """Return the events of each measured minute of a tally's interval, in order: from day packs where there are."""
    slot = slots_of([tally_id]).get(tally_id)
    if slot is None or end_minute <= start_minute:
        return []
    days = range(start_minute // MINUTES_A_DAY, (end_minute - 1) // MINUTES_A_DAY + 1)
    shelf = slot // PLACES
    packed_keys = TallyDay.objects.filter(
        key__gte=shelf * KEY_BASE + days.start, key__lt=shelf * KEY_BASE + days.stop, form=TallyDay.Form.PACKED
    )
    packed = {key % KEY_BASE for key in packed_keys.order_by().values_list("key", flat=True)}
    packs = TallyPack.objects.filter(key__gte=slot * KEY_BASE + days.start, key__lt=slot * KEY_BASE + days.stop)
    bodies = {key % KEY_BASE: body for key, body in packs.order_by().values_list("key", "body")} if packed else {}
    series: list[tuple[int, Counts]] = []
    # Days that are not packed are read together as far as they follow each other: one query for the run.
    for is_packed, run in itertools.groupby(days, key=packed.__contains__):
        found = list(run)
        if not is_packed:
            series += _minutes_of_blocks(slot, found[0] * MINUTES_A_DAY, (found[-1] + 1) * MINUTES_A_DAY)
            continue
        for day in found:
            if day in bodies:
                first = day * MINUTES_A_DAY
                series += [(first + minute, counts) for minute, counts in unpacked_day(bodies[day])]
    return [one for one in series if start_minute <= one[0] < end_minute]


def _minutes_of_blocks(slot: int, start: int, end: int) -> list[tuple[int, Counts]]:
    shelf, place = divmod(slot, PLACES)
    previous, series, today = NOTHING, [], start // MINUTES_A_DAY
    for minute, sheet in blocks_between(shelf, start, end):
        current = counts_at(sheet, place)
        if minute // MINUTES_A_DAY != today:
            # Sums are since the day began.
            previous, today = NOTHING, minute // MINUTES_A_DAY
        if current.minutes_measured != previous.minutes_measured:
            series.append((minute, current - previous))
        previous = current
    return series


def bucket_sums(
    tally_ids: Iterable[int], *, start_minute: int, end_minute: int, step: int
) -> dict[int, list[Counts | None]]:
    """Return the running sums at the end of each bucket of `step` minutes, by tally; None where none was measured.

    A fixed number of queries for all tallies. The buckets begin at multiples of `step`.
    """
    first, last = start_minute // step, (end_minute - 1) // step
    edges = [min(bucket * step, end_minute) for bucket in range(first, last + 2)]
    ids = sorted(set(tally_ids))
    slots = slots_of(ids)
    sheets = sheets_before(shelves_of(slots), edges)
    series: dict[int, list[Counts | None]] = {}
    empty: array[int] = blank()
    for tally_id in ids:
        slot = slots.get(tally_id)
        if slot is None:
            series[tally_id] = [None] * (len(edges) - 1)
            continue
        shelf, place = divmod(slot, PLACES)
        sums = [counts_at(sheets.get((shelf, edge), empty), place) for edge in edges]
        series[tally_id] = [
            after if after.minutes_measured != before.minutes_measured else None
            for before, after in itertools.pairwise(sums)
        ]
    return series

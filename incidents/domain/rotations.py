"""Who takes turns when: the hand-offs of one layer, computed from its configuration, never stored.

Hand-off k lies at the anchor plus k lengths *on the wall clock* (`Basis.WALL`), so a shift that begins at 09:00 begins
at 09:00 on both sides of a change of offset; months are added to the anchor and clamped to the length of the month, so
nothing drifts from the 31st to the 28th. With `Basis.ELAPSED` the length is a true duration instead.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from incidents.domain.wall_time import instant_of, wall_of

DAY = timedelta(days=1)


class Unit(StrEnum):
    """What a rotation counts."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Basis(StrEnum):
    """Whether a length is counted on the wall clock or in elapsed time."""

    WALL = "wall"
    ELAPSED = "elapsed"


LENGTHS = {Unit.HOUR: timedelta(hours=1), Unit.DAY: DAY, Unit.WEEK: timedelta(weeks=1)}


@dataclass(frozen=True)
class Rotation:
    """A turn lasts `length` units; turn 0 begins when clocks show `anchor` (naive)."""

    unit: Unit
    length: int
    anchor: datetime
    basis: Basis = Basis.WALL

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError("a turn lasts at least one unit")
        if self.anchor.tzinfo is not None:
            raise ValueError("the anchor is a wall time, without a zone")
        if self.basis is Basis.ELAPSED and self.unit is Unit.MONTH:
            raise ValueError("a month is no elapsed time")

    def handoff(self, turn: int, zone: str) -> datetime:
        """Return the instant at which a turn begins."""
        if self.unit is Unit.MONTH:
            return instant_of(_add_months(self.anchor, turn * self.length), zone)
        step = LENGTHS[self.unit] * (turn * self.length)
        if self.basis is Basis.ELAPSED:
            return instant_of(self.anchor, zone) + step
        return instant_of(self.anchor + step, zone)

    def turn_at(self, instant: datetime, zone: str) -> int:
        """Return the turn that holds an instant: the last whose hand-off is not after it."""
        turn = self._estimate(instant, zone)
        while self.handoff(turn, zone) > instant:
            turn -= 1
        while self.handoff(turn + 1, zone) <= instant:
            turn += 1
        return turn

    def _estimate(self, instant: datetime, zone: str) -> int:
        wall = wall_of(instant, zone)
        if self.unit is Unit.MONTH:
            months = (wall.year - self.anchor.year) * 12 + wall.month - self.anchor.month
            return months // self.length
        if self.basis is Basis.ELAPSED:
            return (instant - instant_of(self.anchor, zone)) // (LENGTHS[self.unit] * self.length)
        return (wall - self.anchor) // (LENGTHS[self.unit] * self.length)


@dataclass(frozen=True)
class Restriction:
    """A daily span on some weekdays (Monday is 0). An end at or before the start lies on the next day."""

    weekdays: frozenset[int]
    start: time
    end: time

    def span_on(self, day: date, zone: str) -> tuple[datetime, datetime] | None:
        """Return the span that begins on this day, or None."""
        if day.weekday() not in self.weekdays:
            return None
        end_day = day if self.end > self.start else day + DAY
        return (
            instant_of(datetime.combine(day, self.start), zone),
            instant_of(datetime.combine(end_day, self.end), zone),
        )


@dataclass(frozen=True)
class Layer:
    """Groups of people who take turns, from `starts_at` (until `ends_at`), all day or within restrictions.

    On `holidays` (days on the wall of its zone) it rests; with `on_holidays` it works on these days only.
    """

    name: str
    priority: int
    zone: str
    rotation: Rotation
    groups: tuple[tuple[str, ...], ...]
    starts_at: datetime
    ends_at: datetime | None = None
    restrictions: tuple[Restriction, ...] = ()
    holidays: frozenset[date] = frozenset()
    on_holidays: bool = False


@dataclass(frozen=True)
class Turn:
    """One stretch of a layer's turn."""

    starts_at: datetime
    ends_at: datetime
    number: int
    people: tuple[str, ...]


def turns_of(layer: Layer, start: datetime, end: datetime) -> list[Turn]:
    """Return a layer's turns within [start, end), clipped, without overlap, in order."""
    start = max(start, layer.starts_at).astimezone(UTC)
    end = min(end, layer.ends_at) if layer.ends_at is not None else end
    end = end.astimezone(UTC)
    if start >= end or not layer.groups:
        return []
    turns = []
    number = layer.rotation.turn_at(start, layer.zone)
    at = start
    while at < end:
        until = min(layer.rotation.handoff(number + 1, layer.zone), end)
        if until > at:
            turns.append(Turn(at, until, number, layer.groups[number % len(layer.groups)]))
            at = until
        number += 1
    if layer.restrictions:
        turns = _within(turns, _spans(layer, start, end))
    if layer.holidays or layer.on_holidays:
        turns = _within(turns, _workable(layer, start, end))
    return turns


def _within(turns: list[Turn], spans: list[tuple[datetime, datetime]]) -> list[Turn]:
    """Return what of the turns lies within the spans; both in order and without overlap, and so the result."""
    kept: list[Turn] = []
    first = 0
    for turn in turns:
        while first < len(spans) and spans[first][1] <= turn.starts_at:
            first += 1
        at = first
        while at < len(spans) and spans[at][0] < turn.ends_at:
            opens, closes = spans[at]
            kept.append(Turn(max(turn.starts_at, opens), min(turn.ends_at, closes), turn.number, turn.people))
            at += 1
    return kept


def _workable(layer: Layer, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return what the holidays leave of [start, end), or the holidays themselves for a layer that covers them."""
    midnight = time(0)
    days = [
        (
            instant_of(datetime.combine(day, midnight), layer.zone),
            instant_of(datetime.combine(day + DAY, midnight), layer.zone),
        )
        for day in sorted(layer.holidays)
    ]
    off = [(opens, closes) for opens, closes in days if closes > start and opens < end and closes > opens]
    if layer.on_holidays:
        return off
    left = []
    at = start
    for opens, closes in off:
        if opens > at:
            left.append((at, opens))
        at = max(at, closes)
    if at < end:
        left.append((at, end))
    return left


def _spans(layer: Layer, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return the union of the restrictions as spans in order, none touching the next."""
    # Two days of margin: a span may begin the day before, and the zone may be a day from UTC.
    day = wall_of(start, layer.zone).date() - 2 * DAY
    last = wall_of(end, layer.zone).date() + DAY
    found = []
    while day <= last:
        found += [span for rule in layer.restrictions if (span := rule.span_on(day, layer.zone))]
        day += DAY
    merged: list[tuple[datetime, datetime]] = []
    for opens, closes in sorted(found):
        if merged and opens <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], closes))
        elif closes > opens:
            merged.append((opens, closes))
    return merged


def _add_months(wall: datetime, months: int) -> datetime:
    index = wall.year * 12 + wall.month - 1 + months
    year, month = divmod(index, 12)
    day = min(wall.day, calendar.monthrange(year, month + 1)[1])
    return wall.replace(year=year, month=month + 1, day=day)

"""Who is on call: layers by priority, overrides on top, each answer with its reason.

`resolve` is a pure function of versioned configuration. A version holds from its instant until the next one's, so an
edit never changes the past. The result is a partition: no two shifts overlap, and asking for two adjoining periods
gives the same as asking for both at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from incidents.domain.rotations import Layer, turns_of


@dataclass(frozen=True)
class Override:
    """People who stand in for whoever would be on call, whatever the layer."""

    reference: str
    starts_at: datetime
    ends_at: datetime
    people: tuple[str, ...]


@dataclass(frozen=True)
class Why:
    """What put these people on call: an override, or a layer and the number of its turn."""

    version: int
    layer: str = ""
    turn: int | None = None
    override: str = ""

    def __str__(self) -> str:
        if self.override:
            return f"override {self.override}"
        return f"layer {self.layer}, turn {self.turn} (version {self.version})"


@dataclass(frozen=True)
class Shift:
    """People on call from one instant until another."""

    starts_at: datetime
    ends_at: datetime
    people: tuple[str, ...]
    why: Why


@dataclass(frozen=True)
class Version:
    """A schedule's layers from an instant on."""

    number: int
    effective_from: datetime
    layers: tuple[Layer, ...]


def resolve(versions: Sequence[Version], overrides: Sequence[Override], start: datetime, end: datetime) -> list[Shift]:
    """Return the shifts within [start, end) in order; where nobody is on call there is none.

    Among layers the highest priority wins, the later in the list among equals; among overrides, the later in the list.
    """
    ordered = sorted(versions, key=lambda version: (version.effective_from, version.number))
    shifts: list[Shift] = []
    for position, version in enumerate(ordered):
        from_ = max(start, version.effective_from)
        until = min(end, ordered[position + 1].effective_from) if position + 1 < len(ordered) else end
        if from_ < until:
            shifts += _resolve_version(version, overrides, from_, until)
    return _coalesce(shifts)


def without_leavers(shifts: Sequence[Shift], left: Mapping[str, datetime]) -> list[Shift]:
    """Return the shifts without whoever had left by then; where nobody remains, there is no shift.

    `left` says when somebody left. What they did before stays.
    """
    found: list[Shift] = []
    for shift in shifts:
        begins = shift.starts_at
        for instant in sorted({left[name] for name in shift.people if name in left}):
            if begins < instant < shift.ends_at:
                found.append(replace(shift, starts_at=begins, ends_at=instant, people=_still(shift, left, begins)))
                begins = instant
        found.append(replace(shift, starts_at=begins, people=_still(shift, left, begins)))
    return [shift for shift in found if shift.people]


def _still(shift: Shift, left: Mapping[str, datetime], at: datetime) -> tuple[str, ...]:
    return tuple(name for name in shift.people if name not in left or left[name] > at)


def gaps(shifts: Sequence[Shift], start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Return the stretches of [start, end) in which nobody is on call; `shifts` as `resolve` gave them."""
    found = []
    at = start
    for shift in shifts:
        if shift.starts_at > at:
            found.append((at, shift.starts_at))
        at = max(at, shift.ends_at)
    if at < end:
        found.append((at, end))
    return found


def _resolve_version(version: Version, overrides: Sequence[Override], start: datetime, end: datetime) -> list[Shift]:
    """Lay the candidates over each other, the weakest first; each later one cuts what lies under it."""
    ranked = sorted(enumerate(version.layers), key=lambda item: (item[1].priority, item[0]))
    result: list[Shift] = []
    for _, layer in ranked:
        candidates = [
            Shift(turn.starts_at, turn.ends_at, turn.people, Why(version.number, layer.name, turn.number))
            for turn in turns_of(layer, start, end)
        ]
        result = _lay_over(result, candidates)
    for override in overrides:
        from_, until = max(start, override.starts_at), min(end, override.ends_at)
        if from_ < until:
            why = Why(version.number, override=override.reference)
            result = _lay_over(result, [Shift(from_, until, override.people, why)])
    return result


def _lay_over(under: list[Shift], over: list[Shift]) -> list[Shift]:
    """Return `over` with what it leaves free of `under`; both in order and without overlap, and so the result."""
    free: list[Shift] = []
    position = 0
    for shift in under:
        at = shift.starts_at
        while position < len(over) and over[position].ends_at <= at:
            position += 1
        look = position
        while look < len(over) and over[look].starts_at < shift.ends_at:
            if over[look].starts_at > at:
                free.append(replace(shift, starts_at=at, ends_at=over[look].starts_at))
            at = max(at, over[look].ends_at)
            look += 1
        if at < shift.ends_at:
            free.append(replace(shift, starts_at=at))
    return sorted([*free, *over], key=lambda shift: shift.starts_at)


def _coalesce(shifts: list[Shift]) -> list[Shift]:
    merged: list[Shift] = []
    for shift in shifts:
        last = merged[-1] if merged else None
        if last and last.ends_at == shift.starts_at and (last.people, last.why) == (shift.people, shift.why):
            merged[-1] = replace(last, ends_at=shift.ends_at)
        else:
            merged.append(shift)
    return merged

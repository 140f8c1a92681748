"""Time slices: stretches of a few minutes that are good or bad as a whole (OpenSLO v1 Timeslices, RatioTimeslices).

A slice becomes *units* of the same arithmetic as events: one unit for Timeslices, a million for RatioTimeslices (whose
SLI is the mean of the slices' ratios). A slice that was measured and had no traffic is good for Timeslices (nobody was
failed) and says nothing for RatioTimeslices. A slice that was not measured is of unknown outcome.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from reliability.domain.budgets import Counts
from reliability.domain.objectives import ExclusionRule, Method, Objective

RATIO_UNITS = 1_000_000
Span = tuple[int, int]


@dataclass(frozen=True)
class Slicing:
    """How minutes become slices."""

    method: Method
    minutes: int
    target: Decimal | None
    rule: ExclusionRule = ExclusionRule.DROP_EVENTS

    @classmethod
    def of(cls, objective: Objective, method: Method, rule: ExclusionRule) -> "Slicing":
        """Return the slicing of an objective."""
        return cls(method, objective.slice_minutes, objective.slice_target, rule)


def judged_slices(
    minutes: Iterable[tuple[int, Counts]],
    slicing: Slicing,
    *,
    start: int,
    end: int,
    excluded: Sequence[Span] = (),
) -> dict[int, Counts]:
    """Return the units of each slice that lies in the minutes `start` to before `end`, by its first minute.

    `minutes` are the measured ones with their events; slices begin at multiples of their length.
    """
    length = slicing.minutes
    events: dict[int, Counts] = {}
    left_out = excluded_minutes(excluded, start, end)
    for minute, counts in minutes:
        first = minute // length * length
        if minute in left_out:
            events[first] = events.get(first, Counts()) + _of_excluded(counts, slicing.rule)
        else:
            events[first] = events.get(first, Counts()) + counts
    units = {}
    for first in range(-(-start // length) * length, end - length + 1, length):
        inside = sum(1 for minute in range(first, first + length) if minute in left_out) if left_out else 0
        if inside == length and slicing.rule is ExclusionRule.DROP_TIME:
            continue
        known = events.get(first)
        if known is None and inside == length:
            known = Counts(minutes_measured=length)
        if (judged := _judged(known, slicing)) is not None:
            units[first] = judged
    return units


def merged_slices(
    slices: Sequence[Mapping[int, Counts]], weights: Sequence[float], method: Method
) -> dict[int, Counts]:
    """Return the slices of a composite.

    Timeslices: bad when any component's is, unknown when any may be. RatioTimeslices: the weighted mean of the units.
    """
    merged = {}
    total = sum(weights)
    for first in sorted({first for one in slices for first in one}):
        known = [(one[first], weight / total) for one, weight in zip(slices, weights, strict=True) if first in one]
        measured = max(counts.minutes_measured for counts, _ in known)
        if method is Method.TIMESLICES:
            if any(counts.bad for counts, _ in known):
                merged[first] = Counts(bad=1, minutes_measured=measured)
            elif any(counts.unknown for counts, _ in known):
                merged[first] = Counts(unknown=1, minutes_measured=measured)
            else:
                merged[first] = Counts(good=1, minutes_measured=measured)
        else:
            share = sum(weight for _, weight in known)
            bad = round(sum(counts.bad * weight for counts, weight in known) / share)
            unknown = round(sum(counts.unknown * weight for counts, weight in known) / share)
            merged[first] = Counts(max(RATIO_UNITS - bad - unknown, 0), bad, unknown, measured)
    return merged


class SliceSums:
    """Slices as running sums, so that any window is one subtraction."""

    def __init__(self, slices: Mapping[int, Counts]) -> None:
        self._firsts = sorted(slices)
        ordered = [slices[first] for first in self._firsts]
        self._sums = list(accumulate(ordered, initial=Counts()))

    def between(self, start: int, end: int) -> Counts:
        """Return the units of the slices that begin in the minutes `start` to before `end`."""
        low, high = bisect_left(self._firsts, start), bisect_left(self._firsts, end)
        return self._sums[high] - self._sums[low]


def units_between(slices: Mapping[int, Counts], start: int, end: int) -> Counts:
    """Return the units of the slices that begin in the minutes `start` to before `end`."""
    return SliceSums(slices).between(start, end)


def excluded_minutes(spans: Sequence[Span], start: int, end: int) -> frozenset[int]:
    """Return the minutes of spans (first, after the last) that lie from `start` to before `end`."""
    return frozenset(minute for low, high in spans for minute in range(max(low, start), min(high, end)))


def _of_excluded(counts: Counts, rule: ExclusionRule) -> Counts:
    if rule is ExclusionRule.COUNT_GOOD:
        return Counts(counts.total, 0, 0, counts.minutes_measured)
    return Counts(minutes_measured=counts.minutes_measured)


def _judged(events: Counts | None, slicing: Slicing) -> Counts | None:
    size = RATIO_UNITS if slicing.method is Method.RATIO_TIMESLICES else 1
    if events is None:
        return Counts(unknown=size)
    measured = events.minutes_measured
    if not events.total:
        return Counts(good=1, minutes_measured=measured) if slicing.method is Method.TIMESLICES else None
    if slicing.method is Method.RATIO_TIMESLICES:
        bad = size * events.bad // events.total
        unknown = min(-(-size * events.unknown // events.total), size - bad)
        return Counts(size - bad - unknown, bad, unknown, measured)
    wanted = slicing.target or Decimal(1)
    if events.good >= wanted * events.total:
        return Counts(good=1, minutes_measured=measured)
    if events.good + events.unknown < wanted * events.total:
        return Counts(bad=1, minutes_measured=measured)
    return Counts(unknown=1, minutes_measured=measured)

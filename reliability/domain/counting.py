"""From the samples of scraped series to events by minute: what one read of an SLO's series adds to its tallies."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from math import isfinite
from typing import Any

from reliability.domain.budgets import Counts
from reliability.domain.scrapes import (
    Oddities,
    Tail,
    add_increments,
    continued,
    latecomers,
    measured_minutes,
    rebased,
    usual_interval,
    was_born,
)

Group = tuple[str, ...]
WHOLE: Group = ()
OVERLAP_SECONDS = 150.0
"""How far back each read sees what the one before has seen; what comes later than that cannot be told."""
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "lte": lambda value, bound: value <= bound,
    "lt": lambda value, bound: value < bound,
    "gte": lambda value, bound: value >= bound,
    "gt": lambda value, bound: value > bound,
}


class GoodAboveTotalError(ValueError):
    """A minute has more events of a part than events in all: the selectors do not fit each other."""


@dataclass(frozen=True)
class Scraped:
    """A series with its raw samples: time in seconds and value as text, ascending.

    `others` are other scrapers' samples of the same counter, from a store that keeps replicas apart; None from others.
    """

    labels: Mapping[str, str]
    samples: Sequence[Sequence[Any]]
    others: tuple[Sequence[Sequence[Any]], ...] | None = None

    @property
    def target(self) -> tuple[str, str]:
        """The target that it was scraped from."""
        return self.labels.get("job", ""), self.labels.get("instance", "")

    @cached_property
    def digest(self) -> bytes:
        """Eight bytes that name the series."""
        flat = "\x00".join(part for pair in sorted(self.labels.items()) for part in pair)
        return blake2b(flat.encode(), digest_size=8).digest()


@dataclass(frozen=True)
class Span:
    """What was read: samples after `visible_since`; those up to `begin` were counted before, or never will be.

    `first` says that nothing was read before: counters then stand where they stand at `begin`.
    """

    visible_since: float
    begin: float
    until: float
    first: bool


class Scrapes:
    """When targets were scraped: by `up` where there is one, else by the samples of their series."""

    def __init__(self, ups: Iterable[Scraped], series: Iterable[Scraped], span: Span) -> None:
        self._times: dict[tuple[str, str], Sequence[float]] = {}
        self._intervals: dict[tuple[str, str], float] = {}
        self._minutes: dict[tuple[str, str], set[int]] = {}
        self._span = span
        for up in ups:
            self._times[up.target] = [time for time, value in up.samples if value == "1"]
        loose: dict[tuple[str, str], set[float]] = {}
        for one in series:
            if one.target not in self._times:
                loose.setdefault(one.target, set()).update(sample[0] for sample in one.samples)
        self._times.update((target, sorted(times)) for target, times in loose.items())

    def times(self, target: tuple[str, str]) -> Sequence[float]:
        """Return when a target was scraped, ascending."""
        return self._times.get(target, ())

    def interval(self, target: tuple[str, str]) -> float:
        """Return the usual time between two scrapes."""
        if target not in self._intervals:
            self._intervals[target] = usual_interval(self.times(target)[:200])
        return self._intervals[target]

    def minutes(self, target: tuple[str, str]) -> set[int]:
        """Return the minutes that were measured."""
        if target not in self._minutes:
            self._minutes[target] = measured_minutes(self.times(target), after=self._span.begin, until=self._span.until)
        return self._minutes[target]


@dataclass
class Found:
    """What a read adds: events by group and minute, where each counter stands now, and what was odd."""

    counts: dict[Group, dict[int, Counts]] = field(default_factory=dict)
    tails: dict[bytes, Tail] = field(default_factory=dict)
    oddities: Oddities = field(default_factory=Oddities)


@dataclass
class _Sides:
    total: dict[int, int] = field(default_factory=dict)
    part: dict[int, int] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)


def count_counters(
    total: Iterable[Scraped],
    part: Iterable[Scraped],
    *,
    tails: Mapping[bytes, Tail],
    scrapes: Scrapes,
    span: Span,
    group_by: Sequence[str] = (),
    part_is_bad: bool = False,
) -> Found:
    """Count the events that counters show; `part` are the good ones among `total`, or the bad ones.

    Raises GoodAboveTotalError when a minute's part is larger than its total.
    """
    found = Found(tails=dict(tails))
    sides: dict[Group, _Sides] = {}
    series: dict[bytes, tuple[Scraped, bool, bool]] = {one.digest: (one, True, False) for one in total}
    for one in part:
        series[one.digest] = (one, one.digest in series, True)
    measured: dict[Group, set[int]] = {}
    for digest, (one, in_total, in_part) in series.items():
        group = tuple(one.labels.get(label, "") for label in group_by)
        side = sides.setdefault(group, _Sides())
        grown: dict[int, int] = {}
        tail = _count_one(one, found, scrapes, span, grown, side.unknown if in_total else {})
        if tail is not None:
            found.tails[digest] = tail
        for taken, into in ((in_total, side.total), (in_part, side.part)):
            if taken:
                for minute, events in grown.items():
                    into[minute] = into.get(minute, 0) + events
        if in_total:
            measured.setdefault(group, set()).update(scrapes.minutes(one.target))
    for group, side in sides.items():
        found.counts[group] = _minutes(side, measured.get(group, set()), part_is_bad=part_is_bad)
    return found


def count_readings(
    series: Iterable[Scraped],
    *,
    op: str,
    threshold: float,
    tails: Mapping[bytes, Tail],
    span: Span,
    group_by: Sequence[str] = (),
) -> Found:
    """Count the readings of gauges: each sample is an event, good when it compares as it should.

    A reading that became visible late counts as long as it is later than the last one of its series.
    """
    found, good, seen = Found(tails=dict(tails)), _COMPARE[op], dict[Group, dict[int, list[int]]]()
    for one in series:
        group = tuple(one.labels.get(label, "") for label in group_by)
        minutes = seen.setdefault(group, {})
        tail = found.tails.get(one.digest)
        after = span.begin if span.first else span.visible_since
        if tail is not None:
            after = tail.time
        samples = _further(one, tail) if tail is not None else one.samples
        last = after
        for time, text in samples:
            if not last < time <= span.until:
                continue
            last, value = time, float(text)
            if not isfinite(value):
                found.oddities.odd_values += 1
                continue
            minutes.setdefault(int(time // 60), [0, 0])[0 if good(value, threshold) else 1] += 1
        if last > after:
            found.tails[one.digest] = Tail(last, 0.0)
    for group, minutes in seen.items():
        found.counts[group] = {minute: Counts(events[0], events[1]) for minute, events in minutes.items()}
    return found


def _further(one: Scraped, tail: Tail) -> Sequence[Sequence[Any]]:
    return one.samples if one.others is None else continued((one.samples, *one.others), tail)


def _count_one(  # noqa: PLR0917 what is read, what is known, and where events go
    one: Scraped, found: Found, scrapes: Scrapes, span: Span, grown: dict[int, int], unknown: dict[int, int]
) -> Tail | None:
    """Add one counter's increments to `grown` and return where it stands; None without a usable sample."""
    after = span.begin if span.first else float("-inf")
    horizon = max(span.until - OVERLAP_SECONDS, after)
    tail = found.tails.get(one.digest)
    if tail is not None:
        if one.others is not None:
            return add_increments(_further(one, tail), tail, grown, found.oddities, after=after)
        if events := latecomers(one.samples, tail):
            minute = int(tail.time // 60)
            grown[minute] = grown.get(minute, 0) + events
        grown_tail = add_increments(one.samples, tail, grown, found.oddities, after=after)
        return rebased(one.samples, grown_tail, horizon=horizon)
    position = next((n for n, (_, text) in enumerate(one.samples) if 0.0 <= float(text) < float("inf")), None)
    if position is None:
        found.oddities.odd_values += len(one.samples)
        return None
    time, value = one.samples[position][0], float(one.samples[position][1])
    found.oddities.odd_values += position
    if time > after:
        target = one.target
        born, _ = was_born(
            time,
            target_scrapes=scrapes.times(target),
            visible_since=span.visible_since,
            interval=scrapes.interval(target),
        )
        into = grown if born else unknown
        if events := round(value):
            into[int(time // 60)] = into.get(int(time // 60), 0) + events
    rest = one.samples[position + 1 :]
    tail = add_increments(rest, Tail(time, value, time, value), grown, found.oddities, after=after)
    return rebased(one.samples[position:], tail, horizon=horizon)


def _minutes(side: _Sides, measured: set[int], *, part_is_bad: bool) -> dict[int, Counts]:
    counts: dict[int, Counts] = {}
    for minute in measured.union(side.total, side.part, side.unknown):
        total, part = side.total.get(minute, 0), side.part.get(minute, 0)
        if part > total:
            raise GoodAboveTotalError(minute, part, total)
        rest = total - part
        good, bad = (rest, part) if part_is_bad else (part, rest)
        counts[minute] = Counts(good, bad, side.unknown.get(minute, 0))
    return counts

"""What a scraped counter proves: increments between samples, resets, births (Prometheus).

An increment belongs to the minute of the sample that shows it. A value that drops is a reset and counts in full: what
happened between the last sample and the crash cannot be known. The first sample of a series counts in full only when
the same target was scraped just before without it; otherwise its value stays of unknown outcome.
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

LONGEST_PAUSE_SECONDS = 300.0
BIRTH_LOOKBACK_INTERVALS = 1.5
_HIGHEST = float(2**62)


@dataclass(frozen=True)
class Sample:
    """A value at an instant, in seconds since 1970 UTC."""

    time: float
    value: float


@dataclass(frozen=True)
class Increment:
    """Events of (`since`, `time`]; `known` is False when they may have happened at any time before."""

    since: float
    time: float
    events: int
    known: bool = True


def increments(
    samples: Iterable[Sample], *, carried: Sample | None, target_scrapes: Sequence[float], interval: float
) -> tuple[list[Increment], Sample | None]:
    """Return what the samples of one series add after the `carried` sample, and the sample to carry on.

    Repeated and older samples add nothing. `target_scrapes` are the times, ascending, of the target's scrapes;
    `interval` is the usual time between two.
    """
    found: list[Increment] = []
    latest = carried
    for sample in sorted(samples, key=lambda one: one.time):
        if (latest is not None and sample.time <= latest.time) or not isfinite(sample.value) or sample.value < 0:
            continue
        if latest is None:
            before = [time for time in target_scrapes if time < sample.time]
            born = bool(before) and sample.time - before[-1] <= interval * BIRTH_LOOKBACK_INTERVALS
            since = before[-1] if born else sample.time
            found.append(Increment(since, sample.time, round(sample.value), known=born))
        elif sample.value < latest.value:
            found.append(Increment(latest.time, sample.time, round(sample.value)))
        else:
            found.append(Increment(latest.time, sample.time, round(sample.value) - round(latest.value)))
        latest = sample
    return found, latest


def usual_interval(times: Sequence[float], *, default: float = 60.0) -> float:
    """Return the median distance of ascending times, or `default` with fewer than two."""
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times) if later > earlier)
    return gaps[len(gaps) // 2] if gaps else default


class Tail(NamedTuple):
    """Where a counter stood at its last sample; the next increment begins there."""

    time: float
    value: float


@dataclass
class Oddities:
    """What a series showed besides growing."""

    resets: int = 0
    odd_values: int = 0


def add_increments(
    samples: Iterable[Sequence[Any]],
    tail: Tail,
    minutes: dict[int, int],
    oddities: Oddities,
    *,
    after: float = float("-inf"),
) -> Tail:
    """Add what ascending samples (time, value as text) show beyond `tail` to the events of their minutes.

    The same rules as `increments`, for a counter whose last sample is known; written for millions of samples. Samples
    up to `after` move the tail and are not counted.
    """
    last_time, last_value = tail
    for time, text in samples:
        if time <= last_time:
            continue
        value = float(text)
        if not 0.0 <= value < _HIGHEST:
            oddities.odd_values += 1
            continue
        if value > last_value:
            if time > after:
                minute = int(time // 60)
                minutes[minute] = minutes.get(minute, 0) + round(value) - round(last_value)
        elif value < last_value:
            oddities.resets += 1
            if value and time > after:
                minute = int(time // 60)
                minutes[minute] = minutes.get(minute, 0) + round(value)
        last_time, last_value = time, value
    return Tail(last_time, last_value)


def was_born(
    time: float, *, target_scrapes: Sequence[float], visible_since: float, interval: float
) -> tuple[bool, float]:
    """Say whether a series that first shows at `time` began then, and since when its events are.

    It did when its target was scraped just before without it; only scrapes within what was read tell that.
    """
    position = bisect_left(target_scrapes, time)
    before = target_scrapes[position - 1] if position else float("-inf")
    born = before > visible_since and time - before <= interval * BIRTH_LOOKBACK_INTERVALS
    return born, before if born else time


def measured_minutes(times: Sequence[float], *, after: float, until: float) -> set[int]:
    """Return the minutes in which a target was scraped, or that lie in a short pause between two scrapes."""
    found = {int(time // 60) for time in times if after < time <= until}
    for earlier, later in itertools.pairwise(times):
        if 60 < later - earlier <= LONGEST_PAUSE_SECONDS and after < later <= until:
            found.update(range(int(max(earlier, after) // 60), int(later // 60) + 1))
    return found

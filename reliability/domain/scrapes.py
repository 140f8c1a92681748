"""What a scraped counter proves: increments between samples, resets, births (Prometheus).

An increment belongs to the minute of the sample that shows it. A value that drops is a reset and counts in full: what
happened between the last sample and the crash cannot be known. The first sample of a series counts in full only when
the same target was scraped just before without it; otherwise its value stays of unknown outcome.
"""

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NamedTuple

LONGEST_PAUSE_SECONDS = 300.0
BIRTH_LOOKBACK_INTERVALS = 1.5
_HIGHEST = float(2**62)


def usual_interval(times: Sequence[float], *, default: float = 60.0) -> float:
    """Return the median distance of ascending times, or `default` with fewer than two."""
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times) if later > earlier)
    return gaps[len(gaps) // 2] if gaps else default


class Tail(NamedTuple):
    """Where a counter stood at its last sample; the next increment begins there.

    Since an earlier sample, the base, `seen` samples showed `credited` events: one that comes between them later can
    show more, when it stands before a fall.
    """

    time: float
    value: float
    base_time: float = float("inf")
    base_value: float = 0.0
    seen: int = 0
    credited: int = 0


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

    Written for millions of samples. Samples up to `after` move the tail and are not counted.
    """
    last_time, last_value = tail.time, tail.value
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
    return tail._replace(time=last_time, value=last_value)


def latecomers(samples: Sequence[Sequence[Any]], tail: Tail) -> int:
    """Return the events that samples show which came after later ones of their series had been counted."""
    inside = [one for one in samples if tail.base_time < one[0] <= tail.time]
    if len(inside) <= tail.seen:
        return 0
    minutes: dict[int, int] = {}
    add_increments(inside, Tail(tail.base_time, tail.base_value), minutes, Oddities())
    return max(sum(minutes.values()) - tail.credited, 0)


def rebased(samples: Sequence[Sequence[Any]], tail: Tail, *, horizon: float) -> Tail:
    """Return the tail with the last sample up to `horizon` as its base, for the next read that begins there."""
    position = bisect_right(samples, horizon, key=itemgetter(0))
    while position and not 0.0 <= float(samples[position - 1][1]) < _HIGHEST:
        position -= 1
    if position:
        tail = tail._replace(base_time=samples[position - 1][0], base_value=float(samples[position - 1][1]))
    inside = [one for one in samples if tail.base_time < one[0] <= tail.time]
    minutes: dict[int, int] = {}
    add_increments(inside, Tail(tail.base_time, tail.base_value), minutes, Oddities())
    return tail._replace(seen=len(inside), credited=sum(minutes.values()))


def continued(replicas: Sequence[Sequence[Sequence[Any]]], tail: Tail) -> Sequence[Sequence[Any]]:
    """Return the samples to go on with after `tail`, of several scrapers' samples of one counter.

    The scraper that saw the tail is kept. Where it is gone, another's first values may lie below the tail although the
    counter never fell, since it scraped at other instants: such values are left out, up to a fall of its own.
    """
    for samples in replicas:
        if any(time == tail.time and float(value) == tail.value for time, value in samples):
            return samples
    chosen = replicas[0]
    position = next((number for number, (time, _) in enumerate(chosen) if time > tail.time), len(chosen))
    if not position:
        return chosen
    last = float(chosen[position - 1][1])
    while position < len(chosen) and last <= float(chosen[position][1]) < tail.value:
        last = float(chosen[position][1])
        position += 1
    return chosen[position:]


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

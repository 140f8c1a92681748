"""What a scraped counter proves: increments between samples, resets, births (Prometheus).

An increment belongs to the minute of the sample that shows it. A value that drops is a reset and counts in full: what
happened between the last sample and the crash cannot be known. The first sample of a series counts in full only when
the same target was scraped just before without it; otherwise its value stays of unknown outcome.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

LONGEST_PAUSE_SECONDS = 300.0
BIRTH_LOOKBACK_INTERVALS = 1.5


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

"""Clocks that count towards a target: only while they run, and only in the hours of a business calendar.

All arithmetic is on UTC instants; a calendar's hours are wall time of its zone, turned into instants day by day.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum

from incidents.domain.wall_time import instant_of, wall_of

AT_RISK_RATIO = 0.75
LATE_RATIO = 0.9
# How far ahead a due instant is looked for.
HORIZON = timedelta(days=400)

Span = tuple[datetime, datetime]


class ClockState(StrEnum):
    """How a clock stands."""

    OK = "ok"
    AT_RISK = "at risk"
    BREACHED = "breached"
    PAUSED = "paused"
    MET = "met"


@dataclass(frozen=True)
class Calendar:
    """Business hours of a named zone; without one a clock counts round the clock."""

    zone: str
    weekdays: frozenset[int]
    opens: time
    closes: time
    holidays: frozenset[date] = field(default_factory=frozenset)

    def hours_between(self, start: datetime, end: datetime) -> Iterator[Span]:
        """Yield the open spans within [start, end), as UTC instants."""
        day = wall_of(start, self.zone).date()
        last = wall_of(end, self.zone).date()
        while day <= last:
            if day.weekday() in self.weekdays and day not in self.holidays:
                opens = instant_of(datetime.combine(day, self.opens), self.zone)
                closes = instant_of(datetime.combine(day, self.closes), self.zone)
                low, high = max(opens, start), min(closes, end)
                if low < high:
                    yield low.astimezone(UTC), high.astimezone(UTC)
            day += timedelta(days=1)


@dataclass(frozen=True)
class Clock:
    """What was counted. `due_at` is None while the clock stands still or no business hour is near."""

    elapsed: timedelta
    target: timedelta
    due_at: datetime | None
    state: ClockState

    @property
    def ratio(self) -> float:
        """The part of the target that is used up."""
        return self.elapsed / self.target if self.target else 1.0


def running_spans(calendar: Calendar | None, start: datetime, end: datetime, pauses: Sequence[Span]) -> Iterator[Span]:
    """Yield when a clock runs within [start, end): in business hours, outside of pauses."""
    whole = calendar.hours_between(start, end) if calendar else iter([(start, end)] if start < end else [])
    for low, high in whole:
        at = low
        for begins, ends in sorted(pauses):
            if ends <= at or begins >= high:
                continue
            if at < begins:
                yield at, begins
            at = max(at, ends)
        if at < high:
            yield at, high


def read_clock(
    *,
    target: timedelta,
    start: datetime,
    stop: datetime | None,
    pauses: Sequence[tuple[datetime, datetime | None]],
    calendar: Calendar | None,
    now: datetime,
) -> Clock:
    """Return how a clock stands that started at `start` and, where it did, stopped at `stop`."""
    horizon = start + HORIZON
    closed = [(begins, ends if ends is not None else horizon) for begins, ends in pauses]
    still = stop is None and any(ends is None for _, ends in pauses)
    end = max(stop if stop is not None else now, start)
    spans = list(running_spans(calendar, start, end, closed))
    elapsed = sum((high - low for low, high in spans), timedelta(0))
    due_at = _due(running_spans(calendar, start, horizon, closed), target)
    if elapsed > target:
        state = ClockState.BREACHED
    elif stop is not None:
        state = ClockState.MET
    elif still:
        state = ClockState.PAUSED
    else:
        state = ClockState.AT_RISK if elapsed >= target * AT_RISK_RATIO else ClockState.OK
    return Clock(elapsed, target, due_at, state)


def _due(spans: Iterator[Span], target: timedelta) -> datetime | None:
    left = target
    for low, high in spans:
        if high - low >= left:
            return low + left
        left -= high - low
    return None

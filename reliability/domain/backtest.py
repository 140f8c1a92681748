"""What an alert tier would have done on stored history, minute by minute, by the same rule that judges it live."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate

from reliability.domain.alerting import AlertDecision, BurnTier, decide
from reliability.domain.budgets import Counts, burn_rate
from reliability.domain.composites import mean_units

RECENT_MINUTES = 3


@dataclass(frozen=True)
class Firing:
    """One time that the alert would have fired, in minutes since 1970; `end` is None where it was still firing."""

    start: int
    end: int | None
    peak_burn_rate: float
    bad: int


@dataclass(frozen=True)
class History:
    """Units by minute, and which minutes were measured, from `start` on as running sums: one more than minutes."""

    start: int
    good: Sequence[int]
    bad: Sequence[int]
    unknown: Sequence[int]
    measured: Sequence[int]

    @classmethod
    def of(cls, units: Mapping[int, Counts], measured: frozenset[int] | set[int], start: int, end: int) -> "History":
        """Return the history of the minutes `start` to before `end`."""
        # Of a year of minutes few may have anything in them: those are written down, the rest is summed as it is.
        size = max(end - start, 0) + 1
        good, bad, unknown, seen = ([0] * size for _ in range(4))
        for minute, one in units.items():
            if start <= minute < end:
                place = minute - start + 1
                good[place], bad[place], unknown[place] = one.good, one.bad, one.unknown
        for minute in measured:
            if start <= minute < end:
                seen[minute - start + 1] = 1
        return cls(start, *(list(accumulate(column)) for column in (good, bad, unknown, seen)))

    @property
    def end(self) -> int:
        """The minute after the last one."""
        return self.start + len(self.good) - 1

    def between(self, low: int, high: int) -> Counts:
        """Return the units of the minutes `low` to before `high`; what lies outside is empty."""
        size = len(self.good) - 1
        first, last = (min(max(minute - self.start, 0), size) for minute in (low, high))
        return Counts(
            self.good[last] - self.good[first],
            self.bad[last] - self.bad[first],
            self.unknown[last] - self.unknown[first],
            self.measured[last] - self.measured[first],
        )

    def counted(self, low: int, high: int) -> Counts:
        """Return what was counted in the minutes `low` to before `high`."""
        return self.between(low, high)


@dataclass(frozen=True)
class JoinedHistory:
    """The history of a composite: over any window, the weighted mean of its parts' SLIs over that window."""

    parts: Sequence[History]
    weights: Sequence[float]
    measured: Sequence[int]

    @property
    def start(self) -> int:
        """The first minute."""
        return self.parts[0].start

    @property
    def end(self) -> int:
        """The minute after the last one."""
        return self.parts[0].end

    def between(self, low: int, high: int) -> Counts:
        """Return the units of the minutes `low` to before `high`."""
        return mean_units([part.between(low, high) for part in self.parts], self.weights)

    def counted(self, low: int, high: int) -> Counts:
        """Return what was counted in the minutes `low` to before `high`, all parts together."""
        return sum((part.between(low, high) for part in self.parts), Counts())


AnyHistory = History | JoinedHistory


def replay(tier: BurnTier, history: AnyHistory, *, target: Decimal, since: int, window_minutes: int) -> list[Firing]:
    """Return when the tier would have fired from the minute `since` on, judged at the end of each minute."""
    firings: list[Firing] = []
    fired_at: int | None = None
    pending: int | None = None
    peak, spent = 0.0, 0
    allowed = 1 - float(target)
    following = since
    while following < history.end:
        minute = following
        if fired_at is None:
            minute = _next_loud(tier, history, minute, allowed)
            if minute > following:
                pending = None
            if minute >= history.end:
                break
        after = following = minute + 1
        short = history.between(after - tier.short_minutes - 1, after)
        measured = history.between(after - RECENT_MINUTES, after).minutes_measured > 0
        long = history.between(after - tier.long_minutes - 1, after)
        decision = decide(
            tier,
            long=long,
            short=short,
            target=target,
            measured=measured,
            short_coverage_ratio=_coverage(history, tier, after),
            events_in_window=history.between(after - window_minutes, after).total if tier.budget_share else None,
        )
        pending = (pending if pending is not None else minute) if decision is AlertDecision.FIRE else None
        if fired_at is None and pending is not None and minute - pending >= tier.wait_minutes:
            fired_at, peak, spent = minute, 0.0, 0
        elif fired_at is not None and decision is AlertDecision.RESOLVE:
            firings.append(Firing(fired_at, minute, peak, spent))
            fired_at = None
        if fired_at is not None:
            rate = burn_rate(long, target)
            peak = max(peak, rate.low if rate else 0.0)
            spent = history.between(fired_at - tier.long_minutes, after).bad
    if fired_at is not None:
        firings.append(Firing(fired_at, None, peak, spent))
    return firings


def _next_loud(tier: BurnTier, history: AnyHistory, minute: int, allowed: float) -> int:
    """Return the first minute from this one on whose short window may be above the threshold, or the history's end.

    In the minutes before it nothing fires: for millions of minutes, of which few have anything bad in them.
    """
    if tier.budget_share or not isinstance(history, History):
        return minute
    good, bad, unknown = history.good, history.bad, history.unknown
    threshold, inclusive, length = tier.threshold, tier.inclusive, tier.short_minutes + 1
    place, size = max(minute + 1 - history.start, 0), len(bad)
    while place < size:
        first = max(place - length, 0)
        wrong = bad[place] - bad[first]
        if not wrong:
            # Until the next bad event no window has one.
            place = bisect_right(bad, bad[place], place)
            continue
        rate = wrong / (good[place] - good[first] + wrong + unknown[place] - unknown[first]) / allowed
        if rate > threshold or (inclusive and rate == threshold):
            return place - 1 + history.start
        place += 1
    return history.end


def _coverage(history: AnyHistory, tier: BurnTier, after: int) -> float:
    full = min(tier.short_minutes, after - 1 - history.start)
    if full <= 0:
        return 1.0
    return min(history.between(after - 1 - full, after - 1).minutes_measured / full, 1.0)


def precision_and_recall(
    firings: Sequence[tuple[int, int]], incidents: Sequence[tuple[int, int]], *, slack: int
) -> tuple[float | None, float | None]:
    """Return the share of firings that overlap an incident, and of incidents that a firing overlaps; None of none.

    `slack` minutes: a firing may precede the incident that people opened for it by so much.
    """

    def meet(firing: tuple[int, int], incident: tuple[int, int]) -> bool:
        return firing[0] <= incident[1] and incident[0] <= firing[1] + slack

    hits = sum(1 for one in firings if any(meet(one, incident) for incident in incidents))
    found = sum(1 for incident in incidents if any(meet(one, incident) for one in firings))
    return (hits / len(firings) if firings else None), (found / len(incidents) if incidents else None)

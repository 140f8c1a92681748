"""Probes: checks that leave when they are due, however long earlier ones took (open loop), and what each proves.

Turns lie on a grid from the first. A turn that could not be run is of unknown outcome or leaves its minute unmeasured:
leaving it out in silence would hide the very moments in which everything was slow (coordinated omission).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reliability.domain.budgets import Counts

LONGEST_STRETCH = 1.5


@dataclass(frozen=True)
class ProbeSpec:
    """What is asked of what, how often, and what a good answer is. `within` is None where any time will do."""

    kind: str
    target: str
    every: timedelta
    timeout: timedelta
    within: timedelta | None = None
    method: str = "GET"
    lowest_status: int = 200
    highest_status: int = 399
    contains: str = ""
    valid_for: timedelta = timedelta(0)
    certificates: str = ""
    locations: tuple[str, ...] = ()

    @classmethod
    def of(cls, total: Mapping[str, Any], good: Mapping[str, Any]) -> "ProbeSpec":
        """Return what an indicator's two sides ask for."""
        within = good["within_seconds"]
        low, high = total["status"]
        return cls(
            total["kind"],
            total["target"],
            timedelta(seconds=total["every_seconds"]),
            timedelta(seconds=total["timeout_seconds"]),
            None if within is None else timedelta(seconds=within),
            total["method"],
            low,
            high,
            total["contains"],
            timedelta(seconds=total["valid_for_seconds"]),
            total["ca_certificate"],
            tuple(total.get("locations", ())),
        )


@dataclass(frozen=True)
class Outcome:
    """What came of a turn. `sent` is False when nothing left this site, which says nothing about the target."""

    seconds: float
    problem: str = ""
    sent: bool = True


def judged(spec: ProbeSpec, outcome: Outcome) -> Counts:
    """Return a turn that was sent as one event."""
    limit = min(spec.within or spec.timeout, spec.timeout)
    return Counts(good=1) if not outcome.problem and outcome.seconds <= limit.total_seconds() else Counts(bad=1)


def turns_due(due_at: datetime, every: timedelta, now: datetime) -> tuple[list[datetime], datetime]:
    """Return the turns that were missed and the one that is run now, `due_at` being the first that is due.

    A turn is missed once the next one is due.
    """
    behind = max((now - due_at) // every, 0)
    return [due_at + every * number for number in range(behind)], due_at + every * behind


def counted_turn(
    counts: Counts,
    *,
    started: datetime,
    before: datetime | None,
    missed: Sequence[datetime],
    every: timedelta,
    alone: bool = True,
) -> dict[int, Counts]:
    """Return the events by minute that a turn adds; a minute that is named is measured.

    `before` is when the turn before it ran, None for the first. A missed turn in a minute that another turn measured is
    an event of unknown outcome; a minute with none but missed turns is not measured, which says the same of it. Not
    `alone`, other locations may have measured that minute, and each missed turn is an event of unknown outcome.
    """
    last = int(started.timestamp() // 60)
    found = {last: counts}
    if not alone:
        for minute, unknown in missed_turns(missed).items():
            found[minute] = found.get(minute, Counts()) + unknown
    if before is None:
        return found
    first = int(before.timestamp() // 60)
    if started - before <= every * LONGEST_STRETCH:
        found = {minute: Counts() for minute in range(first + 1, last)} | found
    for turn in missed if alone else ():
        minute = int(turn.timestamp() // 60)
        if minute == first or minute in found:
            found[minute] = found.get(minute, Counts()) + Counts(unknown=1, unknown_low=1)
    return found


def missed_turns(missed: Sequence[datetime]) -> dict[int, Counts]:
    """Return turns that nobody ran as events of unknown outcome, by minute."""
    numbers = Counter(int(turn.timestamp() // 60) for turn in missed)
    return {minute: Counts(unknown=number, unknown_low=number) for minute, number in numbers.items()}

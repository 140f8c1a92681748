"""What makes a number doubtful: data that stopped, burn too even to be chance, signals that never fail.

Evenness: by chance alone, the bad events of an hour vary around their mean with the variance of a binomial. The index
of dispersion, chi-squared over its degrees of freedom, is then near 1 (Fisher); far below it the failures are made by
something regular: a check that always fails, a stuck counter, a retry on a timer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from reliability.domain.budgets import Counts

FEWEST_HOURS = 12
FEWEST_BAD_AN_HOUR = 5
TOO_EVEN = 0.1
EXPECTED_BAD = 20
LOWEST_COVERAGE = 0.9
MUCH_UNKNOWN = 0.01
RESETS_A_DAY = 50


class FindingKind(StrEnum):
    """What was found, in the word that pages show."""

    NO_DATA = "NO DATA"
    VANISHED = "VANISHED METRIC"
    CONSTANT_BURN = "CONSTANT BURN"
    NOTHING_SUCCEEDS = "NOTHING SUCCEEDS"
    NEVER_FAILS = "NEVER FAILS"
    GOOD_ABOVE_TOTAL = "GOOD ABOVE TOTAL"
    ENDLESS_RESETS = "ENDLESS RESETS"
    GAPS = "GAPS"
    MUCH_UNKNOWN = "MUCH UNKNOWN"


@dataclass(frozen=True)
class Finding:
    """A reason to doubt an SLO's number; `serious`: it cannot be relied on as it is."""

    kind: FindingKind
    says: str
    serious: bool = True

    @property
    def tone(self) -> str:
        """How it looks."""
        return "risk" if self.serious else "plain"


def index_of_dispersion(hours: Sequence[Counts]) -> float | None:
    """Return how much hourly bad events vary, 1 as by chance; None where chance cannot be told."""
    seen = [hour for hour in hours if hour.total]
    total, bad = sum(hour.total for hour in seen), sum(hour.bad for hour in seen)
    if len(seen) < FEWEST_HOURS or not 0 < bad < total or bad < FEWEST_BAD_AN_HOUR * len(seen):
        return None
    ratio = bad / total
    chi = sum((hour.bad - ratio * hour.total) ** 2 / (hour.total * ratio * (1 - ratio)) for hour in seen)
    return chi / (len(seen) - 1)


def findings_of_hours(hours: Sequence[Counts], *, target: float | None, lived: int) -> list[Finding]:
    """Return what the last hours show (oldest first, `lived` of them since counting began; empty ones included).

    `target` is None where it is not a share of events.
    """
    found = []
    seen = [hour for hour in hours if hour.total]
    whole = sum(seen, Counts())
    dispersion = index_of_dispersion(hours)
    if dispersion is not None and dispersion < TOO_EVEN:
        found.append(
            Finding(
                FindingKind.CONSTANT_BURN,
                f"In {len(seen)} hours failures came {1 / max(dispersion, 0.001):,.0f} times more evenly than chance: "
                "a check that always fails, a stuck counter or a timer may make them.",
            )
        )
    if len(seen) >= FEWEST_HOURS and not whole.good and whole.bad:
        says = f"Not one of {whole.total:,} events of {len(seen)} hours was good: look at the good selector first."
        found.append(Finding(FindingKind.NOTHING_SUCCEEDS, says))
    expected = whole.total * (1 - target) if target is not None else 0.0
    if not whole.bad and not whole.unknown and expected >= EXPECTED_BAD:
        says = (
            f"Not one of {whole.total:,} events was bad where {expected:,.0f} were allowed: make sure that a failure "
            "would be counted as one."
        )
        found.append(Finding(FindingKind.NEVER_FAILS, says, serious=False))
    if whole.total and whole.unknown / whole.total > MUCH_UNKNOWN:
        says = (
            f"The outcome of {whole.unknown / whole.total:.1%} of the events is not known: a histogram bound at the "
            "threshold, or fewer restarts of what is scraped, would tell it."
        )
        found.append(Finding(FindingKind.MUCH_UNKNOWN, says.replace("%", " %")))
    measured = sum(hour.minutes_measured for hour in hours[-lived:]) if lived else 0
    if lived >= 2 and measured and measured / (60 * lived) < LOWEST_COVERAGE:
        says = f"{measured / (60 * lived):.0%} of the minutes of the last {lived} hours were measured."
        found.append(Finding(FindingKind.GAPS, says.replace("%", " %")))
    return found


def silence(*, since_last: timedelta | None, lived: timedelta, vanished: bool, detail: str) -> Finding | None:
    """Return the finding for events that do not come (any more), or None.

    `since_last`: since the last measured minute, None where none ever was; `vanished`: the source no longer knows the
    metric or its series.
    """
    if vanished:
        when = "It was counted before; now " if since_last is not None else ""
        return Finding(FindingKind.VANISHED, f"{when}{detail}" if detail else f"{when}nothing matches the selector.")
    if since_last is None:
        if lived < timedelta(minutes=10):
            return None
        return Finding(FindingKind.NO_DATA, "Nothing was ever measured since the definition is in force.")
    if since_last > timedelta(minutes=10):
        return Finding(FindingKind.NO_DATA, f"Nothing was measured for {_words(since_last)}.")
    return None


def resets(count: int, *, lived: timedelta) -> Finding | None:
    """Return the finding for counters that never stop starting anew: two writers of one series, or a crash loop."""
    days = max(lived / timedelta(days=1), 1.0)
    if count / days < RESETS_A_DAY:
        return None
    says = (
        f"Counters started anew {count:,} times, {count / days:,.0f} a day: two writers of one series, or a crash loop."
    )
    return Finding(FindingKind.ENDLESS_RESETS, says)


def _words(length: timedelta) -> str:
    minutes = length // timedelta(minutes=1)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 2880 else f"{minutes // 1440} days"

"""A circuit breaker as a rule on plain values; the row that keeps it is the endpoint's.

Closed: everything passes. After `FAILURES_TO_OPEN` failures in a row it opens, and nothing passes until the cool-down
is over. Then one probe passes (half open): its success closes the circuit, its failure opens it for twice as long.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

FAILURES_TO_OPEN = 5
FIRST_COOL_DOWN = timedelta(seconds=30)
LONGEST_COOL_DOWN = timedelta(hours=1)


class Circuit(StrEnum):
    """What a circuit lets through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True)
class Breaker:
    """A circuit and what moves it. `until` is the end of the cool-down, or of the probe when half open."""

    circuit: Circuit = Circuit.CLOSED
    failures_in_row: int = 0
    until: datetime | None = None

    def may_probe(self, now: datetime) -> bool:
        """Say whether the wait is over, so that one try may pass."""
        return self.circuit is not Circuit.CLOSED and self.until is not None and self.until <= now

    def after_success(self) -> "Breaker":
        """Return the breaker once a try has succeeded."""
        return Breaker()

    def after_failure(self, now: datetime) -> "Breaker":
        """Return the breaker once one more try has failed."""
        failures = self.failures_in_row + 1
        if failures < FAILURES_TO_OPEN:
            return Breaker(Circuit.CLOSED, failures, None)
        doublings = min(failures - FAILURES_TO_OPEN, 10)
        return Breaker(Circuit.OPEN, failures, now + min(FIRST_COOL_DOWN * 2**doublings, LONGEST_COOL_DOWN))

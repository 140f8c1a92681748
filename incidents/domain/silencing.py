"""When a silence holds, once or again and again (RFC 5545 RRULE, on the wall clock of its zone)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from dateutil.rrule import rrulestr

from incidents.domain.routing import Matcher
from incidents.domain.wall_time import instant_of, wall_of


@dataclass(frozen=True)
class Quiet:
    """A silence or maintenance window: alerts that fit all matchers page nobody while it holds."""

    reference: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    zone: str = "UTC"
    recurrence: str = ""
    reason: str = ""

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Say whether an alert with these labels is meant."""
        return all(matcher.fits(labels) for matcher in self.matchers)

    def span_at(self, now: datetime) -> tuple[datetime, datetime] | None:
        """Return the span that holds at an instant, or None."""
        if not self.recurrence:
            return (self.starts_at, self.ends_at) if self.starts_at <= now < self.ends_at else None
        first = wall_of(self.starts_at, self.zone)
        length = wall_of(self.ends_at, self.zone) - first
        rule = rrulestr(self.recurrence, dtstart=first)
        begin = rule.before(wall_of(now, self.zone), inc=True)
        if begin is None:
            return None
        span = (instant_of(begin, self.zone), instant_of(begin + length, self.zone))
        return span if span[0] <= now < span[1] else None


def ensure_recurrence_is_valid(text: str) -> None:
    """Raise ValueError when a recurrence is no rule, or one that recurs more often than every hour."""
    rule = text.strip().upper()
    if any(word in rule for word in ("SECONDLY", "MINUTELY", "BYSECOND", "BYMINUTE", "DTSTART", "\n")):
        raise ValueError("at most one occurrence an hour is allowed, as FREQ=WEEKLY;BYDAY=SU")
    rrulestr(rule, dtstart=datetime(2026, 1, 1))  # noqa: DTZ001 a wall time


def quiet_for(
    quiets: Sequence[Quiet], labels: Mapping[str, str], now: datetime
) -> tuple[Quiet, tuple[datetime, datetime]] | None:
    """Return the first silence that holds now and fits, with its span."""
    for quiet in quiets:
        span = quiet.span_at(now)
        if span is not None and quiet.fits(labels):
            return quiet, span
    return None

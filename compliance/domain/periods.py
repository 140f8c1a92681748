"""Calendar periods in UTC by which occurrences fall due."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum


class Cadence(StrEnum):
    """How often a check is due. EVENT: once for each thing that happened."""

    EVENT = "event"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"


@dataclass(frozen=True)
class Period:
    """A named span of time; `end` is exclusive."""

    key: str
    start: datetime
    end: datetime


def period_at(cadence: Cadence, moment: datetime) -> Period:
    """Return the period that a moment lies in."""
    at = moment.astimezone(UTC)
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if cadence is Cadence.DAILY:
        return Period(f"{day:%Y-%m-%d}", day, day + timedelta(days=1))
    if cadence is Cadence.WEEKLY:
        monday = day - timedelta(days=day.weekday())
        year, week, _ = monday.isocalendar()
        return Period(f"{year}-W{week:02}", monday, monday + timedelta(days=7))
    months = {Cadence.MONTHLY: 1, Cadence.QUARTERLY: 3, Cadence.YEARLY: 12}.get(cadence)
    if months is None:
        raise ValueError(f"{cadence.value} has no calendar periods")
    first = (day.month - 1) // months * months
    start = day.replace(month=first + 1, day=1)
    index = day.year * 12 + first + months
    end = start.replace(year=index // 12, month=index % 12 + 1)
    return Period(_month_key(cadence, start), start, end)


def periods_between(cadence: Cadence, start: datetime, end: datetime) -> Iterator[Period]:
    """Yield the periods that overlap an interval, oldest first."""
    moment = start
    while moment < end:
        period = period_at(cadence, moment)
        yield period
        moment = period.end


def _month_key(cadence: Cadence, start: datetime) -> str:
    if cadence is Cadence.MONTHLY:
        return f"{start:%Y-%m}"
    return f"{start.year}-Q{(start.month - 1) // 3 + 1}" if cadence is Cadence.QUARTERLY else f"{start.year}"

"""Stretches of time that do not count: once or recurring (RFC 5545 RRULE in local time), as minutes."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

from reliability.domain.budgets import Counts
from reliability.domain.objectives import ExclusionRule

Span = tuple[int, int]
MOST_OCCURRENCES = 2000


def occurrences(
    *, starts_at: datetime, ends_at: datetime, recurrence: str, zone: str, since: datetime, until: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the stretches that overlap `since` to `until`, in UTC, ascending.

    A recurring one begins at the same local time in its zone through changes of the clocks and lasts as long each time.
    Raises ValueError for a rule that cannot be read.
    """
    length = ends_at - starts_at
    if not recurrence:
        return [(starts_at, ends_at)] if starts_at < until and ends_at > since else []
    local = ZoneInfo(zone)
    begin = starts_at.astimezone(local).replace(tzinfo=None)
    rule = rrulestr(recurrence, dtstart=begin)
    low = (since - length).astimezone(local).replace(tzinfo=None) - timedelta(hours=1)
    high = until.astimezone(local).replace(tzinfo=None) + timedelta(hours=1)
    found = []
    for number, moment in enumerate(rule.xafter(low, inc=True)):
        if moment > high or number >= MOST_OCCURRENCES:
            break
        start = moment.replace(tzinfo=local).astimezone(UTC)
        if start < until and start + length > since:
            found.append((start, start + length))
    return found


def merged_spans(stretches: Iterable[tuple[datetime, datetime]]) -> list[Span]:
    """Return whole minutes (first, after the last) without overlaps; a minute that is touched is excluded."""
    spans = sorted((int(start.timestamp() // 60), -int(-end.timestamp() // 60)) for start, end in stretches)
    merged: list[Span] = []
    for low, high in spans:
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


def without_excluded(counts: Counts, excluded: Counts, rule: ExclusionRule) -> Counts:
    """Return a window's events when those of its excluded minutes do not count, or count as good ones."""
    if rule is ExclusionRule.COUNT_GOOD:
        return Counts(
            counts.good + excluded.bad + excluded.unknown,
            counts.bad - excluded.bad,
            counts.unknown - excluded.unknown,
            counts.minutes_measured,
            counts.unknown_low - excluded.unknown_low,
        )
    rest = counts - excluded
    return Counts(rest.good, rest.bad, rest.unknown, counts.minutes_measured, rest.unknown_low)

"""From wall-clock time to instants, with a stated rule where the clock jumps.

A wall time that does not exist (the clock was set forward over it) means the first instant after the jump; one that
exists twice means the first. Durations are measured on UTC instants only: subtracting two aware times of one zone
ignores changes of its offset (Python documentation, `datetime`, "naive arithmetic").
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo


@lru_cache(maxsize=65_536)
def instant_of(wall: datetime, zone: str) -> datetime:
    """Return the UTC instant at which clocks in `zone` show the naive time `wall`."""
    info = ZoneInfo(zone)
    candidate = wall.replace(tzinfo=info).astimezone(UTC)
    if candidate.astimezone(info).replace(tzinfo=None, fold=0) == wall:
        return candidate
    return _end_of_gap(wall, info)


def wall_of(instant: datetime, zone: str) -> datetime:
    """Return what clocks in `zone` show at an instant, as a naive time."""
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def _end_of_gap(wall: datetime, info: ZoneInfo) -> datetime:
    """Return the first instant whose offset is the one after the jump, by bisection to the second."""
    before = wall.replace(tzinfo=info).utcoffset() or timedelta(0)
    after = wall.replace(tzinfo=info, fold=1).utcoffset() or timedelta(0)
    low = (wall - after).replace(tzinfo=UTC, microsecond=0) - timedelta(seconds=1)
    high = (wall - before).replace(tzinfo=UTC, microsecond=0) + timedelta(seconds=1)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if middle.astimezone(info).utcoffset() == after:
            high = middle
        else:
            low = middle
    return high

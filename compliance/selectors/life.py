"""Signs of life: whether recording worked, so that 'nothing happened' can be told from 'nothing was recorded'."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from compliance.models import EntryDay, LogReading
from ledger.selectors import entries


class Life:
    """When entries of some kinds happened between two instants, read once for any number of questions.

    Days come from the sums that the checks keep while they read the log, what they have not read yet from the log.
    """

    def __init__(self, types: Iterable[str], *, start: datetime, end: datetime) -> None:
        wanted = sorted(set(types))
        self._days: defaultdict[str, dict[date, tuple[datetime, datetime]]] = defaultdict(dict)
        if not wanted:
            return
        first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
        found = EntryDay.objects.filter(entry_type__in=wanted, day__gte=first, day__lte=last).order_by()
        for name, day, first_at, last_at in found.values_list("entry_type", "day", "first_at", "last_at"):
            self._days[name][day] = (first_at, last_at)
        reading = LogReading.objects.filter(pk=1).first()
        unread = entries(types=wanted, since=start, until=end).filter(pk__gt=reading.last_entry if reading else 0)
        for name, moment in unread.order_by().values_list("entry_type", "occurred_at"):
            day = moment.astimezone(UTC).date()
            known = self._days[name].get(day, (moment, moment))
            self._days[name][day] = (min(known[0], moment), max(known[1], moment))

    def signs(self, types: Sequence[str], *, start: datetime, end: datetime) -> list[datetime]:
        """Return one instant for each day on which an entry of these kinds happened, and the newest of all."""
        midnights: set[datetime] = set()
        newest: datetime | None = None
        for name in types:
            for day, (first_at, last_at) in self._days[name].items():
                if last_at < start or first_at >= end:
                    continue
                inside = last_at if last_at < end else _newest(name, first_at, end)
                if inside is None or inside < start:
                    continue
                midnights.add(datetime(day.year, day.month, day.day, tzinfo=UTC))
                newest = inside if newest is None else max(newest, inside)
        return [*sorted(midnights), *([newest] if newest else [])]


def _newest(name: str, start: datetime, end: datetime) -> datetime | None:
    """Return when the last entry of a kind before `end` happened: a window that ends within a day."""
    found = entries(types=[name], since=start, until=end).order_by("-occurred_at")
    moment: datetime | None = found.values_list("occurred_at", flat=True).first()
    return moment


def signs_of_life(types: Sequence[str], *, start: datetime, end: datetime) -> list[datetime]:
    """Return one instant for each day on which an entry of these kinds happened, and the newest of all."""
    return Life(types, start=start, end=end).signs(types, start=start, end=end)


def alive_throughout(signs: Sequence[datetime], *, start: datetime, end: datetime, reach: timedelta) -> bool:
    """Say whether no longer silence than `reach` lies between signs of life from `start` to `end`."""
    inside = [one for one in signs if one <= end]
    if not inside or end <= start:
        return bool(inside)
    points = [start, *(one for one in inside if one > start), end]
    before = [one for one in inside if one <= start]
    # A sign shortly before the window vouches for its beginning.
    points = [max(before), *points[1:]] if before else points
    return all(later - earlier <= reach for earlier, later in pairwise(points))

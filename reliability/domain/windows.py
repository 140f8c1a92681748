"""The window that an SLO's budget is for: rolling, or a calendar period in a zone (OpenSLO v1 `timeWindow`).

Calendar periods are counted in local wall time from a start, so that a month is a month and a day with a change of the
clocks has 23 or 25 hours; the instants that come back are UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

Unit = Literal["d", "w", "M", "Q", "Y"]
_NOMINAL_DAYS = {"d": 1, "w": 7, "M": 30, "Q": 91, "Y": 365}


@dataclass(frozen=True)
class RollingWindow:
    """The last `length` up to now."""

    length: timedelta

    @property
    def label(self) -> str:
        """The length in its largest whole unit: `28d`, `6h`, `30m`."""
        minutes = self.length // timedelta(minutes=1)
        if minutes % 1440 == 0:
            return f"{minutes // 1440}d"
        return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return where the window that holds `now` begins and ends."""
        return now - self.length, now


@dataclass(frozen=True)
class CalendarWindow:
    """Periods of `count` units, one after another, from `start` (local wall time) in a zone."""

    count: int
    unit: Unit
    start: datetime
    zone: str

    @property
    def label(self) -> str:
        """The period and its zone: `1M Europe/Berlin`."""
        return f"{self.count}{self.unit} {self.zone}"

    @property
    def length(self) -> timedelta:
        """The nominal length, for figures that need one before a period is over."""
        return timedelta(days=self.count * _NOMINAL_DAYS[self.unit])

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """Return the period that holds `now`: its begin, and its end, which is the next one's begin."""
        local = now.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        number = int((local - self.start) / self.length)
        while self._begin(number) > now:
            number -= 1
        while self._begin(number + 1) <= now:
            number += 1
        return self._begin(number), self._begin(number + 1)

    def _begin(self, number: int) -> datetime:
        amount = self.count * number
        step = {
            "d": relativedelta(days=amount),
            "w": relativedelta(weeks=amount),
            "M": relativedelta(months=amount),
            "Q": relativedelta(months=3 * amount),
            "Y": relativedelta(years=amount),
        }[self.unit]
        return (self.start + step).replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)


Window = RollingWindow | CalendarWindow


def window_from_json(data: Mapping[str, Any]) -> Window:
    """Read a window: `{"minutes": 40320}`, or count, unit, start and zone of calendar periods."""
    if "minutes" in data:
        return RollingWindow(timedelta(minutes=data["minutes"]))
    return CalendarWindow(data["count"], data["unit"], datetime.fromisoformat(data["start"]), data["zone"])

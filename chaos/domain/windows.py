"""Windows of time in a zone: recurring by weekday and wall clock, or between two dates."""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"{name!r} is no IANA time zone") from None
    return name


Zone = Annotated[str, AfterValidator(_known_zone)]


class Window(BaseModel):
    """A span of time. With `days`, it recurs; with `since` and `until`, it holds between those dates, both included.

    `start` and `end` are wall-clock times in `zone`; an `end` before `start` is on the following day.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    zone: Zone = "UTC"
    days: list[Day] = Field(default=[], max_length=7)
    since: date | None = None
    until: date | None = None
    start: time = time(0, 0)
    end: time = time(0, 0)
    reason: str = Field(default="", max_length=200)

    @model_validator(mode="after")
    def _has_bounds(self) -> "Window":
        if not self.days and self.since is None and self.until is None:
            raise ValueError("give days, or since and until")
        if self.since is not None and self.until is not None and self.until < self.since:
            raise ValueError("until is before since")
        return self

    def holds_at(self, instant: datetime) -> bool:
        """Say whether an instant is in the window."""
        there = instant.astimezone(ZoneInfo(self.zone))
        clock = there.time().replace(tzinfo=None)
        if self.start < self.end:
            return self.start <= clock < self.end and self._on(there.date())
        # Over midnight, or the whole day: the part after midnight belongs to the day before.
        if clock >= self.start and self._on(there.date()):
            return True
        return clock < self.end and self._on(there.date() - timedelta(days=1))

    def _on(self, day: date) -> bool:
        if self.since is not None and day < self.since:
            return False
        if self.until is not None and day > self.until:
            return False
        return not self.days or DAYS[day.weekday()] in self.days

    def __str__(self) -> str:
        parts = [", ".join(self.days)] if self.days else []
        if self.since or self.until:
            parts.append(f"{self.since or '…'} to {self.until or '…'}")
        if self.start != self.end:
            parts.append(f"{self.start:%H:%M} to {self.end:%H:%M}")
        return f"{' '.join(parts)} {self.zone}{f' ({self.reason})' if self.reason else ''}"


def window_at(windows: Iterable[Window], instant: datetime) -> Window | None:
    """Return the first window that an instant is in."""
    return next((window for window in windows if window.holds_at(instant)), None)

"""When a step of an escalation pages a person: by severity, and by the person's own clock, days, holidays and leave."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class Person:
    """What conditions look at: the person's own wall clock, and whether the day is off."""

    name: str
    local_now: datetime
    is_holiday: bool = False
    is_absent: bool = False


@dataclass(frozen=True)
class Conditions:
    """All that are set must hold. A span of local time that ends at or before its start goes over midnight."""

    severities: tuple[str, ...] = ()
    start: time | None = None
    end: time | None = None
    weekdays: tuple[str, ...] = ()
    holidays_off: bool = False
    skip_absent: bool = False

    def refuses_severity(self, severity: str) -> str:
        """Say why the step is not for this severity; empty when it is."""
        if self.severities and severity not in self.severities:
            return f"the step is for {', '.join(self.severities).upper()}, the incident is {severity.upper()}"
        return ""

    def refuses(self, person: Person) -> str:
        """Say why a person is not paged by the step now; empty when they are."""
        now = person.local_now
        clock = f"{now:%a %H:%M}"
        if self.skip_absent and person.is_absent:
            return f"{person.name} is away"
        if self.start is not None and self.end is not None and not _within(now.time(), self.start, self.end):
            return f"it is {clock} for {person.name} and the step asks {self.start:%H:%M} to {self.end:%H:%M}"
        if self.weekdays and WEEKDAYS[now.weekday()] not in self.weekdays:
            return f"it is {clock} for {person.name} and the step asks {', '.join(self.weekdays)}"
        if self.holidays_off and person.is_holiday:
            return f"it is a public holiday for {person.name}"
        return ""


def conditions_from(stored: Mapping[str, Any]) -> Conditions:
    """Return the conditions as a step keeps them."""
    clock = stored.get("local_time") or {}
    return Conditions(
        severities=tuple(stored.get("severities", ())),
        start=time.fromisoformat(clock["from"]) if clock else None,
        end=time.fromisoformat(clock["to"]) if clock else None,
        weekdays=tuple(stored.get("weekdays", ())),
        holidays_off=bool(stored.get("holidays")),
        skip_absent=bool(stored.get("skip_absent")),
    )


def _within(at: time, start: time, end: time) -> bool:
    return start <= at < end if start < end else at >= start or at < end

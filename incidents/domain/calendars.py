"""Read and write calendars as RFC 5545 says.

Out: resolved shifts, not rules, so that overrides are right; all in UTC; a stable UID for each layer's turn; marked as
free, because being on call is no meeting. In: events with their recurrences, expanded on the wall clock.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from dateutil.rrule import rrulestr
from icalendar import Calendar, Component, Event

from incidents.domain.oncall import Shift
from incidents.domain.wall_time import instant_of

MOST_EVENTS = 2000


class CalendarRefusedError(ValueError):
    """The text is not a calendar that can be read; the message says why."""


@dataclass(frozen=True)
class CalendarEvent:
    """One occurrence."""

    key: str
    title: str
    starts_at: datetime
    ends_at: datetime


def write_calendar(
    name: str,
    schedules: Iterable[tuple[str, Sequence[Shift]]],
    *,
    changed_at: datetime,
    sequence: int,
    names: Mapping[str, str],
) -> bytes:
    """Return shifts of named schedules as a calendar; the same shifts give the same bytes.

    `names` says what people are called, by user name; whom it leaves out is called so.
    """
    calendar = Calendar()
    for key, value in (
        ("prodid", "-//Assay//On-call//EN"),
        ("version", "2.0"),
        ("method", "PUBLISH"),
        ("x-wr-calname", name),
        ("x-published-ttl", "PT1H"),
    ):
        calendar.add(key, value)
    calendar.add("refresh-interval", timedelta(hours=1), parameters={"VALUE": "DURATION"})
    seen: Counter[str] = Counter()
    for schedule, shifts in schedules:
        for shift in shifts:
            why = shift.why
            turn = f"{schedule}:{why.version}:{why.layer}:{why.turn}:{why.override}"
            uid = hashlib.sha256(f"{turn}:{seen[turn]}".encode()).hexdigest()[:32]
            seen[turn] += 1
            event = Event()
            event.add("uid", f"{uid}@assay")
            event.add("dtstamp", changed_at.astimezone(UTC))
            event.add("last-modified", changed_at.astimezone(UTC))
            event.add("sequence", sequence)
            event.add("dtstart", shift.starts_at.astimezone(UTC))
            event.add("dtend", shift.ends_at.astimezone(UTC))
            event.add("summary", f"On call: {', '.join(names.get(one, one) for one in shift.people)} ({schedule})")
            event.add("description", str(why))
            event.add("transp", "TRANSPARENT")
            event.add("x-microsoft-cdo-busystatus", "FREE")
            calendar.add_component(event)
    return bytes(calendar.to_ical())


def read_calendar(raw: bytes, *, zone: str, start: datetime, end: datetime) -> list[CalendarEvent]:
    """Return the occurrences within [start, end); `zone` is that of times without one. Raises CalendarRefusedError."""
    try:
        calendar = Calendar.from_ical(raw)
    except (ValueError, IndexError, KeyError) as error:
        raise CalendarRefusedError(f"this is no calendar: {error}") from None
    found: list[CalendarEvent] = []
    for event in calendar.walk("VEVENT"):
        if str(event.get("status", "")).upper() == "CANCELLED" or "dtstart" not in event:
            continue
        found += _occurrences(event, zone, start, end)
        if len(found) > MOST_EVENTS:
            raise CalendarRefusedError(f"it holds more than {MOST_EVENTS} events in the period")
    return sorted(found, key=lambda one: one.starts_at)


def _occurrences(event: Component, zone: str, start: datetime, end: datetime) -> list[CalendarEvent]:
    first, own_zone = _wall(event.decoded("dtstart"), zone)
    last = _last(event, first)
    length = last - first
    if length <= timedelta(0):
        return []
    walls = [first]
    if "rrule" in event:
        text: str = event["rrule"].to_ical().decode()  # type: ignore[union-attr]
        if any(word in text for word in ("SECONDLY", "MINUTELY", "BYSECOND", "BYMINUTE")):
            raise CalendarRefusedError("an event recurs more often than every hour")
        # The rule is followed on the wall clock; UNTIL may stand in UTC, which a wall time cannot be compared with.
        rule = rrulestr(text.replace("Z", "") if "UNTIL" in text else text, dtstart=first)
        margin = timedelta(days=2)
        walls = rule.between(start.replace(tzinfo=None) - length - margin, end.replace(tzinfo=None) + margin, inc=True)[
            :MOST_EVENTS
        ]
    excluded = _excluded(event, zone)
    uid, title = str(event.get("uid", "")), str(event.get("summary", ""))[:200]
    made = []
    for wall in walls:
        if wall in excluded:
            continue
        begins, ends = instant_of(wall, own_zone), instant_of(wall + length, own_zone)
        if begins < end and ends > start:
            made.append(CalendarEvent(f"{uid}:{begins:%Y%m%dT%H%M}"[:200], title, begins, ends))
    return made


def _last(event: Component, first: datetime) -> datetime:
    if "dtend" in event:
        return _wall(event.decoded("dtend"), "UTC")[0]
    if "duration" in event:
        length: timedelta = event.decoded("duration")
        return first + length
    return first + timedelta(days=1)


def _excluded(event: Component, zone: str) -> set[datetime]:
    given = event.get("exdate", [])
    lists = given if isinstance(given, list) else [given]
    return {_wall(one.dt, zone)[0] for entry in lists for one in getattr(entry, "dts", ())}


def _wall(value: date | datetime, zone: str) -> tuple[datetime, str]:
    """Return a time as naive wall time with its zone; a date is its midnight."""
    if not isinstance(value, datetime):
        return datetime.combine(value, time(0)), zone
    if value.tzinfo is None:
        return value, zone
    key = getattr(value.tzinfo, "key", None)
    if isinstance(key, str):
        return value.replace(tzinfo=None), key
    return value.astimezone(UTC).replace(tzinfo=None), "UTC"

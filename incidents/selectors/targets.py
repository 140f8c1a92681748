"""How an incident's clocks stand, on the targets that it was opened under."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any

from incidents.domain.targets import Calendar, Clock, read_clock
from incidents.models import Incident, Review
from incidents.selectors.oncall import WEEKDAYS, public_holidays

AUTHORITY_TARGET = timedelta(hours=72)


@dataclass(frozen=True)
class IncidentClock:
    """One clock of an incident, and whether it has stopped."""

    key: str
    label: str
    clock: Clock
    stopped: bool
    started_at: datetime


def calendar_from(found: Mapping[str, Any] | None, years: Sequence[int]) -> Calendar | None:
    """Return the calendar that targets describe, None for round the clock."""
    if not found:
        return None
    off = found.get("holidays") or {}
    return Calendar(
        zone=found["time_zone"],
        weekdays=frozenset(WEEKDAYS.index(day) for day in found["weekdays"]),
        opens=time.fromisoformat(found["from"]),
        closes=time.fromisoformat(found["to"]),
        holidays=public_holidays(off["country"], off.get("subdivision") or "", tuple(years)) if off else frozenset(),
    )


def clocks_of(*, incident: Incident, now: datetime) -> list[IncidentClock]:
    """Return the clocks that have started, in the order in which they matter.

    A change of severity changes the targets; what has elapsed, stays. Telling an authority counts round the clock and
    never stands still.
    """
    found: list[IncidentClock] = []
    if incident.aware_at is not None:
        told = incident.authority_notified_at
        clock = read_clock(
            target=AUTHORITY_TARGET, start=incident.aware_at, stop=told, pauses=(), calendar=None, now=now
        )
        found.append(IncidentClock("authority", "tell the authority", clock, told is not None, incident.aware_at))
    wanted: Mapping[str, float] = incident.targets.get("severities", {}).get(incident.severity, {})
    if not wanted or incident.merged_into_id is not None:
        return found
    years = range(incident.impact_started_at.year, now.year + 3)
    calendar = calendar_from(incident.targets.get("calendar"), years)
    pauses = list(incident.pauses.values_list("started_at", "ended_at"))
    for key, label, start, stop in _spans(incident, wanted):
        clock = read_clock(
            target=timedelta(seconds=wanted[key]),
            start=start,
            stop=stop,
            pauses=[] if key == "review" else pauses,
            calendar=calendar,
            now=now,
        )
        found.append(IncidentClock(key, label, clock, stop is not None, start))
    return found


def _spans(incident: Incident, wanted: Mapping[str, float]) -> list[tuple[str, str, datetime, datetime | None]]:
    over = incident.resolved_at
    told = list(incident.status_updates.order_by("at").values_list("at", flat=True))
    spans: list[tuple[str, str, datetime | None, datetime | None]] = [
        ("acknowledge", "acknowledge", incident.triggered_at, incident.acknowledged_at or over),
        ("first_update", "first word to the outside", incident.triggered_at, told[0] if told else over),
        ("update_every", "next word to the outside", told[-1] if told else None, over),
        ("mitigate", "end the impact", incident.impact_started_at, incident.mitigated_at or over),
        ("resolve", "resolve", incident.impact_started_at, over),
    ]
    if "review" in wanted and over is not None:
        review = Review.objects.filter(incident=incident).values_list("approved_at", flat=True).first()
        spans.append(("review", "review approved", over, review))
    return [(key, label, start, stop) for key, label, start, stop in spans if start is not None and key in wanted]

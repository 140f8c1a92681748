"""Write to an incident's timeline."""

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.identifiers import new_id
from core.parsing import refuse
from incidents.data import TimelineKind
from incidents.models import Incident, TimelineEntry

LONGEST_NOTE = 10_000


def add_timeline_entry(
    *,
    incident: Incident,
    kind: TimelineKind,
    text: str,
    source_key: str,
    principal: Principal,
    at: datetime | None = None,
    link: str = "",
    recorded_at: datetime | None = None,
) -> None:
    """Write an entry, in the caller's transaction; one with a source key that was used before changes nothing.

    `recorded_at` is for a caller that has just asked what time it is.
    """
    add_timeline_entries(
        [
            timeline_entry(
                incident=incident,
                kind=kind,
                text=text,
                source_key=source_key,
                principal=principal,
                at=at,
                link=link,
                recorded_at=recorded_at or database_now(),
            )
        ]
    )


def timeline_entry(
    *,
    incident: Incident,
    kind: TimelineKind,
    text: str,
    source_key: str,
    principal: Principal,
    recorded_at: datetime,
    at: datetime | None = None,
    link: str = "",
) -> TimelineEntry:
    """Return an entry that is not written yet."""
    return TimelineEntry(
        incident=incident,
        source_key=source_key[:255],
        at=at or recorded_at,
        recorded_at=recorded_at,
        kind=kind,
        text=text[:LONGEST_NOTE],
        link=link[:500],
        actor=principal.reference,
        actor_label=principal.label[:160],
    )


def add_timeline_entries(entries: Iterable[TimelineEntry]) -> None:
    """Write entries, of any incidents, in one statement; those with a source key that was used before change nothing.

    That holds among themselves too: the first of a source key counts.
    """
    TimelineEntry.objects.bulk_create(entries, ignore_conflicts=True)


def mark_engaged(*, incident: Incident, principal: Principal, now: datetime) -> None:
    """Note, once, that a person has begun to work on an incident."""
    if principal.user_id is not None:
        Incident.objects.filter(pk=incident.pk, engaged_at=None).update(engaged_at=now)


def write_note(
    *,
    principal: Principal,
    incident: Incident,
    text: str,
    source_key: str = "",
    at: datetime | None = None,
    link: str = "",
) -> TimelineEntry:
    """Write what a person has to say, with a link to what shows it. `at` may lie back: some things are told later.

    Raises PermissionDenied, and InputRefusedError for an instant ahead or a link that is none.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    now = database_now()
    if at is not None and at > now:
        raise refuse("at", found=at.isoformat(), allowed="an instant that has passed is allowed")
    if link and not link.startswith(("https://", "http://", "/")):
        raise refuse("link", found=link, allowed="an address that begins with https:// or / is allowed")
    with transaction.atomic():
        mark_engaged(incident=incident, principal=principal, now=now)
        key = (source_key or new_id("note"))[:255]
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.NOTE,
            text=text.strip(),
            source_key=key,
            principal=principal,
            at=at,
            link=link,
            recorded_at=now,
        )
        return TimelineEntry.objects.get(incident=incident, source_key=key)

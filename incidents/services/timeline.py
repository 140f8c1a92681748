"""Write to an incident's timeline."""

from datetime import datetime

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.identifiers import new_id
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
) -> TimelineEntry:
    """Write an entry, in the caller's transaction; a source key that was used before returns its entry unchanged."""
    now = database_now()
    entry, _ = TimelineEntry.objects.get_or_create(
        incident=incident,
        source_key=source_key[:255],
        defaults={
            "at": at or now,
            "recorded_at": now,
            "kind": kind,
            "text": text[:LONGEST_NOTE],
            "link": link[:500],
            "actor": principal.reference,
            "actor_label": principal.label[:160],
        },
    )
    return entry


def write_note(*, principal: Principal, incident: Incident, text: str, source_key: str = "") -> TimelineEntry:
    """Write what a person has to say. Raises PermissionDenied."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    with transaction.atomic():
        return add_timeline_entry(
            incident=incident,
            kind=TimelineKind.NOTE,
            text=text.strip(),
            source_key=source_key or new_id("note"),
            principal=principal,
        )

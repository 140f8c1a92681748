"""Clocks of an incident on the targets that it was opened under: pause them, and say when they run out."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from core.clock import database_now
from core.events import publish
from core.formatting import written_duration
from core.identifiers import new_id
from core.parsing import refuse
from delivery.data import Channel
from delivery.services import send
from incidents.data import IncidentRole, IncidentStatus, TimelineKind
from incidents.domain.targets import LATE_RATIO, ClockState
from incidents.events import IncidentTargetBreached
from incidents.models import ClockPause, Incident, IncidentTargets, Review
from incidents.selectors.targets import IncidentClock, clocks_of
from incidents.services.timeline import add_timeline_entry

WATCHER = system_principal("targets")
# The review of an incident that was resolved longer ago is no longer watched.
WATCHED_AFTER = timedelta(days=60)
TOLD_ROLES = (IncidentRole.COMMANDER, IncidentRole.COMMUNICATIONS)


def targets_for(*, team_id: int | None) -> Mapping[str, Any]:
    """Return the targets of a team, else those of all teams, to be kept with an incident; empty where none are set."""
    found = IncidentTargets.objects.filter(team_id=team_id).first() if team_id is not None else None
    found = found or IncidentTargets.objects.filter(team__isnull=True).first()
    return {"name": found.slug, **found.document} if found is not None else {}


def save_targets(
    *, principal: Principal, slug: str, name: str, team_id: int | None, document: Mapping[str, Any]
) -> None:
    """Set the targets of a team or of all; incidents that are open keep the ones they have."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    of_team = Q(team__isnull=True) if team_id is None else Q(team_id=team_id)
    taken = IncidentTargets.objects.filter(of_team).exclude(slug=slug).first()
    if taken is not None:
        raise refuse("spec.team", found=slug, allowed=f"{taken.slug} has the targets of this team already")
    IncidentTargets.objects.update_or_create(
        slug=slug, defaults={"name": name, "team_id": team_id, "document": dict(document)}
    )


def pause_clocks(*, principal: Principal, incident: Incident, reason: str, note: str = "") -> ClockPause:
    """Let the clocks stand still. Raises InputRefusedError unless the incident's targets allow this reason."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    allowed = incident.targets.get("pauses", [])
    if reason not in allowed:
        raise refuse("pause", found=reason, allowed=f"{', '.join(allowed) or 'no reason'} is allowed by its targets")
    now = database_now()
    with transaction.atomic():
        Incident.objects.select_for_update().get(pk=incident.pk)
        if incident.pauses.filter(ended_at=None).exists():
            raise refuse("pause", found="clocks that stand still already", allowed="running clocks can be paused")
        if incident.status == IncidentStatus.RESOLVED:
            raise refuse("pause", found="a resolved incident", allowed="an open one is allowed")
        pause = ClockPause.objects.create(
            incident=incident, reason=reason, note=note[:200], started_at=now, started_by=principal.label[:160]
        )
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.TARGET,
            text=f"The clocks stand still: waiting for {reason}{f' ({note})' if note else ''}",
            source_key=f"pause:{pause.pk}",
            principal=principal,
            at=now,
        )
    return pause


def resume_clocks(*, principal: Principal, incident: Incident) -> None:
    """Let the clocks run on; does nothing when they run."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    now = database_now()
    with transaction.atomic():
        for pause in incident.pauses.select_for_update().filter(ended_at=None):
            end = max(now, pause.started_at)
            ClockPause.objects.filter(pk=pause.pk).update(ended_at=end, ended_by=principal.label[:160])
            add_timeline_entry(
                incident=incident,
                kind=TimelineKind.TARGET,
                text=f"The clocks run again after {written_duration(end - pause.started_at)}",
                source_key=f"pause:{pause.pk}:ended",
                principal=principal,
                at=end,
            )


def note_awareness(*, principal: Principal, incident: Incident, at: datetime | None = None, what: str = "") -> Incident:
    """Say since when it is known that an authority must be told; the 72 hours count from there, not from detection.

    The first instant stays: a later one would lengthen the time. Raises InputRefusedError for one ahead.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    now = database_now()
    instant = at or now
    if instant > now:
        raise refuse("aware_at", found=instant.isoformat(), allowed="an instant that has passed is allowed")
    with transaction.atomic():
        locked = Incident.objects.select_for_update().get(pk=incident.pk)
        if locked.aware_at is not None and locked.aware_at <= instant:
            return locked
        Incident.objects.filter(pk=incident.pk).update(aware_at=instant)
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.OUTSIDE,
            text=f"Known since {instant:%Y-%m-%d %H:%M} UTC to be one that an authority must be told of"
            f"{f': {what}' if what else ''}",
            source_key=new_id("aware"),
            principal=principal,
            at=now,
        )
    incident.refresh_from_db()
    return incident


def note_authority_notified(*, principal: Principal, incident: Incident, reference: str = "") -> Incident:
    """Say that the authority has been told, under its reference number. The first time counts."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    now = database_now()
    with transaction.atomic():
        changed = Incident.objects.filter(pk=incident.pk, aware_at__isnull=False, authority_notified_at=None).update(
            authority_notified_at=now
        )
        incident.refresh_from_db()
        if incident.aware_at is None:
            raise refuse("authority", found="no awareness", allowed="say first since when it is known")
        if changed:
            after = written_duration(now - incident.aware_at)
            add_timeline_entry(
                incident=incident,
                kind=TimelineKind.OUTSIDE,
                text=f"The authority was told, {after} after it was known{f' ({reference})' if reference else ''}",
                source_key="authority-notified",
                principal=principal,
                at=now,
            )
    return incident


def watch_targets() -> int:
    """Write to the timeline, once each, that a clock has used up three quarters, nine tenths, or all; returns how many.

    Those who lead are told; a breach is announced as an event too.
    """
    now = database_now()
    told = 0
    watched = Incident.objects.exclude(targets={}).filter(merged_into=None)
    resolved = watched.filter(status=IncidentStatus.RESOLVED, resolved_at__gt=now - WATCHED_AFTER)
    # Three plain questions instead of one with an OR, which no index answers.
    questions = (
        watched.exclude(status=IncidentStatus.RESOLVED),
        resolved.exclude(review__state=Review.State.APPROVED),
        Incident.objects.filter(aware_at__isnull=False, authority_notified_at=None),
    )
    found = {incident.pk: incident for question in questions for incident in question}
    for incident in found.values():
        told += sum(_tell(incident, clock) for clock in clocks_of(incident=incident, now=now))
    return told


def _tell(incident: Incident, clock: IncidentClock) -> bool:
    if clock.clock.state not in {ClockState.AT_RISK, ClockState.BREACHED} or clock.stopped:
        return False
    breached = clock.clock.state is ClockState.BREACHED
    level = "breached" if breached else "90" if clock.clock.ratio >= LATE_RATIO else "75"
    key = f"target:{clock.key}:{level}"
    if incident.timeline.filter(source_key=key).exists():
        return False
    allowed = written_duration(clock.clock.target)
    text = (
        f"Target missed: {clock.label} within {allowed}"
        if breached
        else f"{level} % of the time is used up: {clock.label} within {allowed}"
    )
    with transaction.atomic():
        add_timeline_entry(incident=incident, kind=TimelineKind.TARGET, text=text, source_key=key, principal=WATCHER)
        for user_id in set(incident.roles.filter(role__in=TOLD_ROLES).values_list("user_id", flat=True)):
            send(
                channel=Channel.IN_APP,
                address=f"user:{user_id}",
                idempotency_key=f"{key}:{incident.reference}:{user_id}",
                subject=f"{incident.reference}: {text}",
                text=incident.title,
                link=f"/incidents/{incident.reference}/",
                priority=1 if breached else 5,
                about=f"incident:{incident.reference}",
            )
        if breached:
            publish(
                IncidentTargetBreached(
                    incident_id=incident.pk,
                    reference=incident.reference,
                    severity=incident.severity,
                    target=clock.key,
                    allowed_seconds=clock.clock.target.total_seconds(),
                )
            )
    return True

"""Open an incident, take it on, end its impact, resolve it; each step in one transaction with all that follows."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.data import ActivityKind, ActivityStart
from catalog.services import end_activity, start_activities
from core.clock import database_now
from core.events import publish, publish_many
from core.identifiers import new_id
from core.parsing import refuse
from incidents.data import AlertStatus, IncidentRole, IncidentStatus, Severity, TimelineKind
from incidents.events import IncidentAcknowledged, IncidentMitigated, IncidentOpened, IncidentResolved
from incidents.models import Alert, EscalationPolicy, Incident, RoleAssignment, Route, TimelineEntry
from incidents.services.causes import causes_in_words, declared_causes
from incidents.services.escalation import start_escalations, stop_escalation
from incidents.services.records import record_acknowledged, record_opened, record_resolved, record_severity
from incidents.services.reviews import draft_review
from incidents.services.targets import resume_clocks, targets_for
from incidents.services.timeline import add_timeline_entries, add_timeline_entry, mark_engaged, timeline_entry


@dataclass(frozen=True)
class Opening:
    """What an incident starts from."""

    title: str
    severity: Severity
    service_ids: Sequence[int] = ()
    service_slugs: Sequence[str] = ()
    team_id: int | None = None
    grouping_key: str = ""
    route_name: str = ""
    policy: EscalationPolicy | None = None
    runbook_slug: str = ""
    quiet_period: timedelta | None = None
    impact_started_at: datetime | None = None
    detected_at: datetime | None = None
    alert_keys: Sequence[str] = ()
    detected_by: str = "person"


def open_incident(*, principal: Principal, opening: Opening) -> Incident:
    """Open an incident, start its escalation and announce it. Raises PermissionDenied."""
    with transaction.atomic():
        (incident,) = store_openings(principal=principal, openings=[opening])
        announce_openings(principal=principal, opened=[(incident, opening)])
    return incident


def store_openings(*, principal: Principal, openings: Sequence[Opening]) -> list[Incident]:
    """Write the incidents that these begin, in this order; `announce_openings` must follow in the same transaction.

    In between, alerts that belong to them can be written. Raises PermissionDenied.
    """
    if not openings:
        return []
    for team_id in {one.team_id for one in openings}:
        ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=team_id)
    now = database_now()
    causes = declared_causes([one.service_ids for one in openings])
    targets = {team_id: targets_for(team_id=team_id) for team_id in {one.team_id for one in openings}}
    incidents = Incident.objects.bulk_create(
        [
            Incident(
                title=one.title[:200],
                severity=one.severity,
                grouping_key=one.grouping_key or new_id("inc"),
                route_name=one.route_name,
                team_id=one.team_id,
                caused_by=cause,
                runbook_slug=one.runbook_slug,
                declared_by=principal.reference,
                impact_started_at=min(one.impact_started_at or now, now),
                detected_at=min(one.detected_at or now, now),
                triggered_at=now,
                quiet_period=one.quiet_period,
                detected_by=one.detected_by[:80],
                targets=dict(targets[one.team_id]),
            )
            for one, cause in zip(openings, causes, strict=True)
        ]
    )
    through = Incident.services.through
    through.objects.bulk_create(
        [
            through(incident_id=incident.pk, service_id=service_id)
            for incident, one in zip(incidents, openings, strict=True)
            for service_id in dict.fromkeys(one.service_ids)
        ]
    )
    return incidents


def announce_openings(*, principal: Principal, opened: Sequence[tuple[Incident, Opening]]) -> None:
    """Do what follows from incidents that were just written: timeline, activity, ledger, event, escalation."""
    if not opened:
        return
    causes = causes_in_words({incident.caused_by for incident, _ in opened if incident.caused_by})
    add_timeline_entries([entry for one in opened for entry in _first_entries(*one, causes, principal=principal)])
    start_activities(
        [
            ActivityStart(
                kind=ActivityKind.INCIDENT,
                source_key=f"incident:{incident.reference}",
                title=f"{incident.reference} {incident.title}",
                url=page_of(incident),
                service_ids=tuple(opening.service_ids),
                started_at=incident.impact_started_at,
            )
            for incident, opening in opened
        ]
    )
    record_opened(
        [(incident, tuple(opening.service_slugs), opening.detected_by) for incident, opening in opened],
        principal=principal,
    )
    publish_many(
        [
            IncidentOpened(
                incident_id=incident.pk,
                reference=incident.reference,
                title=incident.title,
                severity=incident.severity,
                service_slugs=tuple(opening.service_slugs),
                alert_keys=tuple(opening.alert_keys),
                caused_by=incident.caused_by,
                opened_at=incident.triggered_at,
            )
            for incident, opening in opened
        ]
    )
    start_escalations([(incident, opening.policy) for incident, opening in opened if opening.policy is not None])


def _first_entries(
    incident: Incident, opening: Opening, causes: Mapping[str, tuple[str, str]], *, principal: Principal
) -> Iterator[TimelineEntry]:
    def entry(kind: TimelineKind, text: str, source_key: str, link: str = "") -> TimelineEntry:
        return timeline_entry(
            incident=incident,
            kind=kind,
            text=text,
            source_key=source_key,
            principal=principal,
            recorded_at=incident.triggered_at,
            link=link,
        )

    opened = f"Opened as {incident.severity.upper()}: {incident.title}"
    yield entry(TimelineKind.STATUS, opened, "opened")
    cause = incident.caused_by
    if cause:
        words, link = causes.get(cause, (cause, ""))
        text = f"{words} is running on this service and has declared itself; it is the likely cause."
        yield entry(TimelineKind.CAUSE, text, f"cause:{cause}", link)
    if opening.policy is None:
        yield entry(TimelineKind.PAGE, "Nobody is paged: no escalation policy belongs to it.", "no-policy")


def acknowledge_incident(*, principal: Principal, incident: Incident, via: str = "page") -> Incident:
    """Take an incident on; its escalation stops. Only a person can; a second acknowledgement only joins.

    Raises PermissionDenied, and InputRefusedError when nobody in particular acknowledges.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    if principal.user_id is None:
        raise refuse("acknowledge", found=principal.label, allowed="a person acknowledges (--as USERNAME)")
    now = database_now()
    with transaction.atomic():
        first = Incident.objects.filter(pk=incident.pk, status=IncidentStatus.TRIGGERED).update(
            status=IncidentStatus.ACKNOWLEDGED, acknowledged_at=now, acknowledged_by_id=principal.user_id
        )
        incident.refresh_from_db()
        if not incident.is_open:
            return incident
        _join(incident, principal.user_id, principal.reference, now)
        mark_engaged(incident=incident, principal=principal, now=now)
        if not first:
            return incident
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.STATUS,
            text=f"Acknowledged by {principal.label} ({via})",
            source_key="acknowledged",
            principal=principal,
            at=now,
        )
        stop_escalation(incident=incident, reason="acknowledged")
        record_acknowledged(incident, principal=principal)
        publish(
            IncidentAcknowledged(
                incident_id=incident.pk,
                reference=incident.reference,
                acknowledged_by=principal.label,
                acknowledged_at=now,
            )
        )
    return incident


def acknowledge_by_source(*, principal: Principal, incident: Incident, source: str) -> bool:
    """Stop the escalation because the sender of an alert says that somebody has it; False when it was taken on before.

    It is no acknowledgement by a person: the time to acknowledge stays unknown.
    """
    changed = Incident.objects.filter(pk=incident.pk, status=IncidentStatus.TRIGGERED).update(
        status=IncidentStatus.ACKNOWLEDGED
    )
    if not changed:
        return False
    incident.refresh_from_db()
    add_timeline_entry(
        incident=incident,
        kind=TimelineKind.STATUS,
        text=f"Acknowledged at its source ({source}); no person has said so here",
        source_key="acknowledged-by-source",
        principal=principal,
    )
    stop_escalation(incident=incident, reason="acknowledged at its source")
    return True


def mitigate_incident(*, principal: Principal, incident: Incident) -> Incident:
    """Say that the impact has ended. Does nothing when that was said before or the incident is resolved."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    now = database_now()
    with transaction.atomic():
        changed = Incident.objects.filter(
            pk=incident.pk, status__in=[IncidentStatus.TRIGGERED, IncidentStatus.ACKNOWLEDGED]
        ).update(status=IncidentStatus.MITIGATED, mitigated_at=now)
        incident.refresh_from_db()
        if not changed:
            return incident
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.STATUS,
            text=f"Mitigated, says {principal.label}",
            source_key="mitigated",
            principal=principal,
            at=now,
        )
        stop_escalation(incident=incident, reason="mitigated")
        publish(
            IncidentMitigated(
                incident_id=incident.pk,
                reference=incident.reference,
                mitigated_by=principal.label,
                mitigated_at=now,
            )
        )
    return incident


def resolve_incident(*, principal: Principal, incident: Incident, reason: str = "") -> Incident:
    """End an incident: stop its escalation, close its activity, record it whole, draft its review.

    Does nothing when it is resolved already. Raises PermissionDenied.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    now = database_now()
    with transaction.atomic():
        resume_clocks(principal=principal, incident=incident)
        changed = (
            Incident.objects.filter(pk=incident.pk)
            .exclude(status=IncidentStatus.RESOLVED)
            .update(status=IncidentStatus.RESOLVED, resolved_at=now, resolved_by=principal.label[:80])
        )
        incident.refresh_from_db()
        if not changed:
            return incident
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.STATUS,
            text=f"Resolved by {principal.label}{f': {reason}' if reason else ''}",
            source_key="resolved",
            principal=principal,
            at=now,
        )
        stop_escalation(incident=incident, reason="resolved")
        end_activity(source_key=f"incident:{incident.reference}", ended_at=now)
        slugs = tuple(incident.services.values_list("slug", flat=True))
        record_resolved(incident, principal=principal, service_slugs=slugs, reason=reason)
        publish(
            IncidentResolved(
                incident_id=incident.pk,
                reference=incident.reference,
                service_slugs=slugs,
                resolved_by=principal.label,
                resolved_at=now,
            )
        )
        if incident.merged_into_id is None:
            draft_review(incident=incident, now=now)
    return incident


def change_severity(*, principal: Principal, incident: Incident, severity: Severity, reason: str) -> Incident:
    """Decide another severity; who decided, and why, stands in the timeline."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    with transaction.atomic():
        before = incident.severity
        if not Incident.objects.filter(pk=incident.pk).exclude(severity=severity).update(severity=severity):
            return incident
        incident.refresh_from_db()
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.STATUS,
            text=f"Severity {before.upper()} → {severity.upper()}, decided by {principal.label}: {reason}",
            source_key=new_id("sev"),
            principal=principal,
        )
        record_severity(incident, principal=principal, before=before, reason=reason)
    return incident


def assign_role(
    *, principal: Principal, incident: Incident, role: IncidentRole, user_id: int, user_label: str
) -> RoleAssignment:
    """Give a role to a person; whoever held it (other than as responder) hands it over."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    now = database_now()
    with transaction.atomic():
        if role is not IncidentRole.RESPONDER:
            RoleAssignment.objects.filter(incident=incident, role=role).exclude(user_id=user_id).delete()
        assignment, created = RoleAssignment.objects.get_or_create(
            incident=incident,
            role=role,
            user_id=user_id,
            defaults={"assigned_at": now, "assigned_by": principal.reference},
        )
        if created:
            mark_engaged(incident=incident, principal=principal, now=now)
            add_timeline_entry(
                incident=incident,
                kind=TimelineKind.ROLE,
                text=f"{user_label} is {role.value}",
                source_key=new_id("role"),
                principal=principal,
            )
    return assignment


def grouping_key_of(route: Route, service: Any) -> str:
    """Return what names the one incident that is open for a service and route."""
    return f"{service.slug if service else '-'}:{route.slug}"


def opening_by_route(*, alert: Alert, route: Route, service: Any) -> Opening:
    """Return what the incident starts from that an alert opens; the alert need not be stored yet."""
    return Opening(
        title=alert.title,
        severity=Severity(route.severity),
        service_ids=(service.pk,) if service else (),
        service_slugs=(service.slug,) if service else (),
        team_id=service.team_id if service else None,
        grouping_key=grouping_key_of(route, service),
        route_name=route.slug,
        policy=route.policy,
        runbook_slug=route.runbook_slug,
        quiet_period=route.quiet_period,
        impact_started_at=alert.starts_at,
        detected_at=alert.first_received_at,
        alert_keys=(alert.key,),
        detected_by=f"alert:{alert.integration.slug}",
    )


def open_by_route(*, principal: Principal, alert: Alert, route: Route, service: Any) -> tuple[Incident, bool]:
    """Let an alert join the open incident of its service and route, or open one; returns it and whether it is new."""
    grouping_key = grouping_key_of(route, service)
    existing = open_by_key({grouping_key}).get(grouping_key)
    if existing is not None:
        Incident.objects.filter(pk=existing.pk).update(quiet_since=None)
    incident = existing or open_incident(
        principal=principal, opening=opening_by_route(alert=alert, route=route, service=service)
    )
    add_timeline_entry(
        incident=incident,
        kind=TimelineKind.ALERT,
        text=f"Alert fires: {alert.title}",
        source_key=f"{alert.key}:firing",
        principal=principal,
        at=alert.starts_at,
        link=f"/alerts/{alert.pk}/",
        recorded_at=alert.last_received_at,
    )
    return incident, existing is None


def open_by_key(keys: Collection[str]) -> dict[str, Incident]:
    """Return the open incidents that alerts of these services and routes join, locked.

    That is the one of the key, else the one that the last of this key turned out to be, while it is open.
    """
    if not keys:
        return {}
    locked = Incident.objects.select_for_update().filter(grouping_key__in=keys).exclude(status=IncidentStatus.RESOLVED)
    found = {one.grouping_key: one for one in locked.order_by("pk")}
    missing = [key for key in keys if key not in found]
    merged = Incident.objects.filter(grouping_key__in=missing, merged_into__isnull=False) if missing else None
    for key in sorted(set(merged.order_by().values_list("grouping_key", flat=True))) if merged is not None else ():
        taken_over = _taken_over(key)
        if taken_over is not None:
            found[key] = taken_over
    return found


def _taken_over(grouping_key: str) -> Incident | None:
    """Return the open incident that the last one of a service and route turned out to be, if any."""
    last = Incident.objects.filter(grouping_key=grouping_key).order_by("-pk").values_list("merged_into", flat=True)
    into = last.first()
    if into is None:
        return None
    return Incident.objects.select_for_update().filter(pk=into).exclude(status=IncidentStatus.RESOLVED).first()


def note_alert_resolved(*, principal: Principal, incident: Incident, alert: Alert) -> None:
    """Write that an alert is over; when it was the last that fired, the quiet period begins."""
    now = database_now()
    add_timeline_entry(
        incident=incident,
        kind=TimelineKind.ALERT,
        text=f"Alert resolved: {alert.title}",
        source_key=f"{alert.key}:resolved",
        principal=principal,
        at=alert.resolved_at,
        link=f"/alerts/{alert.pk}/",
    )
    if not Alert.objects.filter(incident=incident, status=AlertStatus.FIRING).exists():
        Incident.objects.filter(pk=incident.pk).exclude(status=IncidentStatus.RESOLVED).update(quiet_since=now)


def hold_open(*, incident: Incident, quiet_period: timedelta) -> None:
    """Let an incident wait longer for quiet, because an alert of it comes and goes; one without a period stays so."""
    Incident.objects.filter(pk=incident.pk, quiet_period__lt=quiet_period).update(quiet_period=quiet_period)


def resolve_quiet_incidents(*, principal: Principal) -> int:
    """Resolve incidents whose alerts have stayed resolved for their quiet period; returns how many."""
    now = database_now()
    waiting = Incident.objects.exclude(status=IncidentStatus.RESOLVED).filter(
        quiet_since__isnull=False, quiet_period__isnull=False
    )
    due = [i for i in waiting if i.quiet_since and i.quiet_period is not None and i.quiet_since + i.quiet_period <= now]
    for incident in due:
        seconds = int((incident.quiet_period or timedelta(0)).total_seconds())
        resolve_incident(
            principal=principal, incident=incident, reason=f"all its alerts have been resolved for {seconds} s"
        )
    return len(due)


def page_of(incident: Incident) -> str:
    """Return the address of the incident's room, within the site."""
    return f"/incidents/{incident.reference}/"


def link_runbook_run(*, principal: Principal, incident: Incident, run_reference: str, title: str, state: str) -> None:
    """Write a runbook run's state to the timeline, once for each state."""
    add_timeline_entry(
        incident=incident,
        kind=TimelineKind.RUNBOOK,
        text=f"Runbook {title}: {state}",
        source_key=f"runbook:{run_reference}:{state}",
        principal=principal,
        link=f"/runbooks/runs/{run_reference}/",
    )


def _join(incident: Incident, user_id: int, assigned_by: str, now: datetime) -> None:
    taken = {"assigned_at": now, "assigned_by": assigned_by}
    RoleAssignment.objects.get_or_create(
        incident=incident, role=IncidentRole.RESPONDER, user_id=user_id, defaults=taken
    )
    if not RoleAssignment.objects.filter(incident=incident, role=IncidentRole.COMMANDER).exists():
        RoleAssignment.objects.create(incident=incident, role=IncidentRole.COMMANDER, user_id=user_id, **taken)

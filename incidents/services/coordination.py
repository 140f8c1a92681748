"""Work on an incident together: tasks, corrections of the timeline, merging and splitting."""

from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth import get_user_model
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.events import publish
from core.identifiers import new_id
from core.parsing import refuse
from delivery.data import Channel
from delivery.services import send
from incidents.data import IncidentStatus, Severity, TimelineKind
from incidents.events import IncidentMerged
from incidents.models import Alert, Incident, IncidentTask, TimelineEntry
from incidents.services.lifecycle import Opening, open_incident, resolve_incident
from incidents.services.timeline import add_timeline_entry, mark_engaged

LONGEST_NOTE = 10_000


def add_task(*, principal: Principal, incident: Incident, title: str, owner_id: int | None = None) -> IncidentTask:
    """Write down something to do, and tell the person whose it is."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    title = title.strip()
    if not title:
        raise refuse("task", found="nothing", allowed="a few words are needed")
    now = database_now()
    owner = get_user_model().objects.filter(pk=owner_id, is_active=True).first() if owner_id else None
    with transaction.atomic():
        task = IncidentTask.objects.create(
            incident=incident,
            title=title[:300],
            owner=owner,
            created_at=now,
            created_by=principal.label[:160],
        )
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.TASK,
            text=f"Task: {task.title}{f' ({owner})' if owner else ''}",
            source_key=f"task:{task.pk}",
            principal=principal,
            at=now,
        )
        mark_engaged(incident=incident, principal=principal, now=now)
        if owner is not None and owner.pk != principal.user_id:
            send(
                channel=Channel.IN_APP,
                address=f"user:{owner.pk}",
                idempotency_key=f"task:{task.pk}",
                subject=f"{incident.reference}: {task.title}",
                text=f"A task for you, from {principal.label}.",
                link=f"/incidents/{incident.reference}/",
                priority=1,
                about=f"incident:{incident.reference}",
            )
    return task


def settle_task(*, principal: Principal, task: IncidentTask, dropped: bool = False) -> IncidentTask:
    """Say that a task is done, or not needed any more; the first word counts."""
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=task.incident.team_id)
    now = database_now()
    state = IncidentTask.State.DROPPED if dropped else IncidentTask.State.DONE
    with transaction.atomic():
        changed = IncidentTask.objects.filter(pk=task.pk, state=IncidentTask.State.OPEN).update(
            state=state, settled_at=now, settled_by=principal.label[:160]
        )
        if changed:
            add_timeline_entry(
                incident=task.incident,
                kind=TimelineKind.TASK,
                text=f"{'Not needed' if dropped else 'Done'}: {task.title}",
                source_key=f"task:{task.pk}:settled",
                principal=principal,
                at=now,
            )
            mark_engaged(incident=task.incident, principal=principal, now=now)
    task.refresh_from_db()
    return task


def correct_entry(
    *, principal: Principal, entry: TimelineEntry, text: str, at: datetime | None = None
) -> TimelineEntry:
    """Put an entry right by another one that stands in its place; the first stays as it was written.

    Raises InputRefusedError when it was corrected before (then the correction is the one to correct).
    """
    incident = entry.incident
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    text = text.strip()
    if not text:
        raise refuse("correction", found="nothing", allowed="say what is right")
    now = database_now()
    if at is not None and at > now:
        raise refuse("at", found=at.isoformat(), allowed="an instant that has passed is allowed")
    with transaction.atomic():
        locked = TimelineEntry.objects.select_for_update(of=("self",)).get(pk=entry.pk)
        if locked.corrections.exists():
            raise refuse("correction", found="an entry that was put right before", allowed="correct the later one")
        return TimelineEntry.objects.create(
            incident=incident,
            source_key=f"correction:{entry.pk}",
            at=at or entry.at,
            recorded_at=now,
            kind=entry.kind,
            text=text[:LONGEST_NOTE],
            link=entry.link,
            actor=principal.reference,
            actor_label=principal.label[:160],
            corrects=locked,
        )


def merge_incident(*, principal: Principal, incident: Incident, into: Incident) -> Incident:
    """Say that an incident is another one: its alerts, services and tasks go over, and it ends there.

    Later alerts of its service and route join the other as long as that is open. Returns the other one.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=into.team_id)
    with transaction.atomic():
        # Always in one order, so that two people who merge crosswise do not wait for each other.
        rows = Incident.objects.select_for_update().filter(pk__in=[incident.pk, into.pk]).order_by("pk")
        found = {one.pk: one for one in rows}
        source, target = found[incident.pk], found[into.pk]
        if source.pk == target.pk or not source.is_open or not target.is_open:
            raise refuse("merge", found=into.reference, allowed="two different incidents that are open")
        moved = Alert.objects.filter(incident=source).update(incident=target)
        IncidentTask.objects.filter(incident=source, state=IncidentTask.State.OPEN).update(incident=target)
        target.services.add(*source.services.all())
        Incident.objects.filter(pk=target.pk).update(
            impact_started_at=min(source.impact_started_at, target.impact_started_at),
            detected_at=min(source.detected_at, target.detected_at),
            quiet_since=None if moved else target.quiet_since,
        )
        Incident.objects.filter(pk=source.pk).update(merged_into=target)
        source.refresh_from_db()
        for one, text in (
            (source, f"Turned out to be {target.reference}; its {moved} alerts went over"),
            (target, f"{source.reference} turned out to be this one; {moved} alerts came over"),
        ):
            add_timeline_entry(
                incident=one,
                kind=TimelineKind.STATUS,
                text=text,
                source_key=f"merged:{source.pk}",
                principal=principal,
                link=f"/incidents/{(target if one is source else source).reference}/",
            )
        resolve_incident(principal=principal, incident=source, reason=f"it is {target.reference}")
        publish(IncidentMerged(incident_id=source.pk, reference=source.reference, into=target.reference))
    target.refresh_from_db()
    return target


def split_incident(
    *, principal: Principal, incident: Incident, alert_ids: Sequence[int], title: str, severity: Severity
) -> Incident:
    """Take alerts out of an incident into one of their own, because they are about something else.

    Whoever works on the first one decides who works on the second: nobody is paged by a split.
    """
    ensure_may(principal, Capability.INCIDENT_RESPOND, team_id=incident.team_id)
    with transaction.atomic():
        source = Incident.objects.select_for_update().get(pk=incident.pk)
        alerts = list(Alert.objects.filter(incident=source, pk__in=list(alert_ids)).select_related("service"))
        if not alerts or not source.is_open or source.status == IncidentStatus.RESOLVED:
            raise refuse("split", found=f"{len(alerts)} alerts", allowed="alerts of an open incident are allowed")
        services = {one.service.pk: one.service for one in alerts if one.service is not None}
        new = open_incident(
            principal=principal,
            opening=Opening(
                title=title.strip() or alerts[0].title,
                severity=severity,
                service_ids=tuple(services),
                service_slugs=tuple(one.slug for one in services.values()),
                team_id=source.team_id,
                grouping_key=new_id("split"),
                quiet_period=source.quiet_period,
                impact_started_at=min(one.starts_at for one in alerts),
                detected_at=min(one.first_received_at for one in alerts),
                alert_keys=tuple(one.key for one in alerts),
                detected_by=source.detected_by or "person",
            ),
        )
        Alert.objects.filter(pk__in=[one.pk for one in alerts]).update(incident=new)
        for one, text, other in (
            (source, f"{len(alerts)} alerts went into {new.reference}: {new.title}", new),
            (new, f"Split from {source.reference}: {', '.join(a.title for a in alerts)[:500]}", source),
        ):
            add_timeline_entry(
                incident=one,
                kind=TimelineKind.STATUS,
                text=text,
                source_key=f"split:{new.pk}",
                principal=principal,
                link=f"/incidents/{other.reference}/",
            )
    return new

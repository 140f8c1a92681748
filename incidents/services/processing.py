"""Turn a stored event into alerts, and alerts into decisions. Runs in one transaction with the settling of the row."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F

from accounts.data import system_principal
from catalog.data import ActivityKind
from catalog.selectors import service_by_slug
from catalog.services import end_activity, record_deployment, start_activity
from core.clock import database_now
from core.formatting import written_duration
from core.leases import settle
from core.parsing import InputRefusedError
from incidents.data import AlertStatus, InboundState, IncidentStatus, IntegrationKind
from incidents.domain.alert_states import Episode, Verdict, judge
from incidents.domain.deployments import ReceivedDeployment
from incidents.domain.inbound_formats import Received, ReceivedAlert, ReceivedChange, UnparsedBodyError
from incidents.models import Alert, InboundEvent, Integration, Route
from incidents.selectors.inbound import bring_bodies
from incidents.services.deciding import FLAP_WINDOW, Decision, Ruleset, decide, is_flapping, load_rules
from incidents.services.escalation import start_escalation
from incidents.services.lifecycle import acknowledge_by_source, hold_open, note_alert_resolved, open_by_route
from incidents.services.reading import INTERNAL_EVENT, read_deployment, read_event
from incidents.services.records import record_alert

ROUTER = system_principal("alert-router")
FORGES = frozenset({IntegrationKind.GITHUB, IntegrationKind.GITLAB})
LONGEST_DECISION = 1000
# A body with more alerts is worked off in slices, each in a transaction of its own, so that it holds nobody up.
SLICE = 200
KEPT_DECISIONS = 1000
TRAIL = 60


def process_event(event: InboundEvent) -> None:
    """Process a claimed event; a body that cannot be read is kept as unparsed, with the reason."""
    bring_bodies([event])
    # One event of an integration at a time: the alerts of one fingerprint must not be judged side by side.
    process_locked(Integration.objects.select_for_update(no_key=True).get(pk=event.integration_id), event)


def process_locked(integration: Integration, event: InboundEvent) -> None:
    """Process an event whose integration the caller has locked."""
    now = database_now()
    from_outside = event.method != INTERNAL_EVENT
    try:
        if from_outside and integration.kind == IntegrationKind.HEARTBEAT:
            received = _take_beat(integration, event)
        elif integration.kind in FORGES:
            _note(event, state=InboundState.PROCESSED, processed_at=now, decisions=[_deploy(integration, event)])
            return
        else:
            received = read_event(integration, event)
    except (InputRefusedError, UnparsedBodyError) as problem:
        _note(event, state=InboundState.UNPARSED, problem=str(problem)[:1000], decisions=[], processed_at=now)
        return
    rules = load_rules(now=now)
    turn = received.alerts[event.taken : event.taken + SLICE]
    decisions = [take_alert(integration, event, alert, rules, now) for alert in turn]
    decisions += [_note_change(event, change) for change in received.changes]
    kept = [*(event.decisions if event.taken else []), *decisions][:KEPT_DECISIONS]
    taken = event.taken + len(turn)
    if taken < len(received.alerts):
        settle(event, due_at=now, taken=taken, decisions=kept, attempts=0)
        return
    _note(
        event,
        state=InboundState.PROCESSED,
        problem=remarks_on(received),
        decisions=kept,
        taken=taken,
        processed_at=now,
    )


def preview_route(*, labels: dict[str, str]) -> tuple[Route | None, str]:
    """Return the route that labels would take now, and why."""
    now = database_now()
    found = decide(load_rules(now=now), labels=labels, sender="", now=now)
    return found.route, found.words


def remarks_on(received: Received) -> str:
    """Return what a person should know of a body, beside its alerts."""
    left_out = [f"{received.truncated} more alerts were left out by the sender"] if received.truncated else []
    return "; ".join([*left_out, *received.notes])


def _take_beat(integration: Integration, event: InboundEvent) -> Received:
    """Note a beat, whatever its body; after a silence it resolves the alert that the silence raised."""
    missed = integration.heartbeat_missed_at
    if integration.last_beat_at is None or integration.last_beat_at < event.received_at:
        Integration.objects.filter(pk=integration.pk).update(last_beat_at=event.received_at, heartbeat_missed_at=None)
    if missed is None:
        return Received(alerts=())
    firing = Alert.objects.filter(integration=integration, status=AlertStatus.FIRING).first()
    if firing is None:
        return Received(alerts=())
    back = ReceivedAlert(
        fingerprint=firing.fingerprint,
        firing=False,
        title=firing.title,
        labels=firing.labels,
        annotations={},
        starts_at=firing.episode_at,
        ends_at=event.received_at,
    )
    return Received(alerts=(back,))


def _deploy(integration: Integration, event: InboundEvent) -> dict[str, Any]:
    found = read_deployment(integration, event)
    if not isinstance(found, ReceivedDeployment):
        return {"alert": None, "title": "no deployment", "status": "ignored", "decision": found}
    service = service_by_slug(slug=found.service)
    title = f"deployment {found.reference}"
    if service is None:
        text = f"the catalogue has no service {found.service}; name it in the deployment's payload.service"
        return {"alert": None, "title": title, "status": "unknown", "decision": text}
    record_deployment(
        principal=ROUTER,
        reference=found.reference,
        service=service,
        author=found.author,
        started_at=found.started_at,
        finished_at=found.finished_at,
        commit=found.commit,
        result=found.result,
    )
    text = f"recorded as a deployment of {service.slug}: {found.result}"
    return {"alert": None, "title": title, "status": "processed", "decision": text}


def _note_change(event: InboundEvent, change: ReceivedChange) -> dict[str, Any]:
    service = service_by_slug(slug=change.service) if change.service else None
    key = f"change:{event.reference}"
    start_activity(
        kind=ActivityKind.DEPLOYMENT,
        source_key=key,
        title=change.title,
        url=change.url,
        service_ids=[service.pk] if service else [],
        started_at=change.at,
    )
    end_activity(source_key=key, ended_at=change.at)
    where = f"of {service.slug}" if service else f"of no service in the catalogue ({change.service or 'none named'})"
    return {"alert": None, "title": change.title, "status": "processed", "decision": f"noted as a change {where}"}


def take_alert(
    integration: Integration, event: InboundEvent, received: ReceivedAlert, rules: Ruleset, now: datetime
) -> dict[str, Any]:
    """Judge one alert of an event, do what follows, and return the decision as the event keeps it."""
    of_fingerprint = Alert.objects.filter(integration=integration, fingerprint=received.fingerprint)
    whole = of_fingerprint.select_related("integration", "route__policy", "service", "incident")
    latest = whole.order_by("-episode_at").first()
    if received.drop_unknown and (latest is None or latest.status != AlertStatus.FIRING):
        text = "dropped: no alert with this key is open"
        return {"alert": None, "title": received.title, "status": "dropped", "decision": text}
    if received.acknowledges and latest is not None:
        return _acknowledge(integration, latest)
    known = latest if latest and latest.episode_at == received.starts_at else None
    if known is None and latest is not None:
        known = whole.filter(episode_at=received.starts_at).first()
    verdict = judge(
        firing=received.firing,
        starts_at=received.starts_at,
        ends_at=received.ends_at,
        known=_episode(known),
        latest=_episode(latest),
    )
    alert = known or latest
    if verdict is Verdict.OPEN:
        alert, text = _open(integration, event, received, rules, now)
    elif verdict is Verdict.TOMBSTONE:
        alert = _create(integration, event, received, now, "its resolution came first; a late alert will page nobody")
        text = alert.decision
    elif alert is None:  # judge gives the other verdicts only for a stored episode
        raise AssertionError(verdict)
    elif verdict is Verdict.RESOLVE:
        text = _resolve(alert, received, now)
    else:
        text = _repeat(alert, received, verdict, now)
    return {
        "alert": alert.pk,
        "title": received.title,
        "status": "firing" if received.firing else "resolved",
        "verdict": verdict.value,
        "decision": text,
    }


def _acknowledge(integration: Integration, alert: Alert) -> dict[str, Any]:
    text = "acknowledged by its sender; it belongs to no incident"
    if alert.incident is not None:
        taken = acknowledge_by_source(principal=ROUTER, incident=alert.incident, source=integration.name)
        text = "acknowledged by its sender" if taken else "acknowledged already"
    return {"alert": alert.pk, "title": alert.title, "status": "acknowledged", "decision": text}


def _open(
    integration: Integration, event: InboundEvent, received: ReceivedAlert, rules: Ruleset, now: datetime
) -> tuple[Alert, str]:
    found = decide(rules, labels=received.labels, sender=integration.slug, now=now)
    alert = _create(integration, event, received, now, found.words, route=found.route, service=found.service)
    flaps = is_flapping(integration_id=integration.pk, fingerprint=received.fingerprint, now=now)
    alert.trail = [*first_steps(integration, event, received), *found.steps]
    text = settle_decision(alert, found, flaps=flaps, now=now)
    return alert, text


def first_steps(integration: Integration, event: InboundEvent, received: ReceivedAlert) -> list[str]:
    """Return how the trail of a new alert begins."""
    return [
        f"{event.reference} from {integration.slug} was received at {event.received_at:%Y-%m-%d %H:%M:%S} UTC",
        f"fingerprint {received.fingerprint}: no episode of it was open, so this is a new one",
    ]


def settle_decision(alert: Alert, found: Decision, *, flaps: int, now: datetime, prefix: str = "") -> str:
    """Do what was decided for a new or released alert, write it to the alert, and return it in words."""
    alert.suppressed_by = found.hold[:160]
    alert.flapping = bool(flaps)
    if not found.pages:
        text = words_without_page(found)
    else:
        text = _page_for(alert, found)
        if flaps and alert.incident is not None:
            hold_open(incident=alert.incident, quiet_period=FLAP_WINDOW)
            more = f"it flaps ({flaps} episodes in 30 min), so {alert.incident.reference} stays open until it is quiet"
            alert.trail = [*alert.trail, more]
            text = f"{text}; {more}"
    text = f"{prefix}{text}"
    alert.trail = [*alert.trail, f"{now:%H:%M:%S} UTC: {text}"][:TRAIL]
    alert.decision = text[:LONGEST_DECISION]
    alert.save(update_fields=["incident", "decision", "suppressed_by", "flapping", "trail"])
    return text


def words_without_page(found: Decision) -> str:
    """Return why an alert that was decided on pages nobody."""
    if found.hold:
        return f"{found.hold_words}; nobody was paged: {found.words}"
    return f"recorded only: {found.words}" if found.routes else found.words


def release_suppressed() -> int:
    """Page for alerts that still fire although what held them back is over; returns how many were released."""
    now = database_now()
    held = Alert.objects.filter(status=AlertStatus.FIRING).exclude(suppressed_by="")
    released = 0
    for pk in held.values_list("pk", flat=True)[:500]:
        with transaction.atomic():
            locked = Alert.objects.select_for_update(of=("self",)).select_related("integration", "service")
            alert = locked.filter(pk=pk, status=AlertStatus.FIRING).exclude(suppressed_by="").first()
            if alert is None:
                continue
            found = decide(load_rules(now=now), labels=alert.labels, sender=alert.integration.slug, now=now)
            if found.hold:
                if found.hold != alert.suppressed_by:
                    Alert.objects.filter(pk=pk).update(suppressed_by=found.hold, decision=found.hold_words)
                continue
            was = alert.suppressed_by.partition(":")[2]
            alert.route = found.route
            alert.save(update_fields=["route"])
            settle_decision(alert, found, flaps=0, now=now, prefix=f"{was} is over and it still fires: ")
            released += 1
    return released


def _page_for(alert: Alert, found: Decision) -> str:
    """Open an incident by the first route that opens one, and start the policies of the others on it."""
    first, *others = [one for one in found.routes if one.opens_incident]
    incident, is_new = open_by_route(principal=ROUTER, alert=alert, route=first, service=found.service)
    alert.incident = incident
    for one in others:
        if one.policy is not None and incident.status == IncidentStatus.TRIGGERED:
            start_escalation(incident=incident, policy=one.policy)
    also = f" and {', '.join(one.slug for one in others)}" if others else ""
    return f"{'opened' if is_new else 'joined'} {incident.reference}{also}: {found.words}"


def _create(
    integration: Integration,
    event: InboundEvent,
    received: ReceivedAlert,
    now: datetime,
    decision: str,
    *,
    route: Route | None = None,
    service: Any = None,
) -> Alert:
    alert = new_alert(integration, event, received, now, decision, route=route, service=service)
    alert.save(force_insert=True)
    return alert


def new_alert(
    integration: Integration,
    event: InboundEvent,
    received: ReceivedAlert,
    now: datetime,
    decision: str,
    *,
    route: Route | None = None,
    service: Any = None,
) -> Alert:
    """Return an episode that is not stored yet."""
    return Alert(
        integration=integration,
        event=event,
        fingerprint=received.fingerprint,
        episode_at=received.starts_at,
        status=AlertStatus.FIRING if received.firing else AlertStatus.RESOLVED,
        title=received.title,
        labels=dict(received.labels),
        annotations=dict(received.annotations),
        url=received.url,
        starts_at=received.starts_at,
        resolved_at=received.ends_at,
        first_received_at=now,
        last_received_at=now,
        is_tombstone=not received.firing,
        route=route,
        service=service,
        team_id=service.team_id if service else None,
        decision=decision[:LONGEST_DECISION],
        group_key=received.group_key[:500],
    )


def _resolve(alert: Alert, received: ReceivedAlert, now: datetime) -> str:
    alert.status = AlertStatus.RESOLVED
    alert.resolved_at = received.ends_at
    alert.last_received_at = now
    # The later start names the episode from now on, so that its firing state, should it come late, is old news.
    alert.episode_at = max(alert.episode_at, received.starts_at)
    alert.save(update_fields=["status", "resolved_at", "last_received_at", "episode_at"])
    if alert.incident is not None:
        note_alert_resolved(principal=ROUTER, incident=alert.incident, alert=alert)
    record_alert(alert, closed_as="resolved by its source")
    return f"resolved after {written_duration((alert.resolved_at or now) - alert.starts_at)}"


def _repeat(alert: Alert, received: ReceivedAlert, verdict: Verdict, now: datetime) -> str:
    changes: dict[str, Any] = {"occurrences": F("occurrences") + 1, "last_received_at": now}
    if verdict is Verdict.CONTINUE:
        changes["episode_at"] = received.starts_at
    Alert.objects.filter(pk=alert.pk).update(**changes)
    if verdict is Verdict.STALE:
        return "old news: this episode is over already; nobody was paged"
    reason = f" ({received.reason})" if received.reason else ""
    return f"known already{reason}; nobody was paged again"


def _episode(alert: Alert | None) -> Episode | None:
    if alert is None:
        return None
    ends_at = None if alert.status == AlertStatus.FIRING else alert.resolved_at or alert.last_received_at
    return Episode(alert.episode_at, ends_at)


def _note(event: InboundEvent, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(event, name, value)
    event.save(update_fields=list(changes))

"""Turn a stored event into alerts, and alerts into decisions. Runs in one transaction with the settling of the row."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import F

from accounts.data import system_principal
from catalog.selectors import service_by_slug
from core.clock import database_now
from core.formatting import written_duration
from core.parsing import InputRefusedError, load_json
from incidents.data import AlertStatus, InboundState, IntegrationKind
from incidents.domain.alert_states import Episode, Verdict, judge
from incidents.domain.inbound_formats import (
    GenericMapping,
    Received,
    ReceivedAlert,
    UnparsedBodyError,
    read_alertmanager,
    read_generic,
    without_nul,
)
from incidents.domain.routing import Rule, first_match, parse_matcher
from incidents.models import Alert, InboundEvent, Integration, Route
from incidents.services.lifecycle import note_alert_resolved, open_by_route
from incidents.services.receiving import MAX_BODY_BYTES
from incidents.services.records import record_alert

ROUTER = system_principal("alert-router")
INTERNAL_LABELS = ("alertname", "slo", "service", "severity", "policy")
INTERNAL_MAPPING = GenericMapping(
    labels={name: f"labels.{name}" for name in INTERNAL_LABELS},
    fingerprint=("fingerprint",),
    starts_at="starts_at",
    ends_at="ends_at",
)
LONGEST_DECISION = 1000


def process_event(event: InboundEvent) -> None:
    """Process a claimed event; a body that cannot be read is kept as unparsed, with the reason."""
    # One event of an integration at a time: the alerts of one fingerprint must not be judged side by side.
    integration = Integration.objects.select_for_update().get(pk=event.integration_id)
    now = database_now()
    try:
        received = _read(integration, event)
    except (InputRefusedError, UnparsedBodyError) as problem:
        _note(event, state=InboundState.UNPARSED, problem=str(problem)[:1000], decisions=[], processed_at=now)
        return
    routes = list(Route.objects.select_related("policy", "service"))
    decisions = [_take(integration, event, alert, routes, now) for alert in received.alerts]
    left_out = f"{received.truncated} more alerts were left out by the sender" if received.truncated else ""
    _note(event, state=InboundState.PROCESSED, problem=left_out, decisions=decisions, processed_at=now)


def preview_route(*, labels: dict[str, str]) -> tuple[Route | None, str]:
    """Return the route that labels would take now, and why."""
    return _route_for(labels, list(Route.objects.select_related("policy", "service")))


def _read(integration: Integration, event: InboundEvent) -> Received:
    raw = bytes(event.body)
    document = load_json(raw, source="body", max_bytes=MAX_BODY_BYTES)
    if b"\\u0000" in raw:
        document = without_nul(document)
    if integration.kind == IntegrationKind.ALERTMANAGER:
        return read_alertmanager(document, received_at=event.received_at)
    if integration.kind == IntegrationKind.INTERNAL:
        return read_generic(document, INTERNAL_MAPPING, received_at=event.received_at)
    mapping = GenericMapping.model_validate(integration.mapping)
    if integration.kind == IntegrationKind.STANDARD_WEBHOOKS and isinstance(document, dict) and "data" in document:
        document = {**document, **document["data"]} if isinstance(document["data"], dict) else document
    return read_generic(document, mapping, received_at=event.received_at)


def _take(
    integration: Integration, event: InboundEvent, received: ReceivedAlert, routes: Sequence[Route], now: datetime
) -> dict[str, Any]:
    of_fingerprint = Alert.objects.filter(integration=integration, fingerprint=received.fingerprint)
    whole = of_fingerprint.select_related("integration", "route__policy", "service", "incident")
    latest = whole.order_by("-episode_at").first()
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
        alert, text = _open(integration, event, received, routes, now)
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


def _open(
    integration: Integration, event: InboundEvent, received: ReceivedAlert, routes: Sequence[Route], now: datetime
) -> tuple[Alert, str]:
    route, why = _route_for(received.labels, routes)
    service = _service_for(route, received)
    alert = _create(integration, event, received, now, why, route=route, service=service)
    text = why
    if route is not None and route.opens_incident:
        incident, is_new = open_by_route(principal=ROUTER, alert=alert, route=route, service=service)
        action = "opened" if is_new else "joined"
        text = f"{action} {incident.reference}: {why}"
        alert.incident = incident
    elif route is not None:
        text = f"recorded only: {why}"
    alert.decision = text[:LONGEST_DECISION]
    alert.save(update_fields=["incident", "decision"])
    return alert, text


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
    return Alert.objects.create(
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


def _route_for(labels: Any, routes: Sequence[Route]) -> tuple[Route | None, str]:
    rules = [Rule(route.slug, tuple(parse_matcher(text) for text in route.matchers)) for route in routes]
    rule, why = first_match(rules, labels)
    return (routes[rules.index(rule)] if rule else None), why


def _service_for(route: Route | None, received: ReceivedAlert) -> Any:
    if route is not None and route.service is not None:
        return route.service
    label = route.service_label if route is not None else "service"
    slug = received.labels.get(label, "")
    return service_by_slug(slug=slug) if slug else None


def _episode(alert: Alert | None) -> Episode | None:
    if alert is None:
        return None
    ends_at = None if alert.status == AlertStatus.FIRING else alert.resolved_at or alert.last_received_at
    return Episode(alert.episode_at, ends_at)


def _note(event: InboundEvent, **changes: Any) -> None:
    for name, value in changes.items():
        setattr(event, name, value)
    event.save(update_fields=list(changes))

"""Process many stored events at once: what is plain in bulk, the rest one by one, all in one transaction.

Plain is an alert that fires, of which nothing is stored, whose fingerprint no other event of the batch names, and
which pages nobody or joins an incident that is open. Under a storm that is nearly all of them. Everything else goes
the way of `processing.process_event`, in order, so that there is one set of rules.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.clock import database_now
from core.leases import finish, finish_many
from core.parsing import InputRefusedError
from incidents.data import AlertStatus, InboundState, IncidentStatus, IntegrationKind, TimelineKind
from incidents.domain.inbound_formats import Received, ReceivedAlert, UnparsedBodyError
from incidents.models import Alert, InboundEvent, Incident, Integration, TimelineEntry
from incidents.services.deciding import Decision, Ruleset, decide, load_rules
from incidents.services.lifecycle import grouping_key_of
from incidents.services.processing import (
    FORGES,
    KEPT_DECISIONS,
    LONGEST_DECISION,
    ROUTER,
    SLICE,
    TRAIL,
    first_steps,
    new_alert,
    process_locked,
    remarks_on,
    take_alert,
    words_without_page,
)
from incidents.services.reading import INTERNAL_EVENT, read_event


@dataclass
class _Plain:
    """An event whose alerts are all plain, and what was decided for each."""

    event: InboundEvent
    integration: Integration
    received: Received
    decisions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _New:
    """An alert to store in bulk, and where its decision goes."""

    owner: _Plain
    place: int
    alert: Alert


def process_events(events: Sequence[InboundEvent]) -> None:
    """Process claimed events and settle them. Raises when any of them cannot be; then nothing may be kept."""
    wanted = sorted({event.integration_id for event in events})
    # Always in one order, so that two workers do not wait for each other; and no lock that a new event of theirs, which
    # refers to them, would have to wait for at the door.
    locked = {
        one.pk: one for one in Integration.objects.select_for_update(no_key=True).filter(pk__in=wanted).order_by("pk")
    }
    now = database_now()
    rules = load_rules(now=now)
    plain = {one.event.pk: one for one in _plain_ones(events, locked, rules)}
    gathered: list[_Plain] = []
    for event in events:
        if event.pk in plain:
            gathered.append(plain[event.pk])
            continue
        # In order: which alert comes first decides what an incident is called.
        _take_in_bulk(gathered, rules, now)
        gathered = []
        process_locked(locked[event.integration_id], event)
        if event.lease_owner:
            finish(event)
    _take_in_bulk(gathered, rules, now)


def _plain_ones(events: Sequence[InboundEvent], locked: dict[int, Integration], rules: Ruleset) -> list[_Plain]:
    if rules.needs:
        # What is held behind a provider depends on incidents that this very batch may open.
        return []
    read: list[_Plain] = []
    named: Counter[tuple[int, str]] = Counter()
    for event in events:
        integration = locked[event.integration_id]
        received = _read(integration, event)
        if received is None:
            continue
        named.update((integration.pk, one.fingerprint) for one in received.alerts)
        read.append(_Plain(event, integration, received))
    found = [
        one
        for one in read
        if 0 < len(one.received.alerts) <= SLICE
        and not one.received.changes
        and not one.event.taken
        and all(_is_plain(alert) and named[one.integration.pk, alert.fingerprint] == 1 for alert in one.received.alerts)
    ]
    fingerprints = {alert.fingerprint for one in found for alert in one.received.alerts}
    stored = set(
        Alert.objects.filter(integration_id__in=list(locked), fingerprint__in=fingerprints)
        .order_by()
        .values_list("integration_id", "fingerprint")
    )
    return [
        one
        for one in found
        if not any((one.integration.pk, alert.fingerprint) in stored for alert in one.received.alerts)
    ]


def _read(integration: Integration, event: InboundEvent) -> Received | None:
    if event.method == INTERNAL_EVENT or integration.kind == IntegrationKind.HEARTBEAT or integration.kind in FORGES:
        return None
    try:
        return read_event(integration, event)
    except (InputRefusedError, UnparsedBodyError):
        return None


def _is_plain(alert: ReceivedAlert) -> bool:
    return alert.firing and not alert.drop_unknown and not alert.acknowledges


def _take_in_bulk(plain: Sequence[_Plain], rules: Ruleset, now: datetime) -> None:
    if not plain:
        return
    rules.know_services(received.labels for one in plain for received in one.received.alerts)
    decided = [
        (one, received, decide(rules, labels=received.labels, sender=one.integration.slug, now=now))
        for one in plain
        for received in one.received.alerts
    ]
    open_ones = _open_for({_key(found) for _, _, found in decided if found.pages})
    fresh: list[_New] = []
    for one, received, found in decided:
        key = _key(found) if found.pages else ""
        if found.pages and (key not in open_ones or len(found.routes) > 1):
            one.decisions.append(take_alert(one.integration, one.event, received, rules, now))
            if key not in open_ones:
                open_ones.update(_open_for({key}))
            continue
        alert = _drafted(one, received, found, open_ones.get(key), now)
        fresh.append(_New(one, len(one.decisions), alert))
        one.decisions.append(
            {
                "title": received.title,
                "status": AlertStatus.FIRING.value,
                "verdict": "open",
                "decision": alert.decision,
            }
        )
    for new, stored in zip(fresh, Alert.objects.bulk_create([new.alert for new in fresh]), strict=True):
        new.owner.decisions[new.place] = {"alert": stored.pk, **new.owner.decisions[new.place]}
    _tell_incidents([new.alert for new in fresh if new.alert.incident is not None], now)
    finish_many(
        [
            (
                one.event,
                {
                    "state": InboundState.PROCESSED.value,
                    "problem": remarks_on(one.received),
                    "decisions": one.decisions[:KEPT_DECISIONS],
                    "taken": len(one.received.alerts),
                    "processed_at": now,
                },
            )
            for one in plain
        ]
    )


def _drafted(one: _Plain, received: ReceivedAlert, found: Decision, incident: Incident | None, now: datetime) -> Alert:
    text = (
        f"joined {incident.reference}: {found.words}"
        if found.pages and incident is not None
        else words_without_page(found)
    )
    alert = new_alert(one.integration, one.event, received, now, text, route=found.route, service=found.service)
    steps = [*first_steps(one.integration, one.event, received), *found.steps, f"{now:%H:%M:%S} UTC: {text}"]
    alert.trail = steps[:TRAIL]
    alert.decision = text[:LONGEST_DECISION]
    alert.suppressed_by = found.hold[:160]
    alert.incident = incident if found.pages else None
    return alert


def _tell_incidents(alerts: Sequence[Alert], now: datetime) -> None:
    """Write to the timelines that alerts fire, and let incidents that were quiet be so no more."""
    if not alerts:
        return
    joined = {alert.incident_id for alert in alerts if alert.incident_id is not None}
    Incident.objects.filter(pk__in=joined, quiet_since__isnull=False).update(quiet_since=None)
    TimelineEntry.objects.bulk_create(
        [
            TimelineEntry(
                incident_id=alert.incident_id,
                source_key=f"{alert.key}:firing",
                at=alert.starts_at,
                recorded_at=now,
                kind=TimelineKind.ALERT,
                text=f"Alert fires: {alert.title}",
                link=f"/alerts/{alert.pk}/",
                actor=ROUTER.reference,
                actor_label=ROUTER.label[:160],
            )
            for alert in alerts
            if alert.incident_id is not None
        ],
        ignore_conflicts=True,
    )


def _open_for(keys: set[str]) -> dict[str, Incident]:
    if not keys:
        return {}
    found = Incident.objects.select_for_update().filter(grouping_key__in=keys).exclude(status=IncidentStatus.RESOLVED)
    return {one.grouping_key: one for one in found.order_by("pk")}


def _key(found: Decision) -> str:
    return grouping_key_of(next(one for one in found.routes if one.opens_incident), found.service)

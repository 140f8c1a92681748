"""Process many stored events at once: what is plain in bulk, the rest one by one, all in one transaction.

Plain is an alert that fires, of which nothing is stored, whose fingerprint no other event of the batch names, and
which one route at most pages for. Under a storm that is nearly all of them. Everything else goes the way of
`processing.process_event`, in order, so that there is one set of rules; opening an incident is the same code for one
and for many.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from core.clock import database_now
from core.leases import finish, finish_many
from core.parsing import InputRefusedError
from incidents.data import AlertStatus, InboundState, IntegrationKind, TimelineKind
from incidents.domain.inbound_formats import Received, ReceivedAlert, UnparsedBodyError
from incidents.models import Alert, InboundEvent, Incident, Integration, Route
from incidents.selectors.inbound import bring_bodies
from incidents.services.deciding import Decision, Ruleset, decide, load_rules
from incidents.services.lifecycle import (
    Opening,
    announce_openings,
    grouping_key_of,
    open_by_key,
    opening_by_route,
    store_openings,
)
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
from incidents.services.timeline import add_timeline_entries, timeline_entry


@dataclass
class _Plain:
    """An event whose alerts are all plain, and what was decided for each."""

    event: InboundEvent
    integration: Integration
    received: Received
    decisions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class _Judged:
    """An alert to store in bulk, what was decided on it, and where among its event's decisions that stands."""

    owner: _Plain
    place: int
    received: ReceivedAlert
    found: Decision

    @property
    def route(self) -> Route:
        """The route by which it opens an incident, where it does."""
        return next(one for one in self.found.routes if one.opens_incident)

    @property
    def key(self) -> str:
        """What names the incident that it joins or opens; empty where it pages nobody."""
        return grouping_key_of(self.route, self.found.service) if self.found.pages else ""


def process_events(events: Sequence[InboundEvent]) -> None:
    """Process claimed events and settle them. Raises when any of them cannot be; then nothing may be kept."""
    bring_bodies(events)
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
    turn: list[_Judged] = []
    for one in plain:
        for received in one.received.alerts:
            found = decide(rules, labels=received.labels, sender=one.integration.slug, now=now)
            place = len(one.decisions)
            one.decisions.append({"title": received.title, "status": AlertStatus.FIRING.value})
            if found.pages and len(found.routes) > 1:
                # Several routes may page on one incident: in order, and after what came before.
                _store(turn, now)
                turn = []
                one.decisions[place] = take_alert(one.integration, one.event, received, rules, now)
            else:
                turn.append(_Judged(one, place, received, found))
    _store(turn, now)
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


def _store(turn: Sequence[_Judged], now: datetime) -> None:
    """Write alerts as they were judged, and open the incidents that the first of a service and route opens."""
    if not turn:
        return
    drafts = [
        new_alert(
            one.owner.integration,
            one.owner.event,
            one.received,
            now,
            "",
            route=one.found.route,
            service=one.found.service,
        )
        for one in turn
    ]
    open_ones = open_by_key({one.key for one in turn if one.key})
    openings: dict[str, tuple[int, Opening]] = {}
    for number, (one, alert) in enumerate(zip(turn, drafts, strict=True)):
        if one.key and one.key not in open_ones and one.key not in openings:
            opening = opening_by_route(alert=alert, route=one.route, service=one.found.service)
            openings[one.key] = (number, opening)
    opened = store_openings(principal=ROUTER, openings=[opening for _, opening in openings.values()])
    open_ones.update(zip(openings, opened, strict=True))
    openers = {number for number, _ in openings.values()}
    for number, (one, alert) in enumerate(zip(turn, drafts, strict=True)):
        _decide(alert, one, open_ones.get(one.key), opens=number in openers, now=now)
    for one, alert in zip(turn, Alert.objects.bulk_create(drafts), strict=True):
        one.owner.decisions[one.place] = {
            "alert": alert.pk,
            **one.owner.decisions[one.place],
            "verdict": "open",
            "decision": alert.decision,
        }
    announce_openings(
        principal=ROUTER,
        opened=[
            (incident, replace(opening, alert_keys=(drafts[number].key,)))
            for incident, (number, opening) in zip(opened, openings.values(), strict=True)
        ],
    )
    _tell_incidents([alert for alert in drafts if alert.incident is not None], now)


def _decide(alert: Alert, one: _Judged, incident: Incident | None, *, opens: bool, now: datetime) -> None:
    """Write to an alert what was decided on it."""
    if one.key and incident is not None:
        text = f"{'opened' if opens else 'joined'} {incident.reference}: {one.found.words}"
    else:
        text = words_without_page(one.found)
    owner = one.owner
    steps = [
        *first_steps(owner.integration, owner.event, one.received),
        *one.found.steps,
        f"{now:%H:%M:%S} UTC: {text}",
    ]
    alert.trail = steps[:TRAIL]
    alert.decision = text[:LONGEST_DECISION]
    alert.suppressed_by = one.found.hold[:160]
    alert.incident = incident if one.key else None


def _tell_incidents(alerts: Sequence[Alert], now: datetime) -> None:
    """Write to the timelines that alerts fire, and let incidents that were quiet be so no more."""
    joined = {alert.incident_id for alert in alerts if alert.incident_id is not None}
    if not joined:
        return
    Incident.objects.filter(pk__in=joined, quiet_since__isnull=False).update(quiet_since=None)
    add_timeline_entries(
        timeline_entry(
            incident=alert.incident,
            kind=TimelineKind.ALERT,
            text=f"Alert fires: {alert.title}",
            source_key=f"{alert.key}:firing",
            principal=ROUTER,
            at=alert.starts_at,
            link=f"/alerts/{alert.pk}/",
            recorded_at=now,
        )
        for alert in alerts
        if alert.incident is not None
    )

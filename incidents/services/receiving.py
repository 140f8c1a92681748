"""Keep what a sender sends, before it is told so; everything else comes later, from the stored row."""

import hashlib
import hmac
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models import F, Q

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.identifiers import new_id
from core.work import wake
from delivery.data import SignatureRefusedError, verify
from incidents.data import InboundState, IntegrationKind
from incidents.domain.cloudevents import cloudevents_of
from incidents.domain.inbound_formats import UnparsedBodyError
from incidents.domain.signatures import (
    GITHUB_SIGNATURE,
    GRAFANA_SIGNATURE,
    github_signature_fits,
    grafana_signature_fits,
)
from incidents.models import InboundBody, InboundEvent, Integration
from incidents.services.integrations import INBOUND_QUEUE, SPILL_QUEUE, hash_of

MAX_BODY_BYTES = 512 * 1024
KEPT_HEADERS = 40
ASSIGNED_KEY = "assay-dedup-key"
SECRET_HEADERS = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authorization",
        "x-api-key",
        "x-gitlab-token",
        "webhook-signature",
        GITHUB_SIGNATURE,
        "x-hub-signature",
        GRAFANA_SIGNATURE,
        ASSIGNED_KEY,
    }
)
# Of these a repeat with the very same bytes says nothing new, because each state carries its start.
REPEATS_BY_BYTES = frozenset({IntegrationKind.ALERTMANAGER, IntegrationKind.GRAFANA})


class UnknownSenderError(RuntimeError):
    """No active integration of this kind has this token, or its signature does not fit. Nothing says which."""


@dataclass(frozen=True)
class InboundRequest:
    """A request as it came in. `tokens` are all that it offers: from the path, a header or the body."""

    kind: str
    tokens: tuple[str, ...]
    method: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """What a sender is told: the reference of its event, and the key that names its alert (Events API v2)."""

    reference: str
    dedup_key: str = ""


@dataclass(frozen=True)
class _Row:
    """An event to store, and its bytes."""

    event: InboundEvent
    headers: dict[str, str]
    body: bytes


def receive(request: InboundRequest) -> Stored:
    """Store a request's bytes, committed unless the caller is in a transaction.

    The same event again returns its first row and counts the duplicate. Raises UnknownSenderError; a database error
    passes through: then nothing was stored and the sender must be told to come again.
    """
    (stored,) = receive_many([request])
    if stored is None:
        raise UnknownSenderError
    return stored


def receive_many(requests: Sequence[InboundRequest]) -> list[Stored | None]:
    """Store several requests in one transaction; None stands for an unknown sender. A database error stores nothing."""
    with transaction.atomic():
        now = database_now()
        known = _integrations_for(requests, now)
        rows: list[_Row | None] = [
            None if integration is None else _row(integration, request, now)
            for integration, request in zip(known, requests, strict=True)
        ]
        real = [row for row in rows if row is not None]
        if not real:
            return [None] * len(rows)
        InboundEvent.objects.bulk_create([row.event for row in real], ignore_conflicts=True)
        written = _store_bodies(real)
        answers: list[Stored | None] = []
        for row in rows:
            if row is None:
                answers.append(None)
                continue
            own = row.event.reference
            reference = own if own in written else _note_duplicate(row.event, now)
            answers.append(Stored(reference, row.headers.get(ASSIGNED_KEY, "")))
        for queue in {SPILL_QUEUE if row.event.spilled else INBOUND_QUEUE for row in real}:
            wake(queue)
    return answers


def is_known_sender(*, kind: str, tokens: Sequence[str]) -> bool:
    """Say whether a token opens this kind, for handshakes that carry no event."""
    request = InboundRequest(kind, tuple(tokens), "OPTIONS", b"")
    return _candidate(request, _by_hash([request], database_now())) is not None


def replay(*, principal: Principal, event: InboundEvent) -> InboundEvent:
    """Process a stored event again, from its bytes; what it already caused is recognised and not caused twice."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    with transaction.atomic():
        InboundEvent.objects.filter(pk=event.pk, lease_owner="").update(
            state=InboundState.RECEIVED,
            finished_at=None,
            dead_at=None,
            attempts=0,
            taken=0,
            problem="",
            last_error="",
            due_at=database_now(),
            replays=F("replays") + 1,
        )
        wake(INBOUND_QUEUE)
    event.refresh_from_db()
    return event


def replay_since(*, principal: Principal, integration: Integration, since: datetime) -> list[str]:
    """Process all stored events of an integration since an instant again, oldest first; returns their references."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    events = InboundEvent.objects.filter(integration=integration, received_at__gte=since).defer("body").order_by("pk")
    return [replay(principal=principal, event=event).reference for event in events]


# The rows are looked up in the statement that writes their bodies: no round trip more than without bodies apart.
_STORE_BODIES = """
WITH written AS (SELECT id, reference FROM incidents_inboundevent WHERE reference = ANY(%s)), stored AS (
    INSERT INTO incidents_inboundbody (event_id, headers, body)
    SELECT written.id, given.headers::jsonb, given.body
    FROM written JOIN (VALUES {values}) AS given (reference, headers, body) USING (reference)
)
SELECT reference FROM written
"""


def _store_bodies(rows: Sequence[_Row]) -> set[str]:
    """Store the bodies of the events that were stored; returns the references of these."""
    references = [row.event.reference for row in rows]
    if connection.vendor == "postgresql":
        values: list[Any] = [references]
        for row in rows:
            values += (row.event.reference, orjson.dumps(row.headers).decode(), row.body)
        with connection.cursor() as cursor:
            # Placeholders only; arrays would cost five times as much to write out.
            cursor.execute(_STORE_BODIES.format(values=", ".join(["(%s, %s, %s)"] * len(rows))), values)
            return {reference for (reference,) in cursor.fetchall()}
    keys = dict(InboundEvent.objects.filter(reference__in=references).order_by().values_list("reference", "pk"))
    InboundBody.objects.bulk_create(
        InboundBody(event_id=keys[row.event.reference], headers=row.headers, body=row.body)
        for row in rows
        if row.event.reference in keys
    )
    return set(keys)


def _row(integration: Integration, request: InboundRequest, now: datetime) -> _Row:
    headers = _kept_headers(request.headers)
    if integration.kind == IntegrationKind.PAGERDUTY:
        headers[ASSIGNED_KEY] = _given_key(request.body) or uuid.uuid4().hex
    event = InboundEvent(
        reference=new_id("inb"),
        integration=integration,
        idempotency_key=_idempotency_key(integration, request),
        received_at=now,
        due_at=now,
        method=request.method[:8],
        content_type=request.headers.get("content-type", "")[:200].replace("\0", ""),
        spilled=integration.flooded_at is not None,
    )
    return _Row(event, headers, request.body)


def _note_duplicate(row: InboundEvent, now: datetime) -> str:
    first = InboundEvent.objects.filter(integration_id=row.integration_id, idempotency_key=row.idempotency_key)
    first.update(duplicates=F("duplicates") + 1, last_duplicate_at=now)
    reference: str = first.values_list("reference", flat=True)[0]
    return reference


def _integrations_for(requests: Sequence[InboundRequest], now: datetime) -> list[Integration | None]:
    by_hash = _by_hash(requests, now)
    found = []
    for request in requests:
        integration = _candidate(request, by_hash)
        found.append(integration if integration is not None and _is_signed(integration, request, now) else None)
    return found


def _by_hash(requests: Sequence[InboundRequest], now: datetime) -> dict[str, Integration]:
    hashes = {hash_of(token) for request in requests for token in request.tokens if token}
    live = (
        Integration.objects.filter(state=Integration.State.ACTIVE)
        .exclude(kind=IntegrationKind.INTERNAL)
        .filter(Q(token_hash__in=hashes) | Q(previous_token_hash__in=hashes, previous_token_until__gt=now))
    )
    by_hash: dict[str, Integration] = {}
    for integration in live:
        by_hash[integration.token_hash] = integration
        if integration.previous_token_until is not None and integration.previous_token_until > now:
            by_hash[integration.previous_token_hash] = integration
    return by_hash


def _candidate(request: InboundRequest, by_hash: Mapping[str, Integration]) -> Integration | None:
    for token in request.tokens:
        integration = by_hash.get(hash_of(token)) if token else None
        if integration is not None and integration.kind == request.kind:
            return integration
    return None


def _is_signed(integration: Integration, request: InboundRequest, now: datetime) -> bool:
    """Say whether the signature fits, where the integration asks for one."""
    if not integration.signing_secret:
        return True
    live = [integration.signing_secret, *_previous_secret(integration, now)]
    if integration.kind == IntegrationKind.GRAFANA:
        return grafana_signature_fits(live, headers=request.headers, body=request.body, now=now.timestamp())
    if integration.kind == IntegrationKind.GITHUB:
        return github_signature_fits(live, headers=request.headers, body=request.body)
    try:
        verify(
            live,
            message_id=request.headers.get("webhook-id", ""),
            timestamp=request.headers.get("webhook-timestamp", ""),
            signatures=request.headers.get("webhook-signature", ""),
            body=request.body,
            now=now.timestamp(),
        )
    except SignatureRefusedError:
        return False
    return True


def _previous_secret(integration: Integration, now: datetime) -> list[str]:
    until = integration.previous_token_until
    return [integration.previous_signing_secret] if until is not None and until > now else []


def _idempotency_key(integration: Integration, request: InboundRequest) -> str:
    """Name an event: by the sender's own id where it gives one, else by its bytes where these say when it began.

    Any other body may well be news although its bytes were seen before, so it is always stored; its alert is
    recognised by its fingerprint.
    """
    headers = request.headers
    given = headers.get("webhook-id") or headers.get("idempotency-key") or headers.get("x-github-delivery") or ""
    if integration.kind == IntegrationKind.CLOUDEVENTS and not given:
        given = _cloudevent_identity(request)
    if given:
        return f"id:{hash_of(given)}"
    if integration.kind in REPEATS_BY_BYTES and b'"startsAt"' in request.body:
        return f"body:{hmac.new(str(integration.pk).encode(), request.body, hashlib.sha256).hexdigest()}"
    return new_id("any")


def _cloudevent_identity(request: InboundRequest) -> str:
    try:
        events = cloudevents_of(request.headers, _parsed_or_none(request.body))
    except UnparsedBodyError:
        return ""
    return events[0].identity if len(events) == 1 else ""


def _given_key(body: bytes) -> str:
    document = _parsed_or_none(body)
    key = document.get("dedup_key") if isinstance(document, dict) else None
    return key.replace("\0", "") if isinstance(key, str) else ""


def _parsed_or_none(body: bytes) -> object:
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return document


def _kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    kept = [(name, value) for name, value in sorted(headers.items()) if name not in SECRET_HEADERS]
    # The attributes of an event in binary mode must not be crowded out by other headers.
    kept.sort(key=lambda pair: not pair[0].startswith(("ce-", "content-type", "x-github-event")))
    return {name[:100]: value[:2000].replace("\0", "") for name, value in kept[:KEPT_HEADERS]}

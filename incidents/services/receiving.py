"""Keep what a sender sends, before it is told so; everything else comes later, from the stored row."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, Q

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.identifiers import new_id
from core.parsing import parse_document, refuse
from core.work import wake
from delivery.data import SignatureRefusedError, new_secret, verify
from incidents.data import InboundState, IntegrationKind
from incidents.domain.inbound_formats import GenericMapping
from incidents.models import InboundEvent, Integration

INBOUND_QUEUE = "incidents.inbound"
MAX_BODY_BYTES = 512 * 1024
TOKEN_OVERLAP = timedelta(hours=24)
KEPT_HEADERS = 40
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key", "webhook-signature"})


class UnknownSenderError(RuntimeError):
    """No active integration of this kind has this token, or its signature does not fit. Nothing says which."""


@dataclass(frozen=True)
class InboundRequest:
    """A request as it came in. `tokens` are all that it offers: from the path, a bearer or basic authorization."""

    kind: str
    tokens: tuple[str, ...]
    method: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def receive(request: InboundRequest) -> InboundEvent:
    """Store a request's bytes and return the row, committed unless the caller is in a transaction.

    The same event again returns its first row and counts the duplicate. Raises UnknownSenderError; a database error
    passes through: then nothing was stored and the sender must be told to come again.
    """
    integration = _integration_for(request)
    now = database_now()
    key = _idempotency_key(integration, request)
    try:
        with transaction.atomic():
            event = InboundEvent.objects.create(
                reference=new_id("inb"),
                integration=integration,
                idempotency_key=key,
                received_at=now,
                due_at=now,
                method=request.method,
                content_type=request.headers.get("content-type", "")[:200].replace("\0", ""),
                headers=_kept_headers(request.headers),
                body=request.body,
            )
            wake(INBOUND_QUEUE)
    except IntegrityError:
        event = InboundEvent.objects.get(integration=integration, idempotency_key=key)
        InboundEvent.objects.filter(pk=event.pk).update(duplicates=F("duplicates") + 1, last_duplicate_at=now)
    return event


def replay(*, principal: Principal, event: InboundEvent) -> InboundEvent:
    """Process a stored event again, from its bytes; what it already caused is recognised and not caused twice."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    with transaction.atomic():
        InboundEvent.objects.filter(pk=event.pk, lease_owner="").update(
            state=InboundState.RECEIVED,
            finished_at=None,
            dead_at=None,
            attempts=0,
            problem="",
            last_error="",
            due_at=database_now(),
            replays=F("replays") + 1,
        )
        wake(INBOUND_QUEUE)
    event.refresh_from_db()
    return event


@dataclass(frozen=True)
class NewToken:
    """An integration and its token, which is shown once."""

    integration: Integration
    token: str
    signing_secret: str = ""


def add_integration(
    *,
    principal: Principal,
    slug: str,
    kind: IntegrationKind,
    name: str = "",
    mapping: Mapping[str, object] | None = None,
) -> NewToken:
    """Create an integration. Raises InputRefusedError when the name is taken or the mapping is wrong."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    if kind is IntegrationKind.INTERNAL:
        raise refuse("kind", found=kind, allowed="a kind that others can send is allowed")
    if Integration.objects.filter(slug=slug).exists():
        raise refuse("integration", found=slug, allowed="a name that no integration has yet is allowed")
    known = parse_document(GenericMapping, mapping or {}, source="mapping")
    token = _new_token()
    integration = Integration.objects.create(
        slug=slug,
        name=name or slug,
        kind=kind,
        token_hash=hash_of(token),
        mapping=known.model_dump(mode="json", exclude_defaults=True),
        signing_secret=new_secret() if kind is IntegrationKind.STANDARD_WEBHOOKS else "",
    )
    return NewToken(integration, token, integration.signing_secret)


def rotate_integration_token(*, principal: Principal, integration: Integration) -> NewToken:
    """Give an integration a new token (and signing secret); the old ones are good for a day more."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    token = _new_token()
    with transaction.atomic():
        integration = Integration.objects.select_for_update().get(pk=integration.pk)
        integration.previous_token_hash = integration.token_hash
        integration.previous_token_until = database_now() + TOKEN_OVERLAP
        integration.token_hash = hash_of(token)
        fields = ["token_hash", "previous_token_hash", "previous_token_until"]
        if integration.signing_secret:
            integration.previous_signing_secret = integration.signing_secret
            integration.signing_secret = new_secret()
            fields += ["signing_secret", "previous_signing_secret"]
        integration.save(update_fields=fields)
    return NewToken(integration, token, integration.signing_secret)


def store_internal(*, integration_slug: str, idempotency_key: str, body: bytes) -> InboundEvent:
    """Store an event of the site itself, so that it goes the same way as everybody's. In the caller's transaction."""
    now = database_now()
    integration, _ = Integration.objects.get_or_create(
        slug=integration_slug,
        defaults={
            "name": "SLO burn-rate alerts",
            "kind": IntegrationKind.INTERNAL,
            "token_hash": hash_of(_new_token()),
        },
    )
    event, created = InboundEvent.objects.get_or_create(
        integration=integration,
        idempotency_key=idempotency_key[:160],
        defaults={
            "reference": new_id("inb"),
            "received_at": now,
            "due_at": now,
            "method": "EVENT",
            "content_type": "application/json",
            "body": body,
        },
    )
    if created:
        wake(INBOUND_QUEUE)
    return event


def hash_of(token: str) -> str:
    """Return what is stored of a token: it has 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def _integration_for(request: InboundRequest) -> Integration:
    hashes = [hash_of(token) for token in request.tokens if token]
    now = database_now()
    found = (
        Integration.objects.filter(kind=request.kind, state=Integration.State.ACTIVE)
        .exclude(kind=IntegrationKind.INTERNAL)
        .filter(Q(token_hash__in=hashes) | Q(previous_token_hash__in=hashes, previous_token_until__gt=now))
        .first()
    )
    if found is None:
        raise UnknownSenderError
    if found.kind == IntegrationKind.STANDARD_WEBHOOKS:
        try:
            verify(
                [found.signing_secret, *_previous_secret(found)],
                message_id=request.headers.get("webhook-id", ""),
                timestamp=request.headers.get("webhook-timestamp", ""),
                signatures=request.headers.get("webhook-signature", ""),
                body=request.body,
                now=now.timestamp(),
            )
        except SignatureRefusedError:
            raise UnknownSenderError from None
    return found


def _previous_secret(integration: Integration) -> list[str]:
    until = integration.previous_token_until
    return [integration.previous_signing_secret] if until is not None and until > database_now() else []


def _idempotency_key(integration: Integration, request: InboundRequest) -> str:
    """Name an event: by the sender's own id where it gives one, else by its bytes.

    A repeat of Alertmanager with the very same bytes says nothing new. A generic body without an id may well be news
    although its bytes were seen before, so it is always stored; its alert is recognised by its fingerprint.
    """
    headers = request.headers
    given = headers.get("webhook-id") or headers.get("idempotency-key") or ""
    if given:
        return f"id:{hash_of(given)}"
    if integration.kind == IntegrationKind.GENERIC:
        return new_id("any")
    digest = hmac.new(str(integration.pk).encode(), request.body, hashlib.sha256).hexdigest()
    return f"body:{digest}"


def _kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    kept = [(name, value) for name, value in sorted(headers.items()) if name not in SECRET_HEADERS]
    return {name[:100]: value[:1000].replace("\0", "") for name, value in kept[:KEPT_HEADERS]}

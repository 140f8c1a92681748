"""Look after senders: add them, give them new tokens, change what their bodies mean, tell of a flood or a silence."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import orjson
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q

from accounts.data import Capability, Principal
from accounts.selectors import users_with
from accounts.services import ensure_may
from core.clock import database_now
from core.deleting import delete_in_batches
from core.formatting import written_duration
from core.identifiers import new_id
from core.parsing import parse_document, refuse
from core.proving import dangerous
from core.work import wake
from delivery.data import Channel, new_secret
from delivery.services import send
from incidents.data import IntegrationKind
from incidents.domain.inbound_formats import GenericMapping
from incidents.models import InboundBody, InboundEvent, Integration

INBOUND_QUEUE = "incidents.inbound"
SPILL_QUEUE = "incidents.inbound-spill"
TOKEN_OVERLAP = timedelta(hours=24)
DEFAULT_BEAT = timedelta(minutes=5)
SHORTEST_BEAT = timedelta(seconds=10)
# A sender with this many events waiting is a flood: its events wait apart until a tenth is left.
FLOOD_EVENTS = 2000
KEPT_BEATS = timedelta(days=7)
SIGNED_KINDS = frozenset({IntegrationKind.STANDARD_WEBHOOKS, IntegrationKind.GITHUB})
MAY_BE_SIGNED = SIGNED_KINDS | {IntegrationKind.GRAFANA}


@dataclass(frozen=True)
class NewToken:
    """An integration and its token, which is shown once."""

    integration: Integration
    token: str
    signing_secret: str = ""

    @property
    def url(self) -> str:
        """The address to give to the sender."""
        return address_of(self.integration.kind, self.token)


def address_of(kind: str, token: str) -> str:
    """Return the address that a sender posts to; the Events API v2 has its key in the body instead."""
    site = settings.SITE_URL.rstrip("/")
    return f"{site}/v2/enqueue" if kind == IntegrationKind.PAGERDUTY else f"{site}/inbound/{kind}/{token}"


@dangerous("add an integration, whose token is shown")
def add_integration(
    *,
    principal: Principal,
    slug: str,
    kind: IntegrationKind,
    name: str = "",
    mapping: Mapping[str, object] | None = None,
    signed: bool = False,
    heartbeat_every: timedelta | None = None,
    heartbeat_grace: timedelta = timedelta(minutes=1),
    team_id: int | None = None,
) -> NewToken:
    """Create an integration. Raises InputRefusedError when the name is taken or the mapping is wrong."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    if kind is IntegrationKind.INTERNAL:
        raise refuse("kind", found=kind, allowed="a kind that others can send is allowed")
    if signed and kind not in MAY_BE_SIGNED:
        raise refuse("signed", found=kind, allowed=f"only {', '.join(sorted(MAY_BE_SIGNED))} can be signed")
    if Integration.objects.filter(slug=slug).exists():
        raise refuse("integration", found=slug, allowed="a name that no integration has yet is allowed")
    if kind is IntegrationKind.HEARTBEAT:
        heartbeat_every = heartbeat_every or DEFAULT_BEAT
        if heartbeat_every < SHORTEST_BEAT:
            raise refuse("every", found=heartbeat_every, allowed="at least 10 s are allowed")
    known = parse_document(GenericMapping, mapping or {}, source="mapping")
    token = _new_token(kind)
    integration = Integration.objects.create(
        slug=slug,
        name=name or slug,
        kind=kind,
        token_hash=hash_of(token),
        mapping=known.model_dump(mode="json", exclude_defaults=True),
        signing_secret=new_secret() if signed or kind in SIGNED_KINDS else "",
        heartbeat_every=heartbeat_every if kind is IntegrationKind.HEARTBEAT else None,
        heartbeat_grace=heartbeat_grace,
        last_beat_at=database_now() if kind is IntegrationKind.HEARTBEAT else None,
        team_id=team_id,
    )
    return NewToken(integration, token, integration.signing_secret)


@dangerous("give an integration a new token")
def rotate_integration_token(*, principal: Principal, integration: Integration) -> NewToken:
    """Give an integration a new token (and signing secret); the old ones are good for a day more."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    token = _new_token(IntegrationKind(integration.kind))
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


def save_mapping(*, principal: Principal, integration: Integration, mapping: Mapping[str, object]) -> Integration:
    """Change where an integration's bodies keep what matters. Raises InputRefusedError, PermissionDenied."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    known = parse_document(GenericMapping, mapping, source="mapping")
    integration.mapping = known.model_dump(mode="json", exclude_defaults=True)
    integration.save(update_fields=["mapping"])
    return integration


def pause_integration(*, principal: Principal, integration: Integration, paused: bool) -> None:
    """Refuse what a sender sends (as of an unknown one), or take it again."""
    ensure_may(principal, Capability.ALERTING_EDIT)
    state = Integration.State.PAUSED if paused else Integration.State.ACTIVE
    Integration.objects.filter(pk=integration.pk).update(state=state)


def store_internal(
    *,
    integration_slug: str,
    idempotency_key: str,
    body: bytes,
    name: str = "SLO burn-rate alerts",
) -> InboundEvent:
    """Store an event of the site itself, so that it goes the same way as everybody's. In the caller's transaction."""
    now = database_now()
    integration, _ = Integration.objects.get_or_create(
        slug=integration_slug,
        defaults={"name": name, "kind": IntegrationKind.INTERNAL, "token_hash": hash_of(secrets.token_urlsafe(32))},
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
        },
    )
    if created:
        InboundBody.objects.create(event=event, body=body)
        wake(INBOUND_QUEUE)
    return event


def watch_heartbeats() -> int:
    """Raise an alert for each heartbeat that is late, once for each silence; returns how many went silent."""
    now = database_now()
    silent = 0
    beating = Integration.objects.filter(
        kind=IntegrationKind.HEARTBEAT, state=Integration.State.ACTIVE, heartbeat_missed_at=None
    )
    for one in beating.exclude(last_beat_at=None):
        due = (one.last_beat_at or now) + (one.heartbeat_every or DEFAULT_BEAT) + one.heartbeat_grace
        if due > now:
            continue
        with transaction.atomic():
            if not Integration.objects.filter(
                pk=one.pk, heartbeat_missed_at=None, last_beat_at=one.last_beat_at
            ).update(heartbeat_missed_at=now):
                continue
            store_internal(
                integration_slug=one.slug,
                idempotency_key=f"missed:{due.isoformat()}",
                body=orjson.dumps(
                    {
                        "title": f"No heartbeat from {one.name}",
                        "description": f"The last beat came at {one.last_beat_at:%Y-%m-%d %H:%M:%S} UTC; one is "
                        f"expected every {written_duration(one.heartbeat_every or DEFAULT_BEAT)}.",
                        "status": "firing",
                        "labels": heartbeat_labels(one),
                        "fingerprint": "heartbeat",
                        "starts_at": due.isoformat(),
                        "url": f"/alerts/integrations/{one.slug}/",
                    }
                ),
            )
        silent += 1
    return silent


def heartbeat_labels(integration: Integration) -> dict[str, str]:
    """Return the labels of a heartbeat's alert: the fixed labels of its mapping beside its own."""
    fixed = GenericMapping.model_validate(integration.mapping).fixed_labels
    return {"alertname": "HeartbeatMissed", "heartbeat": integration.slug, "severity": "critical", **fixed}


def watch_floods() -> None:
    """Set senders apart whose events pile up, so that they slow nobody but themselves, and tell their owners."""
    waiting = Q(inbound_events__finished_at=None, inbound_events__dead_at=None)
    now = database_now()
    for one in Integration.objects.annotate(waiting=Count("inbound_events", filter=waiting)):
        if one.flooded_at is None and one.waiting >= FLOOD_EVENTS:
            with transaction.atomic():
                if not Integration.objects.filter(pk=one.pk, flooded_at=None).update(flooded_at=now):
                    continue
                InboundEvent.objects.filter(integration=one, finished_at=None, lease_owner="").update(spilled=True)
                wake(SPILL_QUEUE)
                _tell_owner(one, one.waiting)
        elif one.flooded_at is not None and one.waiting <= FLOOD_EVENTS // 10:
            Integration.objects.filter(pk=one.pk).update(flooded_at=None)


def forget_old_beats() -> int:
    """Delete worked-off beats that are older than a week; what they caused stays."""
    before = database_now() - KEPT_BEATS
    old = InboundEvent.objects.filter(
        integration__kind=IntegrationKind.HEARTBEAT, received_at__lt=before, finished_at__isnull=False, alerts=None
    )
    return delete_in_batches(old)


def hash_of(token: str) -> str:
    """Return what is stored of a token: it has at least 128 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _new_token(kind: IntegrationKind) -> str:
    # The Events API v2 expects a key of 32 characters.
    return secrets.token_hex(16) if kind is IntegrationKind.PAGERDUTY else secrets.token_urlsafe(32)


def _tell_owner(integration: Integration, waiting: int) -> None:
    hour = database_now().strftime("%Y-%m-%dT%H")
    for user in users_with(Capability.ALERTING_EDIT, team_id=integration.team_id):
        send(
            channel=Channel.IN_APP,
            address=f"user:{user.pk}",
            idempotency_key=f"flood:{integration.slug}:{hour}:{user.pk}",
            subject=f"{integration.name} floods the site: {waiting} events wait",
            text="Its events are kept and worked off apart from those of the others. Look at what it sends.",
            link=f"/alerts/integrations/{integration.slug}/",
            priority=1,
        )

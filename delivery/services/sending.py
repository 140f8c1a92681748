"""Hand a claimed delivery to its channel: begin the attempt, try, settle; each step commits before the next."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from django.db import transaction
from django.db.models import F, Max

from core.clock import database_now
from core.events import publish
from core.leases import StaleFenceError, finish, give_up, retry_later
from delivery.channels import Outcome, Webhook, message_id_for, send_mail, send_webhook, webhook_body
from delivery.data import (
    CHANNELS_OF,
    UNKNOWN_OUTCOME_RULES,
    AttemptOutcome,
    Channel,
    ConnectorKind,
    DeliveryState,
    UnknownOutcomeRule,
)
from delivery.domain.breaker import Breaker, Circuit
from delivery.domain.retries import MAIL_DELAYS, PAGE_DELAYS, WEBHOOK_DELAYS, next_delay
from delivery.events import EndpointDisabled
from delivery.models import URGENT_BELOW, Connector, Delivery, DeliveryAttempt, Endpoint
from delivery.providers import Message, place_call, send_slack, send_sms, send_teams, was_text_sent
from delivery.relays import send_relay
from delivery.services.outbox import announce_settled

PROBE_TIME = timedelta(seconds=60)
IN_ORDER_AGAIN = timedelta(seconds=1)
CONNECTED = frozenset(channel for channels in CHANNELS_OF.values() for channel in channels)
# Fences only rise: at this one nobody has held the row before.
FIRST_CLAIM = 1
VANISHED = "the worker vanished while sending; whether it arrived is unknown"


def deliver(row: Delivery) -> None:
    """Try a claimed delivery once and settle it. Raises StaleFenceError when another worker has taken it over.

    1. An attempt that a vanished worker left open is closed as unknown; the channel's rule is to send again.
    2. A disabled endpoint or an open circuit stops it here, without costing a try.
    3. The attempt is written and committed, then the outside is touched, then the outcome is written.
    """
    vanished = _close_vanished_attempt(row)
    endpoint = None
    if row.channel == Channel.WEBHOOK:
        endpoint = Endpoint.objects.filter(slug=row.address).first()
        if endpoint is None or endpoint.state == Endpoint.State.DISABLED:
            reason = endpoint.disabled_reason if endpoint else "no endpoint has this name"
            _give_up(row, error=f"endpoint {row.address} is off: {reason}")
            return
        if wait := _wait_for_circuit(endpoint):
            retry_later(row, delay=wait, error=f"the circuit of {row.address} is open; waiting")
            return
    if row.order_key and _is_behind(row):
        retry_later(row, delay=IN_ORDER_AGAIN, error="waits for what was put in before it")
        return
    sender = _prepare(row, endpoint)
    if vanished and (known := _known_after_all(row, sender)) is not None:
        _settle_unknown(row, known)
        return
    attempt = _begin_attempt(row, sender)
    outcome = sender.send()
    _settle(row, attempt, endpoint, outcome)


@dataclass(frozen=True)
class _Sender:
    digest: str
    webhook: Webhook | None
    row: Delivery
    message: Message | None = None

    def send(self) -> Outcome:
        if self.webhook is not None:
            return send_webhook(self.webhook, now=database_now())
        if self.row.channel in CONNECTED:
            if self.message is None:
                return Outcome(accepted=False, error=f"no connector is named {self.row.address}", permanent=True)
            return _by_connector(self.row.channel, self.message)
        text = self.row.text if not self.row.link else f"{self.row.text}\n\n{self.row.link}"
        return send_mail(
            to=self.row.address,
            subject=self.row.subject,
            text=text,
            message_id=message_id_for(self.row.idempotency_key),
        )


def _message_of(row: Delivery) -> Message | None:
    slug, _, target = row.address.partition("/")
    connector = Connector.objects.filter(slug=slug).first()
    if connector is None or Channel(row.channel) not in CHANNELS_OF[ConnectorKind(connector.kind)]:
        return None
    more = row.payload or {}
    return Message(
        reference=row.reference,
        target=target,
        subject=row.subject,
        text=row.text,
        link=row.link,
        acknowledge=str(more.get("acknowledge", "")),
        acknowledge_url=str(more.get("acknowledge_url", "")),
        voice_url=str(more.get("voice_url", "")),
        settings=connector.settings,
        allow=tuple(connector.allow),
    )


def _by_connector(channel: str, message: Message) -> Outcome:
    now = database_now()
    match Channel(channel):
        case Channel.SLACK:
            return send_slack(message, now=now)
        case Channel.TEAMS:
            return send_teams(message, now=now)
        case Channel.SMS:
            return send_sms(message, now=now)
        case Channel.VOICE:
            return place_call(message, now=now)
    return send_relay(message)


def _prepare(row: Delivery, endpoint: Endpoint | None) -> _Sender:
    if row.channel in CONNECTED:
        return _Sender(digest=sha256(row.text.encode()).hexdigest(), webhook=None, row=row, message=_message_of(row))
    if endpoint is None:
        return _Sender(digest=sha256(row.text.encode()).hexdigest(), webhook=None, row=row)
    body = webhook_body(row.payload or {})
    secrets = [endpoint.secret]
    until = endpoint.previous_secret_until
    if endpoint.previous_secret and until is not None and until > database_now():
        secrets.append(endpoint.previous_secret)
    webhook = Webhook(
        url=endpoint.url,
        message_id=row.reference,
        body=body,
        live_secrets=tuple(secrets),
        allow=tuple(endpoint.allow),
    )
    return _Sender(digest=sha256(body).hexdigest(), webhook=webhook, row=row)


def _close_vanished_attempt(row: Delivery) -> bool:
    """Close the attempt that a vanished worker left open; say whether there was one."""
    if row.fence == FIRST_CLAIM:
        return False
    return (
        DeliveryAttempt.objects.filter(delivery=row, outcome=AttemptOutcome.STARTED).update(
            outcome=AttemptOutcome.UNKNOWN, finished_at=database_now(), error=VANISHED
        )
        > 0
    )


def _known_after_all(row: Delivery, sender: "_Sender") -> Outcome | None:
    """Return what became of a try whose worker vanished, by the rule of its channel; None means: try again."""
    rule = UNKNOWN_OUTCOME_RULES[Channel(row.channel)]
    if rule is UnknownOutcomeRule.SKIP:
        return Outcome(accepted=False, error=VANISHED, permanent=True)
    if rule is UnknownOutcomeRule.CHECK and sender.message is not None:
        sent = was_text_sent(sender.message, since=row.created_at)
        if sent is None:
            return Outcome(accepted=False, error="the provider could not be asked whether it has the message")
        return Outcome(accepted=True) if sent else None
    return None


def _settle_unknown(row: Delivery, outcome: Outcome) -> None:
    if outcome.accepted:
        with transaction.atomic():
            finish(row, state=DeliveryState.SENT, sent_at=database_now())
            announce_settled([row])
    elif outcome.permanent:
        _give_up(row, error=outcome.error)
    else:
        # Nothing was tried, so the next worker must ask again: a new open attempt says so.
        _begin_attempt(row, _Sender(digest="", webhook=None, row=row))
        retry_later(row, delay=_delays(row)[0], error=outcome.error)


def _is_behind(row: Delivery) -> bool:
    earlier = Delivery.objects.filter(order_key=row.order_key, pk__lt=row.pk, state=DeliveryState.PENDING)
    return earlier.exists()


def _begin_attempt(row: Delivery, sender: _Sender) -> DeliveryAttempt:
    with transaction.atomic():
        if not Delivery.objects.filter(pk=row.pk, fence=row.fence).update(tries=F("tries") + 1):
            raise StaleFenceError(f"delivery {row.pk} was taken over")
        last = 0
        if row.fence != FIRST_CLAIM:
            last = DeliveryAttempt.objects.filter(delivery=row).aggregate(last=Max("number"))["last"] or 0
        attempt = DeliveryAttempt.objects.create(
            delivery=row, number=last + 1, started_at=database_now(), request_sha256=sender.digest
        )
    row.tries += 1
    return attempt


def _settle(row: Delivery, attempt: DeliveryAttempt, endpoint: Endpoint | None, outcome: Outcome) -> None:
    now = database_now()
    with transaction.atomic():
        DeliveryAttempt.objects.filter(pk=attempt.pk, outcome=AttemptOutcome.STARTED).update(
            outcome=AttemptOutcome.ACCEPTED if outcome.accepted else AttemptOutcome.FAILED,
            finished_at=now,
            http_status=outcome.http_status,
            error=outcome.error[:1000],
            response_excerpt=outcome.response_excerpt[:1000],
        )
        if endpoint is not None:
            _note_endpoint(endpoint, outcome, now)
        if outcome.accepted:
            finish(row, state=DeliveryState.SENT, sent_at=now)
            announce_settled([row])
            return
        delay = None
        if not outcome.permanent:
            delay = next_delay(
                _delays(row),
                tries=row.tries,
                chance=random.random(),  # noqa: S311 jitter, not a secret
                retry_after=outcome.retry_after,
            )
        if delay is None:
            _give_up(row, error=outcome.error)
        else:
            retry_later(row, delay=delay, error=outcome.error)


def _give_up(row: Delivery, *, error: str) -> None:
    with transaction.atomic():
        give_up(row, error=error, state=DeliveryState.DEAD)
        announce_settled([row])


def _delays(row: Delivery) -> tuple[timedelta, ...]:
    if row.channel == Channel.WEBHOOK:
        return WEBHOOK_DELAYS
    return PAGE_DELAYS if row.priority < URGENT_BELOW else MAIL_DELAYS


def _wait_for_circuit(endpoint: Endpoint) -> timedelta | None:
    """Return how long to wait, or None to go ahead; going ahead on an open circuit takes the one probe."""
    now = database_now()
    breaker = endpoint.breaker
    if breaker.circuit is Circuit.CLOSED:
        return None
    if breaker.may_probe(now) and Endpoint.objects.filter(
        pk=endpoint.pk, circuit=breaker.circuit, circuit_until=breaker.until
    ).update(circuit=Circuit.HALF_OPEN, circuit_until=now + PROBE_TIME):
        return None
    until = breaker.until or now
    return max(until - now, timedelta(seconds=1)) + timedelta(seconds=random.uniform(0, 2))  # noqa: S311 jitter


def _note_endpoint(endpoint: Endpoint, outcome: Outcome, now: datetime) -> None:
    current = Endpoint.objects.select_for_update().get(pk=endpoint.pk)
    after: Breaker = current.breaker.after_success() if outcome.accepted else current.breaker.after_failure(now)
    current.circuit = after.circuit
    current.failures_in_row = after.failures_in_row
    current.circuit_until = after.until
    fields = ["circuit", "failures_in_row", "circuit_until"]
    if outcome.gone and current.state == Endpoint.State.ACTIVE:
        current.state = Endpoint.State.DISABLED
        current.disabled_at = now
        current.disabled_reason = "the receiver answered 410 Gone"
        fields += ["state", "disabled_at", "disabled_reason"]
        publish(EndpointDisabled(endpoint=current.slug, reason=current.disabled_reason))
    current.save(update_fields=fields)

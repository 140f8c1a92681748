from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from accounts.data import system_principal
from core.events import Event
from core.leases import claim_due
from core.work import drain
from delivery.channels import Outcome
from delivery.data import AttemptOutcome, Channel, DeliveryState, Outgoing, verify
from delivery.models import Delivery, DeliveryAttempt, Endpoint, Notification
from delivery.selectors import unread_count
from delivery.services import (
    create_endpoint,
    mark_read,
    redeliver,
    rotate_endpoint_secret,
    send,
    send_many,
    withdraw_pending,
)
from delivery.services.outbox import ORDINARY_QUEUE, URGENT_QUEUE
from tests.delivery.conftest import Sink
from tests.passing_time import let_pass

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

ADMIN = system_principal("test")


def a_webhook(key: str = "k1", **changes: object) -> Delivery:
    return send(channel=Channel.WEBHOOK, address="chat", idempotency_key=key, subject="Hello", text="text", **changes)  # type: ignore[arg-type]


def a_mail(key: str = "m1", **changes: object) -> Delivery:
    return send(
        channel=Channel.EMAIL,
        address="alice@example.org",
        idempotency_key=key,
        subject="Fire\nBcc: x",
        text="come",
        **changes,  # type: ignore[arg-type]
    )


def make_due() -> None:
    Delivery.objects.update(due_at=timezone.now() - timedelta(seconds=1))


def test_the_same_key_gives_one_row_and_one_message(endpoint: Endpoint, sink: Sink) -> None:
    assert a_webhook().pk == a_webhook().pk
    drain(ORDINARY_QUEUE)
    assert len(sink.requests) == 1
    assert Delivery.objects.get().state == DeliveryState.SENT


def test_messages_put_in_together_keep_their_order_and_a_key_that_was_used_its_row(endpoint: Endpoint) -> None:
    first = a_webhook("k1")

    def one(key: str, channel: Channel = Channel.WEBHOOK, address: str = "chat") -> Outgoing:
        return Outgoing(channel=channel, address=address, idempotency_key=key, subject="Hello", text="text")

    rows = send_many([one("k0"), one("k1"), one("k2", Channel.IN_APP, "user:1"), one("k0")])
    assert [row.idempotency_key for row in rows] == ["k0", "k1", "k2", "k0"]
    assert rows[1].pk == first.pk
    assert rows[3].pk == rows[0].pk
    assert Delivery.objects.count() == 3
    assert Notification.objects.get().delivery == rows[2]
    assert DeliveryAttempt.objects.get().delivery == rows[2]
    assert Event.objects.filter(kind="delivery.settled").count() == 1
    assert send_many([]) == []


def test_a_webhook_is_signed_so_that_the_receiver_can_verify_it(endpoint: Endpoint, sink: Sink) -> None:
    a_webhook(payload={"type": "x", "data": {"b": 1, "a": 2}})
    drain(ORDINARY_QUEUE)
    headers, body = sink.requests[0]
    verify(
        [endpoint.secret],
        message_id=headers["webhook-id"],
        timestamp=headers["webhook-timestamp"],
        signatures=headers["webhook-signature"],
        body=body,
        now=timezone.now().timestamp(),
    )


def test_during_a_rotation_the_old_secret_and_the_new_one_verify(endpoint: Endpoint, sink: Sink) -> None:
    renewed = rotate_endpoint_secret(principal=ADMIN, endpoint=endpoint)
    assert renewed.secret != endpoint.secret
    a_webhook()
    drain(ORDINARY_QUEUE)
    headers, body = sink.requests[0]
    for secret in (endpoint.secret, renewed.secret):
        verify(
            [secret],
            message_id=headers["webhook-id"],
            timestamp=headers["webhook-timestamp"],
            signatures=headers["webhook-signature"],
            body=body,
            now=timezone.now().timestamp(),
        )


def test_secrets_are_encrypted_at_rest(endpoint: Endpoint) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM delivery_endpoint")
        stored = cursor.fetchone()[0]
    assert "whsec_" not in stored
    assert Endpoint.objects.get().secret.startswith("whsec_")


def test_a_failure_is_retried_with_the_same_id_and_each_try_is_kept(endpoint: Endpoint, sink: Sink) -> None:
    sink.answers = [(500, {})]
    row = a_webhook()
    drain(ORDINARY_QUEUE)
    row.refresh_from_db()
    assert row.state == DeliveryState.PENDING
    assert timedelta(seconds=2) < row.due_at - timezone.now() < timedelta(seconds=7)
    make_due()
    drain(ORDINARY_QUEUE)
    assert [headers["webhook-id"] for headers, _ in sink.requests] == [row.reference, row.reference]
    assert sink.requests[0][1] == sink.requests[1][1]
    assert list(DeliveryAttempt.objects.values_list("outcome", "http_status")) == [("failed", 500), ("accepted", 200)]


def test_retry_after_is_honoured(endpoint: Endpoint, sink: Sink) -> None:
    sink.answers = [(429, {"Retry-After": "900"})]
    row = a_webhook()
    drain(ORDINARY_QUEUE)
    row.refresh_from_db()
    assert row.due_at - timezone.now() > timedelta(seconds=890)


def test_410_disables_the_endpoint_and_redelivery_after_enabling_works(endpoint: Endpoint, sink: Sink) -> None:
    from delivery.services import enable_endpoint

    sink.answers = [(410, {})]
    row = a_webhook()
    drain(ORDINARY_QUEUE)
    endpoint.refresh_from_db()
    row.refresh_from_db()
    assert (endpoint.state, row.state) == (Endpoint.State.DISABLED, DeliveryState.DEAD)
    assert Event.objects.filter(kind="delivery.endpoint-disabled").exists()
    enable_endpoint(principal=ADMIN, endpoint=endpoint)
    redeliver(principal=ADMIN, delivery=row)
    drain(ORDINARY_QUEUE)
    row.refresh_from_db()
    assert row.state == DeliveryState.SENT
    assert {headers["webhook-id"] for headers, _ in sink.requests} == {row.reference}


def test_the_last_failure_makes_a_dead_letter_and_says_so(endpoint: Endpoint, sink: Sink) -> None:
    sink.answers = [(500, {})]
    a_webhook()
    Delivery.objects.update(tries=9)
    drain(ORDINARY_QUEUE)
    row = Delivery.objects.get()
    assert row.state == DeliveryState.DEAD
    assert row.dead_at is not None
    settled = Event.objects.get(kind="delivery.settled")
    assert (settled.payload["state"], settled.payload["error"]) == ("dead", "the receiver answered 500")


def test_an_open_circuit_keeps_deliveries_and_costs_no_try(endpoint: Endpoint, sink: Sink) -> None:
    sink.answers = [(500, {})] * 5
    for n in range(8):
        a_webhook(f"k{n}")
    drain(ORDINARY_QUEUE)
    endpoint.refresh_from_db()
    assert endpoint.circuit == "open"
    assert len(sink.requests) == 5
    assert Delivery.objects.filter(tries=0, state=DeliveryState.PENDING).count() == 3
    Endpoint.objects.update(circuit_until=timezone.now() - timedelta(seconds=1))
    make_due()
    drain(ORDINARY_QUEUE)
    endpoint.refresh_from_db()
    assert endpoint.circuit == "closed"
    assert Delivery.objects.filter(state=DeliveryState.SENT).count() == 8


def test_a_private_address_is_refused_unless_the_endpoint_allows_it(endpoint: Endpoint, sink: Sink) -> None:
    Endpoint.objects.update(allow=[])
    a_webhook()
    drain(ORDINARY_QUEUE)
    assert sink.requests == []
    assert "not public" in DeliveryAttempt.objects.get().error


def test_a_worker_that_vanished_while_sending_leaves_an_unknown_attempt_and_the_mail_is_sent_again() -> None:
    row = a_mail()
    (claimed,) = claim_due(Delivery.objects.all(), lease_for=timedelta(seconds=-1))
    DeliveryAttempt.objects.create(delivery=claimed, number=1, started_at=timezone.now())
    drain(ORDINARY_QUEUE)
    outcomes = list(DeliveryAttempt.objects.filter(delivery=row).values_list("outcome", flat=True))
    assert outcomes == [AttemptOutcome.UNKNOWN, AttemptOutcome.ACCEPTED]
    assert Delivery.objects.count() == 1
    assert len(mail.outbox) == 1


def test_a_stale_worker_cannot_overwrite_what_its_successor_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    from delivery.services import deliver, sending

    a_mail()
    (stale,) = claim_due(Delivery.objects.all(), lease_for=timedelta(seconds=-1))

    def overtaken(**_: object) -> Outcome:
        monkeypatch.setattr(sending, "send_mail", lambda **_: Outcome(accepted=True))
        drain(ORDINARY_QUEUE)
        return Outcome(accepted=False, error="late")

    monkeypatch.setattr(sending, "send_mail", overtaken)
    from core.leases import StaleFenceError

    with pytest.raises(StaleFenceError):
        deliver(stale)
    row = Delivery.objects.get()
    assert (row.state, row.last_error) == (DeliveryState.SENT, "")
    assert list(DeliveryAttempt.objects.values_list("outcome", flat=True)) == ["unknown", "accepted"]


def test_mail_carries_a_message_id_of_its_key_and_no_injected_header() -> None:
    a_mail()
    drain(ORDINARY_QUEUE)
    (message,) = mail.outbox
    assert message.subject == "Fire Bcc: x"
    first = message.extra_headers["Message-ID"]
    redeliver(principal=ADMIN, delivery=Delivery.objects.get())
    drain(ORDINARY_QUEUE)
    assert mail.outbox[1].extra_headers["Message-ID"] == first


def test_urgent_messages_have_their_own_queue() -> None:
    a_mail("slow")
    a_mail("fast", priority=1)
    assert drain(URGENT_QUEUE) == 1
    assert Delivery.objects.get(state=DeliveryState.SENT).idempotency_key == "fast"


def test_an_in_app_message_is_there_at_once_and_unread_until_read() -> None:
    for _ in range(2):
        send(channel=Channel.IN_APP, address="user:7", idempotency_key="n1", subject="Look", text="at this")
    assert unread_count(recipient="user:7") == 1
    note = Notification.objects.get()
    assert not mark_read(recipient="user:8", notification_id=note.pk)
    assert mark_read(recipient="user:7", notification_id=note.pk)
    assert unread_count(recipient="user:7") == 0


def test_what_was_not_handed_over_can_be_withdrawn() -> None:
    a_mail(about="incident:INC-1")
    assert withdraw_pending(about="incident:INC-1") == 1
    drain(ORDINARY_QUEUE)
    assert mail.outbox == []
    assert Delivery.objects.get().state == DeliveryState.WITHDRAWN


def test_a_page_is_given_up_after_its_four_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    from delivery.services import sending

    monkeypatch.setattr(sending, "send_mail", lambda **_: Outcome(accepted=False, error="down"))
    a_mail(priority=1)
    for _ in range(10):
        drain(URGENT_QUEUE)
        let_pass(timedelta(seconds=60))
    row = Delivery.objects.get()
    assert (row.state, row.tries) == (DeliveryState.DEAD, 4)


def test_an_endpoint_needs_a_web_address_and_an_administrator() -> None:
    from django.core.exceptions import PermissionDenied

    from accounts.data import Principal, PrincipalKind
    from core.parsing import InputRefusedError

    with pytest.raises(InputRefusedError):
        create_endpoint(principal=ADMIN, slug="x", url="file:///etc/passwd")
    with pytest.raises(PermissionDenied):
        create_endpoint(principal=Principal(kind=PrincipalKind.USER, label="v"), slug="x", url="https://example.org")

"""Chat, texts and calls against faithful fakes: what is sent, what failure means, and the rule for unknown outcomes."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from accounts.data import system_principal
from core.leases import claim_due
from core.parsing import InputRefusedError
from core.work import drain
from delivery.data import Channel, ConnectorKind, DeliveryState
from delivery.models import Connector, Delivery, DeliveryAttempt, Endpoint
from delivery.services import save_connector, send
from delivery.services.outbox import ORDINARY_QUEUE, URGENT_QUEUE
from tests.delivery.conftest import Sink
from tests.delivery.fake_providers import ACCOUNT, SLACK_TOKEN, TOKEN, Provider, running_provider
from tests.passing_time import let_pass

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    # Apprise loads it together with its plug-in for mail.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

ADMIN = system_principal("test")


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        for slug, kind, settings in (
            (
                "ops",
                ConnectorKind.SLACK,
                {"bot_token": SLACK_TOKEN, "signing_secret": "s", "api_url": f"{running.url}/api"},
            ),
            ("teams", ConnectorKind.TEAMS, {"url": f"{running.url}/workflow?sig=verysecretvalue"}),
            (
                "phone",
                ConnectorKind.TWILIO,
                {"account_sid": ACCOUNT, "auth_token": TOKEN, "from_number": "+15005550006", "api_url": running.url},
            ),
            ("relay", ConnectorKind.APPRISE, {"url": running.url.replace("http://", "json://") + "/relay"}),
        ):
            save_connector(principal=ADMIN, slug=slug, kind=kind, settings=settings, allow=["127.0.0.1"])
        yield running


def page(channel: Channel, address: str, key: str = "k", **more: object) -> Delivery:
    values = {"subject": "[SEV2] INC-1 Down", "text": "Since 01:00", "priority": 1, "link": "http://x/incidents/INC-1/"}
    return send(channel=channel, address=address, idempotency_key=key, **{**values, **more})  # type: ignore[arg-type]


def test_slack_gets_a_message_with_a_button(provider: Provider) -> None:
    page(Channel.SLACK, "ops/C1", payload={"acknowledge": "tok"}, text="a <b> & c")
    drain(URGENT_QUEUE)
    (message,) = provider.slack
    assert message["channel"] == "C1"
    assert message["blocks"][0]["text"]["text"].endswith("a &lt;b&gt; &amp; c")
    button, link = message["blocks"][1]["elements"]
    assert (button["action_id"], button["value"], link["url"]) == ("acknowledge", "tok", "http://x/incidents/INC-1/")
    assert Delivery.objects.get().state == DeliveryState.SENT


def test_slack_says_no_with_200_and_a_wrong_token_is_not_tried_again(provider: Provider) -> None:
    settings = {"bot_token": "wrong", "signing_secret": "s", "api_url": f"{provider.url}/api"}
    save_connector(principal=ADMIN, slug="ops", kind=ConnectorKind.SLACK, settings=settings, allow=["127.0.0.1"])
    page(Channel.SLACK, "ops/C1")
    drain(URGENT_QUEUE)
    row = Delivery.objects.get()
    assert (row.state, row.last_error, row.tries) == (DeliveryState.DEAD, "Slack said invalid_auth", 1)


def test_teams_gets_a_card_and_its_secret_address_is_in_no_error(provider: Provider) -> None:
    page(Channel.TEAMS, "teams", payload={"acknowledge_url": "http://x/ack"})
    drain(URGENT_QUEUE)
    content = provider.cards[0]["attachments"][0]["content"]
    assert [action["title"] for action in content["actions"]] == ["Acknowledge", "Open"]
    Connector.objects.filter(slug="teams").update(allow=[])
    page(Channel.TEAMS, "teams", "k2")
    drain(URGENT_QUEUE)
    failed = Delivery.objects.get(idempotency_key="k2")
    assert failed.last_error
    assert "verysecretvalue" not in failed.last_error
    with connection.cursor() as cursor:
        cursor.execute("SELECT secrets FROM delivery_connector WHERE slug = 'teams'")
        assert "verysecretvalue" not in cursor.fetchone()[0]


def test_a_text_carries_its_reference_and_a_wrong_number_is_not_tried_again(provider: Provider) -> None:
    row = page(Channel.SMS, "phone/+4930123456", payload={"acknowledge": "t"})
    wrong = page(Channel.SMS, "phone/nonsense", "k2")
    drain(URGENT_QUEUE)
    (message,) = provider.messages
    assert message["body"].endswith(f"Reply 1 to acknowledge. ({row.reference})")
    assert len(message["body"]) <= 640
    wrong.refresh_from_db()
    assert wrong.state == DeliveryState.DEAD
    assert "not a valid phone number" in wrong.last_error


def test_a_busy_provider_is_waited_for_as_long_as_it_asks(provider: Provider) -> None:
    provider.break_next = [429, 503]
    row = page(Channel.SMS, "phone/+4930123456")
    drain(URGENT_QUEUE)
    row.refresh_from_db()
    assert row.state == DeliveryState.PENDING
    assert row.due_at - timezone.now() > timedelta(seconds=6)
    for _ in range(2):
        let_pass(timedelta(minutes=2))
        drain(URGENT_QUEUE)
    assert len(provider.messages) == 1


def vanish(row: Delivery) -> None:
    """Leave what a worker leaves that was killed between handing over and noting the answer."""
    (claimed,) = claim_due(Delivery.objects.filter(pk=row.pk), lease_for=timedelta(seconds=-1))
    DeliveryAttempt.objects.create(delivery=claimed, number=1, started_at=timezone.now())


def test_after_an_unknown_outcome_the_provider_is_asked_for_the_text(provider: Provider) -> None:
    arrived = page(Channel.SMS, "phone/+4930123456")
    provider.messages.append({"sid": "SM", "to": "+4930123456", "from": "", "body": f"x ({arrived.reference})"})
    lost = page(Channel.SMS, "phone/+4930123457", "k2")
    for row in (arrived, lost):
        vanish(row)
    drain(URGENT_QUEUE)
    assert [one["to"] for one in provider.messages] == ["+4930123456", "+4930123457"]
    assert set(Delivery.objects.values_list("state", flat=True)) == {DeliveryState.SENT}


def test_when_the_provider_cannot_be_asked_it_is_asked_again_later(provider: Provider) -> None:
    row = page(Channel.SMS, "phone/+4930123456")
    vanish(row)
    settings = {"account_sid": ACCOUNT, "auth_token": "wrong", "from_number": "+1", "api_url": provider.url}
    save_connector(principal=ADMIN, slug="phone", kind=ConnectorKind.TWILIO, settings=settings, allow=["127.0.0.1"])
    drain(URGENT_QUEUE)
    row.refresh_from_db()
    assert (row.state, provider.messages) == (DeliveryState.PENDING, [])
    settings["auth_token"] = TOKEN
    save_connector(principal=ADMIN, slug="phone", kind=ConnectorKind.TWILIO, settings=settings, allow=["127.0.0.1"])
    let_pass(timedelta(minutes=5))
    drain(URGENT_QUEUE)
    row.refresh_from_db()
    assert (row.state, len(provider.messages)) == (DeliveryState.SENT, 1)


def test_after_an_unknown_outcome_nobody_is_called_twice(provider: Provider) -> None:
    row = page(Channel.VOICE, "phone/+4930123456", payload={"voice_url": "http://x/voice"})
    vanish(row)
    drain(URGENT_QUEUE)
    row.refresh_from_db()
    assert (row.state, provider.calls) == (DeliveryState.DEAD, [])
    page(Channel.VOICE, "phone/+4930123456", "k2", payload={"voice_url": "http://x/voice"})
    drain(URGENT_QUEUE)
    assert provider.calls[0]["Url"] == "http://x/voice"


def test_apprise_carries_the_rest_and_is_guarded(provider: Provider) -> None:
    page(Channel.APPRISE, "relay")
    drain(URGENT_QUEUE)
    assert b"INC-1 Down" in provider.relayed[0]
    Connector.objects.filter(slug="relay").update(allow=[])
    page(Channel.APPRISE, "relay", "k2")
    drain(URGENT_QUEUE)
    assert len(provider.relayed) == 1, "a private address is refused unless the connector allows it"
    with pytest.raises(InputRefusedError, match="over HTTP"):
        save_connector(principal=ADMIN, slug="x", kind=ConnectorKind.APPRISE, settings={"url": "syslog://"})
    with pytest.raises(InputRefusedError, match="does not know"):
        save_connector(principal=ADMIN, slug="x", kind=ConnectorKind.APPRISE, settings={"url": "nonsense://x"})


def test_a_connector_names_what_it_needs_and_is_for_administrators() -> None:
    from django.core.exceptions import PermissionDenied

    from accounts.data import Principal, PrincipalKind

    with pytest.raises(InputRefusedError, match="signing_secret"):
        save_connector(principal=ADMIN, slug="x", kind=ConnectorKind.SLACK, settings={"bot_token": "t"})
    with pytest.raises(InputRefusedError, match="are allowed"):
        save_connector(principal=ADMIN, slug="x", kind=ConnectorKind.TEAMS, settings={"uri": "t"})
    nobody = Principal(kind=PrincipalKind.USER, label="v")
    with pytest.raises(PermissionDenied):
        save_connector(principal=nobody, slug="x", kind=ConnectorKind.TEAMS, settings={"url": "https://x"})


def test_an_ordered_endpoint_gets_what_concerns_one_thing_in_order(endpoint: Endpoint, sink: Sink) -> None:
    sink.answers = [(500, {})]
    for n in range(3):
        for thing in ("a", "b"):
            send(
                channel=Channel.WEBHOOK,
                address="chat",
                idempotency_key=f"{thing}{n}",
                subject=f"{thing}{n}",
                text="",
                payload={"n": f"{thing}{n}"},
                order_key=f"chat:{thing}",
            )
    for _ in range(8):
        drain(ORDINARY_QUEUE)
        let_pass(timedelta(seconds=10))
    arrived = [body.decode()[6:8] for _, body in sink.requests]
    assert [one for one in arrived if one[0] == "a"] == ["a0", "a0", "a1", "a2"]
    assert [one for one in arrived if one[0] == "b"] == ["b0", "b1", "b2"]


def test_what_leaves_later_can_be_withdrawn_before() -> None:
    from delivery.services import withdraw_pending

    page(Channel.EMAIL, "a@example.org", about="incident:INC-1", delay=timedelta(minutes=5))
    assert drain(URGENT_QUEUE) == 0
    assert withdraw_pending(about="incident:INC-1") == 1
    let_pass(timedelta(minutes=6))
    assert drain(URGENT_QUEUE) == 0

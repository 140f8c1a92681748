"""Acknowledge by a button, a command, a text or a key; one's own rules; a test page."""

import base64
import hmac
import time
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha1, sha256
from urllib.parse import urlencode

import orjson
import pytest
from django.core import mail
from django.test import Client

from accounts.data import system_principal
from core.parsing import InputRefusedError
from core.work import drain_all
from delivery.data import Channel, ConnectorKind
from delivery.models import Delivery
from delivery.services import save_connector
from incidents.models import ContactMethod, Incident, NotificationRule
from incidents.services import save_contact_method
from tests.delivery.fake_providers import ACCOUNT, SLACK_TOKEN, TOKEN, Provider, running_provider
from tests.incidents.conftest import World, an_alert
from tests.passing_time import let_pass

pytestmark = pytest.mark.django_db(transaction=True)

ADMIN = system_principal("test")
SITE = "http://127.0.0.1:8000"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        slack = {"bot_token": SLACK_TOKEN, "signing_secret": "shh", "api_url": f"{running.url}/api"}
        phone = {"account_sid": ACCOUNT, "auth_token": TOKEN, "from_number": "+15005550006", "api_url": running.url}
        allow = ["127.0.0.1"]
        save_connector(principal=ADMIN, slug="ops", kind=ConnectorKind.SLACK, settings=slack, allow=allow)
        save_connector(principal=ADMIN, slug="phone", kind=ConnectorKind.TWILIO, settings=phone, allow=allow)
        yield running


def rule(world: World, channel: Channel, address: str, *, minutes: int = 0) -> None:
    save_contact_method(
        principal=world.who("alice"), channel=channel, address=address, delay=timedelta(minutes=minutes)
    )


def slack(path: str, form: dict[str, str], *, secret: str = "shh", at: int | None = None):  # type: ignore[no-untyped-def]
    body = urlencode(form).encode()
    stamp = str(at if at is not None else int(time.time()))
    signature = "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signature}
    return Client(enforce_csrf_checks=True).post(
        path, body, content_type="application/x-www-form-urlencoded", headers=headers
    )


def twilio(path: str, form: dict[str, str], *, token: str = TOKEN):  # type: ignore[no-untyped-def]
    text = SITE + path + "".join(f"{k}{v}" for k, v in sorted(form.items()))
    signature = base64.b64encode(hmac.new(token.encode(), text.encode(), sha1).digest()).decode()
    return Client(enforce_csrf_checks=True).post(path, form, headers={"X-Twilio-Signature": signature})


def fire(world: World) -> Incident:
    world.post_alertmanager(an_alert())
    drain_all()
    return Incident.objects.get()


def test_a_page_goes_out_by_ones_own_rules_and_what_waits_is_withdrawn_on_acknowledgement(
    world: World, provider: Provider
) -> None:
    rule(world, Channel.SLACK, "ops/U1")
    rule(world, Channel.SMS, "phone/+4930123456", minutes=2)
    rule(world, Channel.VOICE, "phone/+4930123456", minutes=5)
    incident = fire(world)
    assert (len(provider.slack), provider.messages, mail.outbox) == (1, [], [])
    let_pass(timedelta(minutes=3))
    drain_all()
    assert len(provider.messages) == 1
    button = provider.slack[0]["blocks"][1]["elements"][0]
    action = {"actions": [{"action_id": "acknowledge", "value": button["value"]}], "user": {"id": "U1"}}
    answer = slack("/slack/action", {"payload": orjson.dumps(action).decode()})
    assert answer.json()["text"].startswith(f"You have acknowledged {incident.reference}")
    incident.refresh_from_db()
    assert incident.acknowledged_by == world.alice
    let_pass(timedelta(minutes=10))
    drain_all()
    assert provider.calls == []
    assert Delivery.objects.get(channel=Channel.VOICE).state == "withdrawn"


def test_slack_must_sign_recently_and_a_stranger_is_told_what_to_do(world: World, provider: Provider) -> None:
    fire(world)
    form = {"text": "list", "user_id": "U9"}
    assert slack("/slack/command", form, secret="wrong").status_code == 401
    assert slack("/slack/command", form, at=int(time.time()) - 301).status_code == 401
    assert "Add ops/U9" in slack("/slack/command", form).json()["text"]
    assert Incident.objects.get().status == "triggered"


def test_the_command_lists_opens_acknowledges_resolves_and_says_who_is_on_call(
    world: World, provider: Provider
) -> None:
    rule(world, Channel.SLACK, "ops/U1")
    incident = fire(world)

    def say(text: str) -> str:
        return str(slack("/slack/command", {"text": text, "user_id": "U1"}).json()["text"])

    assert incident.reference in say("list")
    assert say("oncall").startswith("primary: alice")
    assert "You have acknowledged" in say(f"ack {incident.reference}")
    assert say(f"resolve {incident.reference} fixed it") == f"{incident.reference} is resolved."
    assert "There is no incident" in say("ack INC-999")
    assert "may not" in say("open Printer on fire"), "for the whole site it needs a role of the whole site"
    assert say("nonsense").startswith("Use: list")


def test_a_text_that_says_1_acknowledges_the_last_page(world: World, provider: Provider) -> None:
    rule(world, Channel.SMS, "phone/+4930123456")
    incident = fire(world)
    assert len(provider.messages) == 1
    path = "/phone/text/phone/"
    form = {"From": "+4930123456", "Body": "1"}
    assert twilio(path, form, token="wrong").status_code == 401
    assert twilio("/phone/text/unknown/", form).status_code == 401
    assert b"belongs to nobody" in twilio(path, {**form, "From": "+49000"}).content
    assert b"Reply 1" in twilio(path, {**form, "Body": "what?"}).content
    assert f"You have acknowledged {incident.reference}".encode() in twilio(path, form).content
    assert b"Nothing waits" in twilio(path, form).content


def test_a_call_says_what_is_wrong_and_a_key_acknowledges(world: World, provider: Provider) -> None:
    rule(world, Channel.VOICE, "phone/+4930123456")
    incident = fire(world)
    path = provider.calls[0]["Url"].removeprefix(SITE)
    said = Client().post(path).content.decode()
    assert "Press 1 to acknowledge" in said
    assert path in said
    assert b"no longer valid" in Client().post("/phone/voice/forged/", {"Digits": "1"}).content
    incident.refresh_from_db()
    assert incident.status == "triggered"
    assert f"You have acknowledged {incident.reference}".encode() in Client().post(path, {"Digits": "1"}).content
    incident.refresh_from_db()
    assert incident.acknowledged_by == world.alice


def test_a_way_that_does_not_exist_is_refused_and_removing_it_brings_mail_back(
    world: World, provider: Provider
) -> None:
    for channel, address in (
        (Channel.SMS, "ops/+49"),
        (Channel.SLACK, "nowhere/U1"),
        (Channel.EMAIL, "nobody"),
        (Channel.IN_APP, "user:1"),
    ):
        with pytest.raises(InputRefusedError):
            rule(world, channel, address)
    client = Client()
    client.force_login(world.alice)
    form = {"step": "rule", "channel": "slack", "address": "ops/U1", "after_minutes": "0", "severities": ["sev1"]}
    client.post("/oncall/me/", form)
    made = NotificationRule.objects.get()
    assert made.severities == ["sev1"]
    fire(world)
    assert provider.slack == [], "the incident is a SEV2"
    assert len(mail.outbox) == 1
    client.post("/oncall/me/", {"step": "remove-rule", "rule": made.pk})
    assert ContactMethod.objects.count() == 0


def test_a_test_page_goes_by_every_way(world: World, provider: Provider) -> None:
    rule(world, Channel.SLACK, "ops/U1")
    rule(world, Channel.VOICE, "phone/+4930123456")
    client = Client()
    client.force_login(world.alice)
    client.post("/oncall/me/", {"step": "test"})
    drain_all()
    assert (len(provider.slack), len(provider.calls)) == (1, 1)
    assert b"test page" in Client().post(provider.calls[0]["Url"].removeprefix(SITE)).content
    assert Delivery.objects.filter(about=f"test:{world.alice.pk}").count() == 3

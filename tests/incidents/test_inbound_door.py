"""What is answered with 2xx is stored; what cannot be stored is asked for again; a stranger learns nothing."""

import base64
from datetime import timedelta

import orjson
import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from accounts.data import system_principal
from core.work import drain_all
from delivery.domain.standard_webhooks import sign
from incidents.data import IntegrationKind
from incidents.models import Alert, InboundEvent, Integration
from incidents.services import add_integration, rotate_integration_token
from tests.incidents.conftest import World, an_alert

pytestmark = pytest.mark.django_db(transaction=True)

ADMIN = system_principal("test")
BODY = orjson.dumps({"version": "4", "groupKey": "g", "status": "firing", "receiver": "assay", "alerts": [an_alert()]})


def post(path: str, body: bytes = BODY, **headers: str):  # type: ignore[no-untyped-def]
    return Client(enforce_csrf_checks=True).post(path, body, content_type="application/json", headers=headers)


def test_the_token_may_stand_in_the_path_a_bearer_or_a_basic_header(world: World) -> None:
    basic = base64.b64encode(f"assay:{world.token}".encode()).decode()
    answers = [
        post(f"/inbound/alertmanager/{world.token}"),
        post(f"/inbound/alertmanager/{world.token}/"),
        post("/inbound/alertmanager", Authorization=f"Bearer {world.token}"),
        post("/inbound/alertmanager", Authorization=f"Basic {basic}"),
    ]
    assert [answer.status_code for answer in answers] == [202] * 4
    event = InboundEvent.objects.get()
    assert bytes(event.stored.body) == BODY
    assert event.duplicates == 3
    assert {tuple(answer.json()["event_ids"]) for answer in answers} == {(event.reference,)}
    assert world.token not in str(event.stored.headers)


def test_put_is_taken_and_get_is_not(world: World) -> None:
    client = Client()
    path = f"/inbound/alertmanager/{world.token}"
    assert client.put(path, BODY, content_type="application/json").status_code == 202
    assert client.get(path).status_code == 405


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/inbound/alertmanager/wrong", {}),
        ("/inbound/alertmanager", {}),
        ("/inbound/alertmanager", {"Authorization": "Bearer wrong"}),
        ("/inbound/alertmanager", {"Authorization": "Basic !!!"}),
        ("/inbound/internal/x", {}),
        ("/inbound/nonsense/x", {}),
    ],
)
def test_an_unknown_sender_gets_401_without_a_hint(world: World, path: str, headers: dict[str, str]) -> None:
    answer = post(path, BODY, **headers)
    assert (answer.status_code, answer.json()) == (401, {"detail": "unknown sender"})
    assert InboundEvent.objects.count() == 0


def test_a_token_does_not_open_another_kind_or_a_paused_integration(world: World) -> None:
    assert post(f"/inbound/generic/{world.token}").status_code == 401
    Integration.objects.update(state=Integration.State.PAUSED)
    assert post(f"/inbound/alertmanager/{world.token}").status_code == 401


def test_two_tokens_live_at_once_for_a_day(world: World) -> None:
    import time_machine

    new = rotate_integration_token(principal=ADMIN, integration=Integration.objects.get(slug="prometheus"))
    assert post(f"/inbound/alertmanager/{new.token}").status_code == 202
    assert post(f"/inbound/alertmanager/{world.token}").status_code == 202
    with time_machine.travel(timezone.now() + timedelta(hours=25)):
        assert post(f"/inbound/alertmanager/{new.token}").status_code == 202
        assert post(f"/inbound/alertmanager/{world.token}").status_code == 401


def test_a_body_over_512_kilobytes_is_413(world: World) -> None:
    assert post(f"/inbound/alertmanager/{world.token}", b" " * (512 * 1024 + 1)).status_code == 413
    assert post(f"/inbound/alertmanager/{world.token}", b" " * (512 * 1024)).status_code == 202


def test_database_trouble_is_503_with_retry_after_never_429(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_: object) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr("incidents.views.inbound.receive", down)
    answer = post(f"/inbound/alertmanager/{world.token}")
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")


def test_a_database_that_is_really_away_is_503(world: World) -> None:
    from django.db import connection

    def refuse(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        raise OperationalError("disk I/O error")

    with connection.execute_wrapper(refuse):
        answer = post(f"/inbound/alertmanager/{world.token}")
    assert answer.status_code == 503
    assert InboundEvent.objects.count() == 0


def test_a_generic_body_is_always_stored_and_its_alert_recognised(world: World) -> None:
    body = orjson.dumps({"id": "disk-1", "title": "Disk full", "service": "gateway", "severity": "page"})
    for _ in range(3):
        assert post(f"/inbound/generic/{world.generic_token}", body).status_code == 202
    drain_all()
    assert InboundEvent.objects.count() == 3
    assert Alert.objects.get().occurrences == 3


def test_a_generic_sender_may_name_its_event(world: World) -> None:
    for _ in range(2):
        post(f"/inbound/generic/{world.generic_token}", b'{"title":"x"}', **{"Idempotency-Key": "k1"})
    assert InboundEvent.objects.get().duplicates == 1


def test_standard_webhooks_are_verified_and_taken_once(world: World) -> None:
    new = add_integration(principal=ADMIN, slug="signed", kind=IntegrationKind.STANDARD_WEBHOOKS)
    body = orjson.dumps({"type": "check.failed", "data": {"title": "Check failed", "status": "firing"}})
    timestamp = int(timezone.now().timestamp())
    good = sign(new.signing_secret, message_id="msg_1", timestamp=timestamp, body=body)
    path = f"/inbound/standard-webhooks/{new.token}"
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(timestamp)}
    assert post(path, body, **headers, **{"webhook-signature": "v1,AAAA"}).status_code == 401
    assert post(path, body).status_code == 401
    for _ in range(2):
        assert post(path, body, **headers, **{"webhook-signature": good}).status_code == 202
    drain_all()
    assert InboundEvent.objects.get().duplicates == 1
    assert Alert.objects.get().title == "Check failed"


@pytest.mark.database
def test_hostile_bodies_do_not_break_the_stream_of_the_others(world: World) -> None:
    many = {"version": "4", "groupKey": "m", "status": "firing", "receiver": "a"}
    bombs = [
        orjson.dumps({**many, "alerts": [{**an_alert("Bomb"), "labels": {f"l{n}": "v\0" for n in range(3000)}}]}),
        orjson.dumps({**many, "alerts": [an_alert(f"A{n}", severity="info") for n in range(1000)]}),
        orjson.dumps({**many, "alerts": [{**an_alert("Future"), "startsAt": "9999-12-31T23:59:59Z"}]}),
        orjson.dumps({**many, "alerts": [{**an_alert("Ancient"), "startsAt": "0001-01-01T00:00:00Z"}]}),
        orjson.dumps({**many, "alerts": [{**an_alert("Nul\0"), "fingerprint": "f\0", "generatorURL": "u\0"}]}),
        b"[" * 100_000,
        b'{"version":"4"',
        b'{"version":"4","groupKey":"\\ud800"}',
    ]
    for body in bombs:
        assert post(f"/inbound/alertmanager/{world.token}", body).status_code == 202
    assert post(f"/inbound/alertmanager/{world.token}").status_code == 202
    drain_all()
    assert InboundEvent.objects.filter(finished_at=None).count() == 0
    assert InboundEvent.objects.filter(state="unparsed").count() == 3
    assert Alert.objects.filter(labels__alertname="GatewaySlow", incident__isnull=False).exists()
    assert Alert.objects.filter(title__startswith="A").count() >= 1000


@pytest.mark.database
def test_two_workers_take_each_event_once(world: World) -> None:
    from core.leases import claim_due

    for n in range(4):
        world.post_alertmanager(an_alert(f"A{n}"), group=f"g{n}")
    first = claim_due(InboundEvent.objects.all(), lease_for=timedelta(seconds=60), limit=2)
    second = claim_due(InboundEvent.objects.all(), lease_for=timedelta(seconds=60), limit=9)
    assert {event.pk for event in first}.isdisjoint({event.pk for event in second})
    assert len(first) + len(second) == 4

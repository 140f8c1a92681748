"""Every kind of sender: the vectors of its specification, and what a body of it becomes."""

import hmac
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import orjson
import pytest
from django.test import Client
from django.utils import timezone

from accounts.data import system_principal
from catalog.models import Activity, Deployment
from core.work import drain_all
from delivery.models import Notification
from incidents.data import IncidentStatus, IntegrationKind
from incidents.domain.cloudevents import decode_header
from incidents.domain.inbound_formats import UnparsedBodyError
from incidents.models import Alert, InboundBody, InboundEvent, Incident, Integration
from incidents.services import NewToken, add_integration, watch_floods, watch_heartbeats
from tests.incidents.conftest import World

pytestmark = pytest.mark.django_db(transaction=True)

ADMIN = system_principal("test")


def post(path: str, body: object, content_type: str = "application/json", **headers: str):  # type: ignore[no-untyped-def]
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return Client(enforce_csrf_checks=True).post(path, raw, content_type=content_type, headers=headers)


def added(kind: IntegrationKind, **options: object) -> NewToken:
    return add_integration(principal=ADMIN, slug=f"a-{kind.value}", kind=kind, **options)  # type: ignore[arg-type]


def grafana_body(status: str = "firing") -> dict[str, object]:
    return {
        "version": "1",
        "orgId": 1,
        "title": "[FIRING:1]",
        "state": "alerting",
        "groupKey": "{}:{}",
        "externalURL": "http://grafana.example.org/",
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "Latency", "service": "gateway", "severity": "page"},
                "annotations": {"summary": "The gateway is slow"},
                "startsAt": "2026-11-21T01:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-21T01:05:00Z",
                "generatorURL": "?orgId=1",
                "fingerprint": "f1",
                "values": None,
                "valueString": "[ var='A' value=3 ]",
                "imageURL": "",
            }
        ],
    }


def test_grafana_fires_and_resolves_and_its_address_is_made_whole(world: World) -> None:
    new = added(IntegrationKind.GRAFANA)
    assert post(new.url.partition("8000")[2], grafana_body()).status_code == 202
    drain_all()
    alert = Alert.objects.get()
    assert (alert.title, alert.status, alert.url) == (
        "The gateway is slow",
        "firing",
        "http://grafana.example.org/?orgId=1",
    )
    assert Incident.objects.get().title == "The gateway is slow"
    assert Client().put(f"/inbound/grafana/{new.token}", orjson.dumps(grafana_body("resolved"))).status_code == 202
    drain_all()
    alert.refresh_from_db()
    assert alert.status == "resolved"


def test_grafana_of_before_version_9_is_read_too(world: World) -> None:
    new = added(IntegrationKind.GRAFANA)
    body = {"title": "[Alerting] Disk", "ruleId": 7, "ruleName": "Disk", "state": "alerting", "evalMatches": []}
    for state in ("alerting", "ok", "alerting"):
        post(f"/inbound/grafana/{new.token}", {**body, "state": state})
        drain_all()
    assert [alert.status for alert in Alert.objects.order_by("pk")] == ["resolved", "firing"]


def test_a_signed_grafana_needs_its_signature_over_time_and_body(world: World) -> None:
    new = added(IntegrationKind.GRAFANA, signed=True)
    raw = orjson.dumps(grafana_body())
    path = f"/inbound/grafana/{new.token}"
    stamp = str(int(timezone.now().timestamp()))

    def signed(message: bytes) -> str:
        return hmac.new(new.signing_secret.encode(), message, sha256).hexdigest()

    assert post(path, raw).status_code == 401
    plain = {"X-Grafana-Alerting-Signature": signed(raw)}
    assert post(path, raw + b" ", **plain).status_code == 401
    assert post(path, raw, **plain).status_code == 202
    timed = {"X-Grafana-Alerting-Signature": signed(stamp.encode() + b":" + raw)}
    assert post(path, raw, **timed, **{"X-Grafana-Alerting-Timestamp": stamp}).status_code == 202
    old = str(int(timezone.now().timestamp()) - 301)
    late = {"X-Grafana-Alerting-Signature": signed(old.encode() + b":" + raw), "X-Grafana-Alerting-Timestamp": old}
    assert post(path, raw, **late).status_code == 401


def pagerduty(key: str, action: str = "trigger", **changes: object) -> dict[str, object]:
    payload = {"summary": "Checkout fails", "source": "lb-1", "severity": "critical", "component": "gateway"}
    body: dict[str, object] = {"routing_key": key, "event_action": action, "dedup_key": "checkout", **changes}
    return {**body, "payload": {**payload, "custom_details": {"severity": "page"}}} if action == "trigger" else body


def test_events_v2_trigger_acknowledge_resolve_and_trigger_again(world: World) -> None:
    new = added(IntegrationKind.PAGERDUTY)
    assert len(new.token) == 32
    answer = post("/v2/enqueue", pagerduty(new.token))
    assert (answer.status_code, answer.json()) == (
        202,
        {"status": "success", "message": "Event processed", "dedup_key": "checkout"},
    )
    post("/v2/enqueue", pagerduty(new.token))
    drain_all()
    alert = Alert.objects.get()
    assert (alert.occurrences, alert.labels["service"]) == (2, "gateway")
    post("/v2/enqueue", pagerduty(new.token, "acknowledge"))
    drain_all()
    incident = Incident.objects.get()
    assert (incident.status, incident.acknowledged_at) == (IncidentStatus.ACKNOWLEDGED, None)
    post("/v2/enqueue", pagerduty(new.token, "resolve"))
    drain_all()
    alert.refresh_from_db()
    assert alert.status == "resolved"
    post("/v2/enqueue", pagerduty(new.token, "resolve"))
    post("/v2/enqueue", pagerduty(new.token, "acknowledge", dedup_key="never-seen"))
    drain_all()
    assert Alert.objects.count() == 1, "what is not open is dropped, and answered with 202 all the same"
    post("/v2/enqueue", pagerduty(new.token))
    drain_all()
    assert [one.status for one in Alert.objects.order_by("pk")] == ["resolved", "firing"]


def test_events_v2_gives_a_key_where_there_is_none_and_refuses_in_its_own_words(world: World) -> None:
    new = added(IntegrationKind.PAGERDUTY)
    given = [post("/v2/enqueue", pagerduty(new.token, dedup_key=None)).json()["dedup_key"] for _ in range(2)]
    assert len(set(given)) == 2
    drain_all()
    assert set(Alert.objects.values_list("fingerprint", flat=True)) == set(given)
    short = post("/v2/enqueue", pagerduty("short"))
    assert (short.status_code, short.json()) == (
        400,
        {
            "status": "invalid event",
            "message": "Event object is invalid",
            "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"],
        },
    )
    assert post("/v2/enqueue", b"{").json()["errors"] == ["JSON parse error"]
    missing = post("/v2/enqueue", pagerduty(new.token, "resolve", dedup_key=None))
    assert missing.json()["errors"] == ["'dedup_key' is missing or blank"]
    assert post("/v2/enqueue", pagerduty("0" * 32)).status_code == 401
    assert Client().get("/v2/enqueue").status_code == 405


def test_a_change_event_pages_nobody_and_stands_under_what_changed(world: World) -> None:
    new = added(IntegrationKind.PAGERDUTY)
    payload = {"summary": "Deployed v7", "source": "gateway", "timestamp": "2026-11-21T01:00:00Z"}
    body = {"routing_key": new.token, "payload": payload, "links": [{"href": "https://ci.example.org/7", "text": "CI"}]}
    answer = post("/v2/change/enqueue", body)
    assert (answer.status_code, answer.json()["status"]) == (202, "success")
    drain_all()
    activity = Activity.objects.get()
    assert (activity.title, activity.url) == ("Deployed v7", "https://ci.example.org/7")
    assert [service.slug for service in activity.services.all()] == ["gateway"]
    assert Alert.objects.count() == 0


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("plain", "plain"),
        ("%70%6c%61in", "plain"),
        ('"quoted \\"text\\""', 'quoted "text"'),
        ("100%25", "100%"),
        ("%2525", "%25"),
    ],
)
def test_cloudevents_headers_are_decoded_once(value: str, meant: str) -> None:
    assert decode_header(value) == meant


def test_cloudevents_headers_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(UnparsedBodyError):
        decode_header("%C0%A0")


def cloudevent(number: str = "1", kind: str = "com.example.check.firing", **more: object) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": number,
        "source": "/checks/7",
        "type": kind,
        "subject": "checkout",
        "data": {"title": "Checkout fails", "service": "gateway", "severity": "page"},
        **more,
    }


def test_cloudevents_structured_batched_and_binary(world: World) -> None:
    path = f"/inbound/cloudevents/{added(IntegrationKind.CLOUDEVENTS).token}"
    for _ in range(2):
        assert post(path, cloudevent(), "application/cloudevents+json; charset=utf-8").status_code == 202
    assert InboundEvent.objects.get().duplicates == 1, "source and id name an event"
    drain_all()
    assert Alert.objects.get().title == "Checkout fails"
    ends = cloudevent("2", "com.example.check.resolved")
    assert post(path, [ends, cloudevent("3", subject="x")], "application/cloudevents-batch+json").status_code == 202
    drain_all()
    assert [a.status for a in Alert.objects.order_by("pk")] == ["resolved", "firing"]
    attributes = {
        "ce-specversion": "1.0",
        "ce-id": "4",
        "ce-source": "/checks/8",
        "ce-type": "com.example.note",
        "ce-subject": "Euro%20%E2%82%AC",
    }
    data = {"title": "Binary", "service": "gateway"}
    assert post(path, data, **attributes).status_code == 202
    drain_all()
    assert Alert.objects.get(title="Binary").labels["ce_subject"] == "Euro €"


def test_cloudevents_that_cannot_be_read_are_kept_or_refused_by_format(world: World) -> None:
    path = f"/inbound/cloudevents/{added(IntegrationKind.CLOUDEVENTS).token}"
    assert post(path, b"<xml/>", "application/cloudevents+xml").status_code == 415
    assert post(path, {"title": "no attributes"}).status_code == 202
    bad = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "%C0%A0", "ce-type": "x"}
    assert post(path, {}, **bad).status_code == 202
    drain_all()
    assert set(InboundEvent.objects.values_list("state", flat=True)) == {"unparsed"}


def test_the_cloudevents_handshake_and_the_token_in_the_query(world: World) -> None:
    new = added(IntegrationKind.CLOUDEVENTS)
    asked = {"WebHook-Request-Origin": "eventgrid.example.org", "WebHook-Request-Rate": "120"}
    answer = Client().options(f"/inbound/cloudevents/{new.token}", headers=asked)
    assert (answer.status_code, answer["WebHook-Allowed-Origin"], answer["WebHook-Allowed-Rate"]) == (
        200,
        "eventgrid.example.org",
        "120",
    )
    assert Client().options("/inbound/cloudevents/wrong", headers=asked).status_code == 401
    assert Client().options(f"/inbound/cloudevents/{new.token}").status_code == 405
    query = f"/inbound/cloudevents?access_token={new.token}"
    assert post(query, cloudevent(), "application/cloudevents+json").status_code == 202


def test_a_deployment_of_github_reaches_the_catalogue_signed_and_once(world: World) -> None:
    new = added(IntegrationKind.GITHUB)
    body = {
        "deployment_status": {"state": "success", "updated_at": "2026-11-21T01:02:00Z"},
        "deployment": {
            "id": 42,
            "sha": "a" * 40,
            "created_at": "2026-11-21T01:00:00Z",
            "creator": {"login": "alice"},
            "payload": {},
        },
        "repository": {"full_name": "example/Gateway"},
    }
    raw = orjson.dumps(body)
    path = f"/inbound/github/{new.token}"
    headers = {"X-GitHub-Event": "deployment_status", "X-GitHub-Delivery": "d1"}
    assert post(path, raw, **headers).status_code == 401
    signature = "sha256=" + hmac.new(new.signing_secret.encode(), raw, sha256).hexdigest()
    for _ in range(2):
        assert post(path, raw, **headers, **{"X-Hub-Signature-256": signature}).status_code == 202
    drain_all()
    deployment = Deployment.objects.get()
    assert (deployment.service.slug, deployment.author, deployment.result) == ("gateway", "alice", "succeeded")
    assert InboundEvent.objects.get().duplicates == 1


def test_a_deployment_of_gitlab_comes_with_its_own_token_header(world: World) -> None:
    new = added(IntegrationKind.GITLAB)
    body = {
        "object_kind": "deployment",
        "status": "failed",
        "status_changed_at": "2026-11-21 02:00:00 +0100",
        "deployment_id": 15,
        "project": {"path_with_namespace": "example/gateway"},
        "commit_url": f"https://gitlab.example.org/example/gateway/-/commit/{'b' * 40}",
        "user": {"username": "bob"},
    }
    assert post("/inbound/gitlab", body, **{"X-Gitlab-Token": "wrong"}).status_code == 401
    assert post("/inbound/gitlab", body, **{"X-Gitlab-Token": new.token}).status_code == 202
    post("/inbound/gitlab", {**body, "status": "running", "deployment_id": 16}, **{"X-Gitlab-Token": new.token})
    drain_all()
    deployment = Deployment.objects.get()
    assert (deployment.result, deployment.commit) == ("failed", "b" * 40)
    assert deployment.started_at == datetime(2026, 11, 21, 1, tzinfo=UTC)
    assert new.token not in str(InboundBody.objects.values_list("headers", flat=True))


def test_a_heartbeat_that_stops_alarms_once_and_a_new_beat_ends_it(world: World) -> None:
    mapping = {"fixed_labels": {"service": "gateway", "severity": "page"}}
    new = added(IntegrationKind.HEARTBEAT, heartbeat_every=timedelta(minutes=1), mapping=mapping)
    path = f"/inbound/heartbeat/{new.token}"
    assert Client().get(path).status_code == 202
    drain_all()
    assert watch_heartbeats() == 0
    Integration.objects.filter(pk=new.integration.pk).update(last_beat_at=timezone.now() - timedelta(minutes=3))
    assert watch_heartbeats() == 1
    assert watch_heartbeats() == 0
    drain_all()
    alert = Alert.objects.get()
    assert (alert.status, alert.title, alert.incident is not None) == ("firing", "No heartbeat from a-heartbeat", True)
    assert post(path, b"whatever, a beat has no form").status_code == 202
    drain_all()
    alert.refresh_from_db()
    assert alert.status == "resolved"
    assert Integration.objects.get(pk=new.integration.pk).heartbeat_missed_at is None


def test_a_flooded_sender_waits_apart_and_its_owner_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from incidents.services import integrations

    monkeypatch.setattr(integrations, "FLOOD_EVENTS", 5)
    for n in range(6):
        post(f"/inbound/generic/{world.generic_token}", {"title": f"t{n}", "id": str(n)})
    watch_floods()
    post(f"/inbound/generic/{world.generic_token}", {"title": "late", "id": "late"})
    world.post_alertmanager()
    assert InboundEvent.objects.filter(spilled=True).count() == 7
    assert InboundEvent.objects.get(integration__slug="prometheus").spilled is False
    note = Notification.objects.get()
    assert (note.recipient, "floods the site" in note.title) == (f"user:{world.ada.pk}", True)
    drain_all()
    assert Alert.objects.count() == 7
    watch_floods()
    assert Integration.objects.get(slug="anything").flooded_at is None


def test_a_body_of_ten_thousand_alerts_is_worked_off_in_slices(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from incidents.services import processing

    monkeypatch.setattr(processing, "SLICE", 40)
    body = [{"title": f"t{n}", "id": str(n)} for n in range(100)]
    post(f"/inbound/generic/{world.generic_token}", body)
    from core.work import drain

    assert drain("incidents.inbound", limit=1) == 1
    event = InboundEvent.objects.get()
    assert (event.taken, event.state, Alert.objects.count()) == (40, "received", 40)
    drain_all()
    event.refresh_from_db()
    assert (event.taken, event.state, len(event.decisions), Alert.objects.count()) == (100, "processed", 100, 100)


def test_a_mapping_is_tried_on_stored_events_and_saved(world: World) -> None:
    post(f"/inbound/generic/{world.generic_token}", {"check": {"name": "Disk full"}, "id": "1"})
    drain_all()
    client = Client()
    client.force_login(world.ada)
    page = "/alerts/integrations/anything/"
    assert "nothing at" in client.get(page).content.decode()
    tried = client.post(page, {"step": "try", "mapping": "title: check.name"}).content.decode()
    assert "Disk full" in tried
    assert "CHANGED" in tried
    assert Integration.objects.get(slug="anything").mapping != {"title": "check.name"}
    wrong = client.post(page, {"step": "save", "mapping": "titel: check.name"}).content.decode()
    assert "this key is not known here" in wrong
    client.post(page, {"step": "save", "mapping": "title: check.name"})
    client.post(page, {"step": "replay", "hours": "1"})
    drain_all()
    assert Alert.objects.get().title == "Disk full"
    client.force_login(world.alice)
    assert client.post(page, {"step": "save", "mapping": ""}).status_code == 403

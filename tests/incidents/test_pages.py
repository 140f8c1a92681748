"""The pages and the REST API: they work, refuse a stranger, refuse a reader, refuse the wrong method."""

import re

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.data import Role, system_principal
from accounts.models import User
from accounts.services import grant_role
from core.work import drain_all
from incidents.models import InboundEvent, Incident, Review, ReviewTask, ScheduleOverride
from incidents.services import resolve_incident
from tests.incidents.conftest import World, an_alert

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def incident(world: World) -> Incident:
    world.post_alertmanager(an_alert())
    drain_all()
    return Incident.objects.get()


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def pages_of(incident: Incident) -> list[str]:
    alert = incident.alerts.get()
    event = InboundEvent.objects.get()
    delivery = incident_deliveries(incident)[0]
    return [
        "/incidents/",
        "/incidents/?format=csv",
        "/incidents/open/",
        f"/incidents/{incident.reference}/",
        "/alerts/",
        f"/alerts/{alert.pk}/",
        "/alerts/events/",
        f"/alerts/events/{event.reference}/",
        "/oncall/",
        "/oncall/primary/",
        "/notifications/",
        "/settings/deliveries/",
        f"/settings/deliveries/{delivery.reference}/",
        "/settings/webhooks/",
        "/settings/webhooks/add/",
    ]


def incident_deliveries(incident: Incident) -> list:  # type: ignore[type-arg]
    from delivery.selectors import deliveries_about

    return list(deliveries_about(about=f"incident:{incident.reference}"))


def test_every_page_opens_for_an_administrator(world: World, incident: Incident) -> None:
    client = signed_in(world.ada)
    for address in pages_of(incident):
        response = client.get(address)
        assert response.status_code == 200, address
        if not response.streaming:
            assert "style=" not in response.content.decode(), address


def test_nobody_sees_anything_without_signing_in(world: World, incident: Incident) -> None:
    for address in pages_of(incident):
        assert Client().get(address).status_code == 302, address


def test_a_person_without_a_role_is_refused(world: World, incident: Incident) -> None:
    client = signed_in(world.charlie)
    for address in pages_of(incident):
        if address != "/notifications/":
            assert client.get(address).status_code in {403, 404}, address


def test_another_teams_responder_does_not_see_the_incident(world: World, incident: Incident) -> None:
    from accounts.services import create_team

    other = create_team(principal=system_principal("test"), slug="data", name="Data")
    grant_role(principal=system_principal("test"), user=world.charlie, role=Role.RESPONDER, team=other)
    client = signed_in(world.charlie)
    assert client.get(f"/incidents/{incident.reference}/").status_code == 404
    assert incident.title not in client.get("/incidents/").content.decode()
    assert client.get("/api/v1/incidents/").json()["count"] == 0


def test_a_reader_sees_the_room_but_cannot_act(world: World, incident: Incident) -> None:
    grant_role(principal=system_principal("test"), user=world.charlie, role=Role.VIEWER)
    client = signed_in(world.charlie)
    room = client.get(f"/incidents/{incident.reference}/").content.decode()
    assert "Acknowledge</button>" not in room
    for step in ("acknowledge", "mitigate", "resolve"):
        assert client.post(f"/incidents/{incident.reference}/{step}/").status_code == 403
    incident.refresh_from_db()
    assert incident.status == "triggered"


def test_a_step_is_a_post(world: World, incident: Incident) -> None:
    assert signed_in(world.alice).get(f"/incidents/{incident.reference}/acknowledge/").status_code == 405


def test_the_room_acknowledges_writes_mitigates_and_resolves(world: World, incident: Incident) -> None:
    client = signed_in(world.alice)
    base = f"/incidents/{incident.reference}"
    assert "Acknowledge</button>" in client.get(f"{base}/").content.decode()
    client.post(f"{base}/acknowledge/")
    client.post(f"{base}/note/", {"text": "<b>looking</b>"})
    client.post(f"{base}/severity/", {"severity": "sev1", "reason": "all customers"})
    client.post(f"{base}/role/", {"role": "scribe", "person": world.bob.pk})
    client.post(f"{base}/mitigate/")
    client.post(f"{base}/resolve/", {"reason": "restarted"})
    incident.refresh_from_db()
    assert (incident.status, incident.severity) == ("resolved", "sev1")
    room = client.get(f"{base}/").content.decode()
    assert "&lt;b&gt;looking" in room
    assert 'hx-trigger="every 3s"' not in room, "a resolved incident is not asked for again"
    assert "Review: draft" in room


def test_the_live_part_alone_answers_htmx(world: World, incident: Incident) -> None:
    response = signed_in(world.alice).get(f"/incidents/{incident.reference}/", headers={"HX-Request": "true"})
    text = response.content.decode()
    assert [text.count(f'id="incident-{part}"') for part in ("live", "timeline", "side")] == [1, 1, 1]
    assert "<html" not in text
    resolve_incident(principal=world.who("alice"), incident=incident)
    last = signed_in(world.alice).get(f"/incidents/{incident.reference}/", headers={"HX-Request": "true"})
    assert "every 3s" not in last.content.decode(), "it stops asking"


def test_the_link_in_the_mail_acknowledges_only_when_confirmed(world: World, incident: Incident) -> None:
    link = re.search(r"Acknowledge: http://[^/]+(\S+)", str(mail.outbox[0].body))
    assert link
    client = Client(enforce_csrf_checks=True)
    page = client.get(link[1])
    assert "Acknowledge as alice" in page.content.decode()
    incident.refresh_from_db()
    assert incident.status == "triggered"
    assert client.post(link[1]).status_code == 403, "without the page's token nothing happens"
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
    assert token
    answer = client.post(link[1], {"csrfmiddlewaretoken": token[1]})
    assert "You acknowledged it" in answer.content.decode()
    incident.refresh_from_db()
    assert incident.acknowledged_by == world.alice


@pytest.mark.parametrize("token", ["x", "1:2:3", "1:1:abc:def"])
def test_a_forged_link_acknowledges_nothing(world: World, incident: Incident, token: str) -> None:
    client = Client()
    assert "not one that the site has sent" in client.get(f"/incidents/acknowledge/{token}/").content.decode()
    assert client.post(f"/incidents/acknowledge/{token}/").status_code == 410


def test_an_old_link_says_so(world: World, incident: Incident) -> None:
    from datetime import timedelta

    import time_machine
    from django.utils import timezone

    link = re.search(r"Acknowledge: http://[^/]+(\S+)", str(mail.outbox[0].body))
    assert link
    with time_machine.travel(timezone.now() + timedelta(days=8)):
        assert "older than a week" in Client().get(link[1]).content.decode()


def test_the_review_is_edited_gets_a_follow_up_and_is_approved_by_another(world: World, incident: Incident) -> None:
    resolve_incident(principal=world.who("alice"), incident=incident)
    alice, bob = signed_in(world.alice), signed_in(world.bob)
    address = f"/incidents/{incident.reference}/review/"
    assert "Approve</button>" not in alice.get(address).content.decode()
    alice.post(address, {"summary": "s", "impact": "i", "contributing_factors": "f", "lessons": "l"})
    follow_up = {"title": "Add a probe", "owner": world.bob.pk, "due_in_days": "7", "kind": "detect"}
    alice.post(f"{address}follow-up/", follow_up)
    assert "Approve</button>" not in bob.get(address).content.decode()
    for task in ReviewTask.objects.filter(state="open"):
        alice.post(f"{address}task/", {"key": task.key, "because": "" if task.key == "follow-ups" else "small"})
    page = bob.get(address).content.decode()
    assert "Approve</button>" in page
    assert "Add a probe" in page
    assert alice.post(f"{address}approve/").status_code == 403
    bob.post(f"{address}approve/")
    assert Review.objects.get().state == "approved"
    alice.post(address, {"summary": "changed"})
    assert Review.objects.get().summary == "s"


def test_an_override_is_set_from_the_page_and_shows(world: World) -> None:
    client = signed_in(world.bob)
    client.post(
        "/oncall/primary/", {"person": world.bob.pk, "starts_at": "2020-01-01T00:00", "ends_at": "2099-01-01T00:00"}
    )
    assert ScheduleOverride.objects.count() == 0, "longer than a year"
    from datetime import timedelta

    from django.utils import timezone

    ends = (timezone.now() + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    client.post("/oncall/primary/", {"person": world.bob.pk, "starts_at": "2020-01-01T00:00", "ends_at": ends})
    page = client.get("/oncall/primary/").content.decode()
    assert "override OVR-" in page
    assert "End it now" in page
    (override,) = ScheduleOverride.objects.all()
    end = {"override": override.pk}
    assert signed_in(world.charlie).post("/oncall/primary/end-override/", end).status_code == 403
    assert client.get("/oncall/primary/end-override/").status_code == 405
    client.post("/oncall/primary/end-override/", end)
    page = client.get("/oncall/primary/").content.decode()
    assert "stands in no more" in page
    assert "End it now" not in page
    again = client.post("/oncall/primary/end-override/", end, follow=True).content.decode()
    assert "It is over already." in again


def test_an_uncovered_schedule_shows_its_gaps(world: World) -> None:
    from core.parsing import load_yaml_documents
    from incidents.services import apply_documents

    text = """
apiVersion: assay/v1
kind: Schedule
metadata: {name: office}
spec:
  layers:
    - name: office
      rotation: {unit: day, anchor_date: 2026-01-01}
      participants: [alice, [bob, ada]]
      restrictions: [{weekdays: [mon, tue], from: "09:00", to: "09:01"}]
"""
    apply_documents(principal=system_principal("test"), documents=load_yaml_documents(text, source="t"))
    User.objects.filter(username="alice").update(first_name="Alice", last_name="Adams")
    User.objects.filter(username__in=["bob", "ada"]).update(first_name="Sam", last_name="Lee")
    page = signed_in(world.ada).get("/oncall/office/").content.decode()
    assert "no layer covers it" in page
    assert "Alice Adams" in page
    assert "Sam Lee (bob), Sam Lee (ada)" in page, "two of one name are told apart"
    assert "<td>alice</td>" not in page


def test_the_api_reads_opens_acknowledges_and_resolves(world: World, incident: Incident) -> None:
    client = signed_in(world.alice)
    assert client.get("/api/v1/incidents/?status=triggered").json()["count"] == 1
    one = client.get(f"/api/v1/incidents/{incident.reference}/").json()
    assert one["timeline"][0]["text"].startswith("Alert fires")
    assert client.post(f"/api/v1/incidents/{incident.reference}/acknowledge/").json()["acknowledged_by"] == "alice"
    for _ in range(2):
        written = client.post(
            f"/api/v1/incidents/{incident.reference}/notes/",
            {"text": "from a script", "key": "k"},
            content_type="application/json",
        )
        assert written.status_code == 201
    assert incident.timeline.filter(text="from a script").count() == 1
    answer = client.post(
        f"/api/v1/incidents/{incident.reference}/resolve/", {"reason": "done"}, content_type="application/json"
    )
    assert answer.json()["status"] == "resolved"
    opened = client.post(
        "/api/v1/incidents/",
        {"title": "By hand", "severity": "sev1", "services": ["gateway"], "escalation_policy": "gateway"},
        content_type="application/json",
    )
    assert opened.status_code == 201
    refused = client.post("/api/v1/incidents/", {"title": "x", "services": ["nope"]}, content_type="application/json")
    assert refused.status_code == 400
    assert refused.json()["problems"][0]["found"] == "nope"
    (person,) = client.get("/api/v1/oncall/?schedule=primary").json()
    assert (person["username"], "mail" in person) == ("alice", False)
    assert client.get("/api/v1/oncall/?schedule=nope").status_code == 404
    assert client.get("/api/v1/alerts/").json()["results"][0]["incident"] == incident.reference


def test_the_api_refuses_strangers_and_readers(world: World, incident: Incident) -> None:
    for address in ("/api/v1/incidents/", "/api/v1/alerts/", "/api/v1/oncall/", "/api/v1/deliveries/"):
        assert Client().get(address).status_code in {401, 403}, address
    client = signed_in(world.charlie)
    assert client.get("/api/v1/incidents/").json()["count"] == 0
    assert client.get("/api/v1/deliveries/").status_code == 403
    assert client.get("/api/v1/oncall/").status_code == 403
    assert client.post(f"/api/v1/incidents/{incident.reference}/acknowledge/").status_code == 404


def test_a_webhook_endpoint_is_added_rotated_and_its_secret_shown_once(world: World) -> None:
    client = signed_in(world.ada)
    made = client.post(
        "/settings/webhooks/add/", {"slug": "chat", "url": "https://example.org/hook", "event_kinds": "incident.*"}
    )
    assert "whsec_" in made.content.decode()
    assert "whsec_" not in client.get("/settings/webhooks/chat/").content.decode()
    assert "whsec_" in client.post("/settings/webhooks/chat/", {"step": "rotate"}).content.decode()
    client.post("/settings/webhooks/chat/", {"step": "disable"})
    assert "switched off by ada" in client.get("/settings/webhooks/chat/").content.decode()
    api = client.post(
        "/api/v1/webhook-endpoints/",
        {"slug": "second", "url": "https://example.org/2"},
        content_type="application/json",
    )
    assert api.json()["secret"].startswith("whsec_")
    assert "secret" not in client.get("/api/v1/webhook-endpoints/second/").json()
    twice = client.post(
        "/api/v1/webhook-endpoints/",
        {"slug": "second", "url": "https://example.org/2"},
        content_type="application/json",
    )
    assert twice.status_code == 400


def test_opening_a_notification_marks_it_and_leads_to_its_thing(world: World, incident: Incident) -> None:
    from delivery.models import Notification

    note = Notification.objects.get()
    assert signed_in(world.bob).get(f"/notifications/{note.pk}/").status_code == 404
    response = signed_in(world.alice).get(f"/notifications/{note.pk}/")
    assert response["Location"] == f"/incidents/{incident.reference}/"
    note.refresh_from_db()
    assert note.read_at is not None


def test_a_responder_of_one_team_does_not_read_raw_bodies_of_the_site(world: World, incident: Incident) -> None:
    client = signed_in(world.alice)
    assert client.get("/alerts/events/").status_code == 403
    address = reverse("incidents:inbound_detail", args=[InboundEvent.objects.get().reference])
    assert client.get(address).status_code == 403


@pytest.mark.parametrize("address", ["/incidents/", "/alerts/", "/alerts/events/", "/settings/deliveries/"])
def test_a_list_asks_the_database_as_often_for_many_as_for_few(world: World, incident: Incident, address: str) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = signed_in(world.ada)
    with CaptureQueriesContext(connection) as few:
        client.get(address)
    for n in range(6):
        world.post_alertmanager(an_alert(f"Other{n}", service="gateway"), group=f"x{n}")
        world.post_alertmanager(an_alert(f"Info{n}", severity="info"), group=f"y{n}")
    drain_all()
    with CaptureQueriesContext(connection) as many:
        client.get(address)
    assert len(many) <= len(few)


def test_a_search_shows_an_incident_of_two_matching_services_once(world: World, incident: Incident) -> None:
    from tests.incidents.worlds import make_service

    incident.services.add(make_service("gateway-two", world.team))
    page = signed_in(world.ada).get("/incidents/?q=gateway&format=csv")
    lines = page.getvalue().decode().strip().splitlines()
    assert len(lines) == 2

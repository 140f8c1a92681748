"""Every page and every page that was not made is explained; a draft is judged on stored alerts and leaves no trace."""

from datetime import timedelta

import orjson
import pytest
import yaml
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.data import system_principal
from core.parsing import InputRefusedError, load_yaml_documents
from core.work import drain_all
from incidents.models import Alert, InboundEvent, Incident, Route, ScheduleVersion
from incidents.selectors import configured_documents, explain_alert, explain_incident
from incidents.services import acknowledge_incident, add_silence, apply_documents, preview_documents
from ledger.models import LedgerEntry
from tests.incidents.conftest import World, an_alert

pytestmark = pytest.mark.django_db(transaction=True)

ADMIN = system_principal("test")


def words_of(chapters: object) -> str:
    return "\n".join(step for chapter in chapters for step in (chapter.title, *chapter.steps))  # type: ignore[attr-defined]


def test_a_page_is_explained_from_the_bytes_to_the_mail(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    incident = Incident.objects.get()
    acknowledge_incident(principal=world.who("alice"), incident=incident)
    told = words_of(explain_incident(incident=incident))
    event = InboundEvent.objects.get()
    for said in (
        f"{event.reference} from prometheus was received",
        "fingerprint GatewaySlow-gateway: no episode of it was open",
        'route gateway matched: service="gateway" and severity=~"page|critical"',
        "no silence fits (0 looked at)",
        f"opened {incident.reference}",
        "policy gateway, as it stood at",
        "step 1, round 1: alice paged: on call in primary: layer always, turn",
        "by email: sent; try 1 accepted",
        "stopped at",
    ):
        assert said in told, told


def test_what_paged_nobody_is_explained_too(world: World) -> None:
    now = timezone.now()
    add_silence(
        principal=ADMIN, matchers=['service="gateway"'], starts_at=now, ends_at=now + timedelta(hours=1), reason="known"
    )
    world.post_alertmanager(an_alert())
    world.post_alertmanager(an_alert("Other", service="unknown"))
    world.post_alertmanager(an_alert("Note", severity="info"))
    drain_all()
    silenced, unrouted, noted = Alert.objects.order_by("pk")
    assert "silenced by SIL-" in words_of(explain_alert(alert=silenced))
    assert "it is held by SIL-" in words_of(explain_alert(alert=silenced))
    told = words_of(explain_alert(alert=unrouted))
    assert "route gateway did not match: service=\"gateway\", but service is 'unknown'" in told
    assert "no route matched" in told
    assert "recorded only" in words_of(explain_alert(alert=noted))
    assert "belongs to no incident" in words_of(explain_alert(alert=noted))


def test_the_command_explains_incidents_alerts_and_events(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    for thing in (Incident.objects.get().reference, str(Alert.objects.get().pk), InboundEvent.objects.get().reference):
        call_command("incident", "explain", thing, "--format", "json")
        chapters = orjson.loads(capsys.readouterr().out)
        assert any("route gateway matched" in step for chapter in chapters for step in chapter["steps"])
    call_command("incident", "deliveries", "--format", "json")
    assert {row["about"] for row in orjson.loads(capsys.readouterr().out)} == {Incident.objects.get().reference}


def test_the_configuration_as_documents_changes_nothing_when_applied(world: World) -> None:
    text = yaml.safe_dump_all(configured_documents(), sort_keys=False)
    versions = ScheduleVersion.objects.count()
    apply_documents(principal=ADMIN, documents=load_yaml_documents(text, source="x.yaml"))
    assert ScheduleVersion.objects.count() == versions
    assert yaml.safe_dump_all(configured_documents(), sort_keys=False) == text


DRAFT = """
apiVersion: assay/v1
kind: Route
metadata: {name: gateway}
spec: {position: 10, match: ['service="elsewhere"'], escalation_policy: gateway}
---
apiVersion: assay/v1
kind: Schedule
metadata: {name: primary, title: Primary}
spec:
  team: inference
  time_zone: Europe/London
  layers: [{name: always, rotation: {unit: week, anchor_date: 2026-01-05}, participants: [bob]}]
"""


def test_a_draft_shows_who_would_have_been_paged_and_leaves_no_trace(world: World) -> None:
    world.post_alertmanager(an_alert())
    world.post_alertmanager(an_alert("Note", severity="info"))
    drain_all()
    before = (Route.objects.get(slug="gateway").matchers, ScheduleVersion.objects.count(), LedgerEntry.objects.count())
    documents = load_yaml_documents(DRAFT, source="draft")
    found = preview_documents(principal=ADMIN, documents=documents[1:])
    (row,) = found.changed
    assert (row.live.people, row.draft.people) == (("alice",), ("bob",))
    assert {(one.live, one.draft) for one in found.shifts} == {("alice", "bob")}
    (row,) = preview_documents(principal=ADMIN, documents=documents[:1]).changed
    assert (row.live.pages, row.draft.pages) == (True, False)
    after = (Route.objects.get(slug="gateway").matchers, ScheduleVersion.objects.count(), LedgerEntry.objects.count())
    assert after == before
    with pytest.raises(InputRefusedError):
        preview_documents(principal=ADMIN, documents=load_yaml_documents("kind: Nonsense", source="draft"))


def test_the_editor_previews_then_saves_and_is_for_those_who_may(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    client = Client()
    client.force_login(world.ada)
    assert "kind: EscalationPolicy" in client.get("/alerts/rules/").content.decode()
    page = client.post("/alerts/rules/", {"documents": DRAFT, "days": 7, "step": "preview"}).content.decode()
    assert "1 of 1 alerts would have gone another way" in page
    assert Route.objects.get(slug="gateway").matchers != ['service="elsewhere"']
    wrong = client.post("/alerts/rules/", {"documents": "kind: x", "days": 7, "step": "save"}).content.decode()
    assert "is allowed" in wrong
    assert client.post("/alerts/rules/", {"documents": DRAFT, "days": 7, "step": "save"}).status_code == 302
    assert Route.objects.get(slug="gateway").matchers == ['service="elsewhere"']
    incident = Incident.objects.get()
    assert "no silence fits" in client.get(f"/incidents/{incident.reference}/explain/").content.decode()
    client.force_login(world.alice)
    assert client.get("/alerts/rules/").status_code == 403
    assert client.get(f"/incidents/{incident.reference}/explain/").status_code == 200
    client.force_login(world.charlie)
    assert client.get(f"/incidents/{incident.reference}/explain/").status_code == 403

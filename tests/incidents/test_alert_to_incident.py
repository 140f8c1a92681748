"""Alert → incident → page → acknowledge → resolve → review → ledger, with the real queues."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from accounts.data import system_principal
from core.parsing import InputRefusedError
from core.periodic import run_now
from core.work import drain_all
from delivery.models import Delivery, Notification
from incidents.data import IncidentStatus
from incidents.models import Alert, EscalationRun, InboundEvent, Incident, Review, TimelineEntry
from incidents.services import (
    Opening,
    acknowledge_incident,
    approve_review,
    edit_review,
    mitigate_incident,
    open_incident,
    replay,
    resolve_incident,
    settle_review_task,
)
from ledger.models import LedgerEntry
from tests.incidents.conftest import World, an_alert
from tests.passing_time import let_pass

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


def texts(incident: Incident) -> list[str]:
    return list(TimelineEntry.objects.filter(incident=incident).values_list("text", flat=True))


def test_an_alert_opens_an_incident_and_pages_the_person_on_call_once(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    incident = Incident.objects.get()
    assert (incident.severity, incident.title, incident.team) == ("sev2", "GatewaySlow on gateway", world.team)
    assert list(incident.services.values_list("slug", flat=True)) == ["gateway"]
    assert incident.first_notified_at is not None
    assert Notification.objects.get().recipient == f"user:{world.alice.pk}"
    (message,) = mail.outbox
    assert message.to == ["alice@example.org"]
    assert "on call in primary: layer always, turn" in message.body
    assert Alert.objects.get().decision.startswith(f"opened {incident.reference}: route gateway matched")
    drain_all()
    assert len(mail.outbox) == 1


def test_further_alerts_of_the_service_and_route_join_the_open_incident(world: World) -> None:
    world.post_alertmanager(an_alert())
    world.post_alertmanager(an_alert("GatewayErrors"), group="h")
    drain_all()
    incident = Incident.objects.get()
    assert incident.alerts.count() == 2
    assert len(mail.outbox) == 1


def test_a_repeat_is_not_news(world: World) -> None:
    for n in range(3):
        world.post_alertmanager(an_alert(), group=f"g{n}")
        drain_all()
    alert = Alert.objects.get()
    assert alert.occurrences == 3
    assert Incident.objects.count() == 1
    assert "known already" in InboundEvent.objects.first().decisions[0]["decision"]  # type: ignore[union-attr]


def test_the_same_bytes_twice_are_one_event(world: World) -> None:
    world.post_alertmanager(an_alert())
    world.post_alertmanager(an_alert())
    assert InboundEvent.objects.get().duplicates == 1


def test_an_alert_that_no_route_takes_is_kept_and_says_so(world: World) -> None:
    world.post_alertmanager(an_alert(severity="none"))
    drain_all()
    assert Incident.objects.count() == 0
    assert "no route matched" in Alert.objects.get().decision


def test_a_route_may_only_record(world: World) -> None:
    world.post_alertmanager(an_alert(severity="info"))
    drain_all()
    assert Incident.objects.count() == 0
    assert Alert.objects.get().decision.startswith("recorded only: route record-only matched")


def test_a_resolution_that_comes_first_pages_nobody(world: World) -> None:
    world.post_alertmanager(an_alert(ends="2026-11-21T01:05:00Z"))
    drain_all()
    world.post_alertmanager(an_alert())
    drain_all()
    assert Incident.objects.count() == 0
    assert Alert.objects.get().is_tombstone


def test_acknowledging_stops_the_escalation_and_is_recorded(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    incident = acknowledge_incident(principal=world.who("alice"), incident=Incident.objects.get())
    assert incident.status == IncidentStatus.ACKNOWLEDGED
    assert {(role.role, role.user.username) for role in incident.roles.all()} == {
        ("responder", "alice"),
        ("commander", "alice"),
    }
    let_pass(timedelta(hours=1))
    drain_all()
    assert len(mail.outbox) == 1
    assert EscalationRun.objects.get().state == "stopped"
    acknowledge_incident(principal=world.who("bob"), incident=incident)
    incident.refresh_from_db()
    assert incident.acknowledged_by == world.alice
    assert LedgerEntry.objects.filter(entry_type="incident.acknowledged").count() == 1


def test_acknowledging_withdraws_a_page_that_has_not_left(world: World) -> None:
    from core.work import drain

    world.post_alertmanager(an_alert())
    drain("incidents.inbound")
    drain("incidents.escalation")
    acknowledge_incident(principal=world.who("alice"), incident=Incident.objects.get())
    drain_all()
    assert mail.outbox == []
    assert set(Delivery.objects.values_list("channel", "state")) == {("email", "withdrawn"), ("in-app", "sent")}


def test_without_an_answer_every_step_is_taken_in_every_round_and_the_administrators_hear(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    for _ in range(8):
        let_pass(timedelta(minutes=11))
        drain_all()
    assert [message.to[0].split("@")[0] for message in mail.outbox] == ["alice", "bob", "alice", "bob"]
    assert EscalationRun.objects.get().state == "exhausted"
    assert Notification.objects.filter(recipient=f"user:{world.ada.pk}", title__startswith="Nobody ack").count() == 1


def test_a_step_with_nobody_on_call_costs_no_waiting_time(world: World) -> None:
    world.alice.is_active = False
    world.alice.save()
    world.post_alertmanager(an_alert())
    drain_all()
    assert [message.to for message in mail.outbox] == [["bob@example.org"]]
    assert any("Nobody is on call in primary" in text for text in texts(Incident.objects.get()))


def test_editing_the_policy_does_not_disturb_a_running_escalation(world: World) -> None:
    from incidents.models import EscalationStep

    world.post_alertmanager(an_alert())
    drain_all()
    EscalationStep.objects.all().delete()
    let_pass(timedelta(minutes=6))
    drain_all()
    assert [message.to for message in mail.outbox] == [["alice@example.org"], ["bob@example.org"]]


def test_a_dead_channel_brings_the_next_step_forward(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from delivery.channels import Outcome
    from delivery.services import sending

    monkeypatch.setattr(sending, "send_mail", lambda **_: Outcome(accepted=False, error="550 no", permanent=True))
    world.post_alertmanager(an_alert())
    drain_all()
    incident = Incident.objects.get()
    assert any("could not be delivered: 550 no" in text for text in texts(incident))
    assert Notification.objects.filter(recipient=f"user:{world.bob.pk}").exists()
    assert Notification.objects.filter(recipient=f"user:{world.ada.pk}", title__contains="given up").exists()


def test_it_is_resolved_by_itself_after_the_quiet_period_unless_it_fires_again(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    world.post_alertmanager(an_alert(ends="2026-11-21T01:05:00Z"))
    drain_all()
    run_now("incidents.resolve_quiet")
    incident = Incident.objects.get()
    assert incident.is_open
    assert incident.quiet_since is not None
    world.post_alertmanager(an_alert(at="2026-11-21T01:06:00Z"))
    drain_all()
    let_pass(timedelta(minutes=1))
    run_now("incidents.resolve_quiet")
    incident.refresh_from_db()
    assert incident.is_open
    world.post_alertmanager(an_alert(at="2026-11-21T01:06:00Z", ends="2026-11-21T01:08:00Z"))
    drain_all()
    let_pass(timedelta(minutes=1))
    run_now("incidents.resolve_quiet")
    incident.refresh_from_db()
    assert incident.status == IncidentStatus.RESOLVED
    assert incident.resolved_by == "quiet-period"
    assert EscalationRun.objects.get().state == "stopped"


def test_after_its_end_the_same_alert_opens_a_new_incident(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    resolve_incident(principal=world.who("alice"), incident=Incident.objects.get())
    world.post_alertmanager(an_alert(ends="2026-11-21T01:05:00Z"))
    world.post_alertmanager(an_alert(at="2026-11-21T02:00:00Z"))
    drain_all()
    assert Incident.objects.count() == 2


def test_the_whole_way_is_in_the_ledger_once(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    incident = acknowledge_incident(principal=world.who("alice"), incident=Incident.objects.get())
    mitigate_incident(principal=world.who("alice"), incident=incident)
    world.post_alertmanager(an_alert(ends="2026-11-21T01:05:00Z"))
    drain_all()
    resolve_incident(principal=world.who("alice"), incident=incident, reason="restarted")
    resolve_incident(principal=world.who("alice"), incident=incident, reason="again")
    review = Review.objects.get()
    with pytest.raises(InputRefusedError, match="a person finishes it first"):
        approve_review(principal=world.who("bob"), review=review)
    review = edit_review(
        principal=world.who("alice"), review=review, contributing_factors="- frozen process\n- no probe"
    )
    with pytest.raises(InputRefusedError, match="other than its author"):
        approve_review(principal=_as_approver(world, "alice"), review=review)
    with pytest.raises(InputRefusedError, match="a review whose tasks are settled"):
        approve_review(principal=world.who("bob"), review=review)
    edit_review(
        principal=world.who("alice"),
        review=review,
        **dict.fromkeys(("summary", "impact", "detection", "went_well", "went_poorly", "lessons"), "as drafted"),
    )
    for key in ("timeline", "meeting", "follow-ups"):
        settle_review_task(principal=world.who("alice"), review=review, key=key, skip_because="small")
    approve_review(principal=world.who("bob"), review=review)
    kinds = [
        kind
        for kind in LedgerEntry.objects.order_by("pk").values_list("entry_type", flat=True)
        if kind.startswith(("incident", "alert", "oncall"))
    ]
    assert kinds == [
        "oncall.schedule_declared",
        "incident.opened",
        "incident.acknowledged",
        "alert.handled",
        "incident.resolved",
        "incident.review_approved",
    ]
    opened = LedgerEntry.objects.get(entry_type="incident.opened")
    assert opened.payload["detection_source"] == "alert:prometheus"  # type: ignore[index]
    approved = LedgerEntry.objects.get(entry_type="incident.review_approved")
    assert approved.payload["contributing_factors"] == ["frozen process", "no probe"]  # type: ignore[index]


def _as_approver(world: World, name: str):  # type: ignore[no-untyped-def]
    from accounts.data import Role
    from accounts.models import User
    from accounts.services import grant_role

    user = User.objects.get(username=name)
    grant_role(principal=system_principal("test"), user=user, role=Role.APPROVER, team=world.team)
    return world.who(name)


def test_a_poison_body_is_kept_as_unparsed_and_does_not_stop_the_others(world: World) -> None:
    from incidents.services import InboundRequest, receive

    for body in (b"\xff\xfe", b"{", b"[1]", b'{"version":"4"}', b""):
        receive(InboundRequest("alertmanager", (world.token,), "POST", body))
    world.post_alertmanager(an_alert())
    drain_all()
    assert InboundEvent.objects.filter(state="unparsed").count() == 5
    assert all(event.problem for event in InboundEvent.objects.filter(state="unparsed"))
    assert Incident.objects.count() == 1


def test_replaying_an_event_causes_nothing_twice(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    replay(principal=system_principal("test"), event=InboundEvent.objects.get())
    drain_all()
    assert (Incident.objects.count(), Alert.objects.count(), len(mail.outbox)) == (1, 1, 1)
    assert InboundEvent.objects.get().replays == 1


def test_a_stranger_may_not_respond_and_nobody_in_particular_may_not_acknowledge(world: World) -> None:
    from django.core.exceptions import PermissionDenied

    world.post_alertmanager(an_alert())
    drain_all()
    incident = Incident.objects.get()
    for act in (acknowledge_incident, mitigate_incident, resolve_incident):
        with pytest.raises(PermissionDenied):
            act(principal=world.who("charlie"), incident=incident)
    with pytest.raises(InputRefusedError):
        acknowledge_incident(principal=system_principal("cli"), incident=incident)


def test_a_person_may_declare_an_incident(world: World) -> None:
    incident = open_incident(
        principal=world.who("alice"),
        opening=Opening(title="Customers call", severity="sev1", team_id=world.team.pk),  # type: ignore[arg-type]
    )
    entry = LedgerEntry.objects.get(entry_type="incident.opened")
    assert entry.payload["detection_source"] == "person"  # type: ignore[index]
    assert any("Nobody is paged" in text for text in texts(incident))


def test_a_chaos_run_that_declared_itself_is_named_as_the_cause(world: World) -> None:
    from catalog.data import ActivityKind
    from catalog.models import Service
    from catalog.services import start_activity

    start_activity(
        kind=ActivityKind.CHAOS_RUN,
        source_key="chaos:RUN-1",
        title="Freeze",
        url="/chaos/",
        service_ids=[Service.objects.get().pk],
        started_at=timezone.now(),
    )
    world.post_alertmanager(an_alert())
    drain_all()
    incident = Incident.objects.get()
    assert incident.caused_by == "chaos:RUN-1"
    told = incident.timeline.get(kind="cause")
    assert told.text.startswith("Chaos run “Freeze” is running on this service")
    assert told.link == "/chaos/"

"""What keeps an alert from paging, what lets it go, and how a storm is folded; nothing is ever dropped."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts.data import system_principal
from catalog.models import Activity, Dependency, Service
from core.parsing import InputRefusedError
from core.work import drain_all
from incidents.domain.routing import parse_matcher
from incidents.domain.silencing import Quiet, ensure_recurrence_is_valid
from incidents.models import Alert, EscalationRun, Incident, Page, Route, Silence
from incidents.services import add_silence, apply_documents, end_silence, release_suppressed, send_digests
from tests.incidents.conftest import World, an_alert
from tests.incidents.worlds import make_service

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

ADMIN = system_principal("test")


def silence(*matchers: str, **more: object) -> Silence:
    now = timezone.now()
    values = {"starts_at": now - timedelta(minutes=1), "ends_at": now + timedelta(hours=1), "reason": "known", **more}
    return add_silence(principal=ADMIN, matchers=list(matchers), **values)  # type: ignore[arg-type]


def test_a_silenced_alert_pages_nobody_says_why_and_pages_when_the_silence_ends(world: World) -> None:
    made = silence('service="gateway"')
    world.post_alertmanager(an_alert())
    drain_all()
    alert = Alert.objects.get()
    assert alert.suppressed_by == f"silence:{made.reference}"
    assert alert.decision.startswith(f"silenced by {made.reference} (known) until")
    assert Incident.objects.count() == 0
    assert release_suppressed() == 0, "it still holds"
    end_silence(principal=ADMIN, silence=made)
    assert release_suppressed() == 1
    drain_all()
    alert.refresh_from_db()
    assert alert.decision.startswith(f"{made.reference} is over and it still fires: opened INC-")
    assert len(mail.outbox) == 1
    assert release_suppressed() == 0


def test_an_alert_that_ends_within_its_silence_never_pages(world: World) -> None:
    made = silence('alertname="GatewaySlow"')
    world.post_alertmanager(an_alert())
    world.post_alertmanager(an_alert(ends="2026-11-21T01:05:00Z"))
    drain_all()
    end_silence(principal=ADMIN, silence=made)
    assert release_suppressed() == 0
    assert Incident.objects.count() == 0


def test_a_silence_needs_a_matcher_a_span_and_the_right(world: World) -> None:
    from django.core.exceptions import PermissionDenied

    with pytest.raises(InputRefusedError, match="silence of everything"):
        silence()
    with pytest.raises(InputRefusedError, match="an end after the start"):
        silence('a="b"', ends_at=timezone.now() - timedelta(hours=2))
    with pytest.raises(InputRefusedError):
        silence('a="b"', recurrence="FREQ=SECONDLY")
    now = timezone.now()
    with pytest.raises(PermissionDenied):
        add_silence(
            principal=world.who("charlie"),
            matchers=['a="b"'],
            starts_at=now,
            ends_at=now + timedelta(hours=1),
            reason="x",
        )


def test_a_weekly_window_keeps_its_wall_time_over_a_change_of_offset() -> None:
    quiet = Quiet(
        "SIL-1",
        (parse_matcher('a="b"'),),
        datetime(2026, 10, 18, 1, tzinfo=UTC),  # 02:00 in London, summer time
        datetime(2026, 10, 18, 3, tzinfo=UTC),
        "Europe/London",
        "FREQ=WEEKLY;BYDAY=SU",
    )
    assert quiet.span_at(datetime(2026, 11, 1, 1, 30, tzinfo=UTC)) is None
    assert quiet.span_at(datetime(2026, 11, 1, 2, 30, tzinfo=UTC)) == (
        datetime(2026, 11, 1, 2, tzinfo=UTC),
        datetime(2026, 11, 1, 4, tzinfo=UTC),
    )
    assert quiet.span_at(datetime(2026, 11, 2, 2, 30, tzinfo=UTC)) is None
    with pytest.raises(ValueError, match="an hour"):
        ensure_recurrence_is_valid("FREQ=MINUTELY")


def test_a_maintenance_window_stands_in_the_catalogue(world: World) -> None:
    made = silence('service="gateway"', kind=Silence.Kind.MAINTENANCE, reason="disks change")
    activity = Activity.objects.get(source_key=f"maintenance:{made.reference}")
    assert (activity.kind, activity.title) == ("maintenance", "disks change")
    assert [service.slug for service in activity.services.all()] == ["gateway"]


def test_an_alert_is_held_while_what_its_service_needs_has_a_severe_incident(world: World) -> None:
    make_service("store", world.team)
    store, gateway = Service.objects.get(slug="store"), Service.objects.get(slug="gateway")
    make_service("middle", world.team)
    middle = Service.objects.get(slug="middle")
    Dependency.objects.create(consumer=gateway, provider=middle)
    Dependency.objects.create(consumer=middle, provider=store)
    Route.objects.filter(slug="gateway").update(hold_behind_providers=True, matchers=['severity="page"'])
    world.post_alertmanager(an_alert("StoreDown", service="store"))
    drain_all()
    provider = Incident.objects.get()
    world.post_alertmanager(an_alert())
    drain_all()
    held = Alert.objects.get(service=gateway)
    assert held.suppressed_by == f"incident:{provider.reference}"
    assert held.decision.startswith(f"held: gateway needs store, which has {provider.reference} open")
    world.post_alertmanager(an_alert("StoreDown", service="store", ends="2026-11-21T01:09:00Z"))
    drain_all()
    from incidents.services import resolve_incident

    resolve_incident(principal=ADMIN, incident=provider)
    assert release_suppressed() == 1
    assert Incident.objects.filter(services=gateway).count() == 1


def test_a_route_that_continues_pages_a_second_policy_on_the_same_incident(world: World) -> None:
    from core.parsing import load_yaml_documents

    text = """
apiVersion: assay/v1
kind: EscalationPolicy
metadata: {name: managers}
spec: {steps: [{user: bob, wait: 5m}]}
---
apiVersion: assay/v1
kind: Route
metadata: {name: tell-managers}
spec: {position: 11, match: ['severity="page"'], escalation_policy: managers}
"""
    apply_documents(principal=ADMIN, documents=load_yaml_documents(text, source="x.yaml"))
    Route.objects.filter(slug="gateway").update(continues=True)
    world.post_alertmanager(an_alert())
    drain_all()
    assert Incident.objects.count() == 1
    assert sorted(EscalationRun.objects.values_list("policy__slug", flat=True)) == ["gateway", "managers"]
    assert sorted(message.to[0] for message in mail.outbox) == ["alice@example.org", "bob@example.org"]
    assert "then route tell-managers matched" in Alert.objects.get().decision


def test_an_alert_that_flaps_keeps_its_incident_open_and_pages_once(world: World) -> None:
    for minute in range(0, 10, 2):
        start, end = f"2026-11-21T01:{minute:02}:00Z", f"2026-11-21T01:{minute + 1:02}:00Z"
        world.post_alertmanager(an_alert(at=start))
        world.post_alertmanager(an_alert(at=start, ends=end))
        drain_all()
    assert Incident.objects.get().quiet_period == timedelta(minutes=30)
    assert list(Alert.objects.order_by("pk").values_list("flapping", flat=True)) == [False] * 3 + [True] * 2
    assert "it flaps (5 episodes in 30 min)" in Alert.objects.order_by("-pk")[0].decision
    assert len(mail.outbox) == 1


def test_in_a_storm_pages_are_folded_and_the_digest_lists_each(world: World) -> None:
    Route.objects.filter(slug="gateway").update(service_label="service", matchers=['severity="page"'])
    for n in range(3):
        make_service(f"s{n}", world.team)
    for n in range(9):
        Route.objects.create(
            slug=f"r{n}",
            name=f"r{n}",
            position=n,
            matchers=[f'alertname="A{n}"'],
            policy=Route.objects.get(slug="gateway").policy,
        )
        world.post_alertmanager(an_alert(f"A{n}", service=f"s{n % 3}"))
        drain_all()
    assert Incident.objects.count() == 9
    folded = Page.objects.filter(folded=True)
    assert (Page.objects.count(), folded.count(), len(mail.outbox)) == (9, 4, 5)
    assert Incident.objects.filter(first_notified_at=None).count() == 4
    assert send_digests() == 1
    assert send_digests() == 0
    drain_all()
    digest = mail.outbox[-1]
    for page in folded:
        assert page.incident.reference in digest.body
    assert digest.body.count("/incidents/acknowledge/") == 4
    assert Incident.objects.filter(first_notified_at=None).count() == 0


def test_the_first_page_of_a_service_goes_out_by_itself_in_any_storm(world: World) -> None:
    policy = Route.objects.get(slug="gateway").policy
    for n in range(8):
        make_service(f"s{n}", world.team)
        name = f"A{n}"
        Route.objects.create(slug=f"r{n}", name=name, position=n, matchers=[f'alertname="{name}"'], policy=policy)
        world.post_alertmanager(an_alert(name, service=f"s{n}"))
    drain_all()
    assert Page.objects.filter(folded=False).count() == 8


def test_the_pages_for_silences_preview_add_and_end(world: World) -> None:
    world.post_alertmanager(an_alert())
    drain_all()
    client = Client()
    client.force_login(world.ada)
    alert = Alert.objects.get()
    assert "Silence alerts like this" in client.get(f"/alerts/{alert.pk}/").content.decode()
    now = timezone.now()
    form = {
        "matchers": 'service="gateway"\nseverity="page"',
        "kind": "silence",
        "starts_at": now.strftime("%Y-%m-%dT%H:%M"),
        "ends_at": (now + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M"),
        "reason": "known",
    }
    preview = client.post("/alerts/silences/add/", {**form, "preview": "1"}).content.decode()
    assert alert.title in preview
    assert Silence.objects.count() == 0
    assert client.post("/alerts/silences/add/", form).status_code == 302
    made = Silence.objects.get()
    assert "SILENCED" in client.get("/alerts/silences/").content.decode()
    assert client.post(f"/alerts/silences/{made.reference}/").status_code == 302
    made.refresh_from_db()
    assert made.ended_at is not None
    groups = client.get("/alerts/groups/").content.decode()
    assert "GatewaySlow" in groups
    wrong = client.post("/alerts/silences/add/", {**form, "matchers": "nonsense"}).content.decode()
    assert "is not a matcher" in wrong

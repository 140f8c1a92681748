"""Events that are processed at once end as events that are processed one by one do."""

import re
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.data import system_principal
from catalog.models import Activity, Service
from core.events import Event
from core.leases import LeasedModel, StaleFenceError, claim_due, finish_many
from core.parsing import load_yaml_documents
from core.work import drain, drain_all
from delivery.models import Delivery, Notification
from incidents.models import Alert, EscalationRun, InboundEvent, Incident, Page, TimelineEntry
from incidents.services import InboundRequest, apply_documents, batching, receive, take_step
from ledger.models import LedgerEntry
from tests.incidents.conftest import World, an_alert
from tests.incidents.worlds import make_service


def _post(world: World, body: object) -> None:
    receive(InboundRequest("alertmanager", (world.token,), "POST", orjson.dumps(body)))


def _group(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "groupKey": "g", "status": "firing", "receiver": "assay", "alerts": list(alerts)}


def _plain(value: Any) -> str:
    """Return a value without numbers and times that differ from run to run."""
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    text = re.sub(
        r"inb_[a-z0-9]+|INC-\d+|(alert|escalation|any|body|incident_id\"|delivery_id\"):\d+|/alerts/\d+/", "x", text
    )
    text = re.sub(r"acknowledge/[\w:-]+/", "link", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]+Z?|\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d", "t", text)


def _state() -> dict[str, Any]:
    """Return what is stored, of every table that processing writes."""
    alerts = [
        (
            one.fingerprint,
            one.status,
            one.occurrences,
            _plain(one.decision),
            [_plain(step) for step in one.trail],
            one.suppressed_by,
            one.is_tombstone,
            one.service.slug if one.service else "",
            one.incident.title if one.incident else "",
        )
        for one in Alert.objects.select_related("service", "incident").order_by("fingerprint", "episode_at")
    ]
    events = [
        (
            one.state,
            one.taken,
            one.problem,
            [(d["title"], d["status"], d.get("verdict"), _plain(d["decision"])) for d in one.decisions],
        )
        for one in InboundEvent.objects.order_by("pk")
    ]
    incidents = [
        (
            one.title,
            one.severity,
            one.status,
            one.grouping_key,
            one.detected_by,
            one.first_notified_at is not None,
            sorted(one.services.values_list("slug", flat=True)),
            [(run.snapshot, run.state, run.step, run.loop, run.people_paged) for run in one.escalations.all()],
            [(page.user.username, page.step, page.loop, page.why, page.folded) for page in one.pages.all()],
        )
        for one in Incident.objects.order_by("grouping_key", "pk")
    ]
    activities = [
        (one.kind, _plain(one.title), sorted(one.services.values_list("slug", flat=True)))
        for one in Activity.objects.all()
    ]
    recorded = [
        (one.entry_type, one.actor, _plain(one.subject), _plain(one.payload or {}), hasattr(one, "pending"))
        for one in LedgerEntry.objects.filter(pk__gt=_mark["entry"]).select_related("content", "pending")
    ]
    sent = [
        (one.channel, one.address, _plain(one.idempotency_key), _plain(one.subject), _plain(one.text), one.state)
        for one in Delivery.objects.all()
    ]
    announced = [
        (one.kind, _plain(one.payload), one.deliveries.count()) for one in Event.objects.filter(pk__gt=_mark["event"])
    ]
    entries = [(one.incident.title, one.kind, _plain(one.text), one.actor) for one in TimelineEntry.objects.all()]
    unordered: tuple[list[Any], ...] = (activities, recorded, sent, announced, entries)
    return {
        "alerts": alerts,
        # Alerts of one batch that pages nobody or join are stored after those that need a closer look.
        "events": sorted(events, key=repr),
        "incidents": incidents,
        "notifications": Notification.objects.count(),
        **{str(number): sorted(rows, key=repr) for number, rows in enumerate(unordered)},
    }


_mark = {"entry": 0, "event": 0}


def _forget() -> None:
    """Forget what was processed; ledger entries and announcements stay, and are counted from here."""
    for model in (TimelineEntry, Alert, InboundEvent, Page, EscalationRun, Delivery, Activity):
        model.objects.all().delete()
    Incident.objects.all().delete()
    _mark["entry"] = LedgerEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    _mark["event"] = Event.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


Sent = tuple[str, str, str, str | None, str]
SENT = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C", "D"]),
            st.sampled_from(["gateway", "feature-store", "unknown"]),
            st.sampled_from(["page", "critical", "info", "nobody"]),
            st.sampled_from([None, "2026-11-21T01:05:00Z"]),
            st.sampled_from(["2026-11-21T01:00:00Z", "2026-11-21T01:10:00Z"]),
        ),
        min_size=1,
        max_size=3,
    ),
    min_size=2,
    max_size=6,
)


MORE_ROUTES = """
apiVersion: assay/v1
kind: EscalationPolicy
metadata: {name: in-turn}
spec: {steps: [{schedule: primary, wait: 0s, round_robin: true}, {user: bob, wait: 5m}]}
---
apiVersion: assay/v1
kind: Route
metadata: {name: critical-too}
spec: {position: 5, match: ['severity="critical"'], severity: sev1, escalation_policy: in-turn, continue: true}
---
apiVersion: assay/v1
kind: Route
metadata: {name: rest}
spec: {position: 30, match: ['severity="page"'], severity: sev3, escalation_policy: in-turn}
"""


def _escalate_one_by_one() -> None:
    while rows := claim_due(EscalationRun.objects.all(), lease_for=timedelta(seconds=60), limit=1):
        with transaction.atomic():
            take_step(rows[0])


@pytest.mark.django_db
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(sent=SENT)
def test_many_at_once_end_as_one_after_another(world: World, sent: list[list[Sent]]) -> None:
    if not Service.objects.filter(slug="feature-store").exists():
        make_service("feature-store", world.team)
        documents = load_yaml_documents(MORE_ROUTES, source="more.yaml")
        apply_documents(principal=system_principal("test"), documents=documents)
        _forget()
    bodies = [
        _group(
            *(
                an_alert(name, at=at, ends=ends, severity=severity, service=service)
                for name, service, severity, ends, at in alerts
            )
        )
        for alerts in sent
    ]
    found = []
    for together in (False, True):
        for number, body in enumerate(bodies):
            _post(world, {**body, "n": number})
            if not together:
                drain("incidents.inbound")
        if together:
            drain("incidents.inbound")
            drain("incidents.escalation")
        else:
            _escalate_one_by_one()
        found.append(_state())
        _forget()
    assert found[0] == found[1]


@pytest.mark.django_db
def test_a_storm_takes_few_questions_and_loses_nothing(world: World, django_assert_max_num_queries: Any) -> None:
    _post(world, _group(an_alert("First")))
    drain_all()
    for number in range(50):
        _post(world, _group(an_alert(f"Storm{number}")))
    with django_assert_max_num_queries(40):
        assert drain("incidents.inbound") == 50
    incident = Incident.objects.get()
    assert incident.alerts.count() == 51
    assert incident.timeline.filter(kind="alert").count() == 51
    assert not InboundEvent.objects.filter(finished_at=None).exists()
    assert {event.decisions[0]["alert"] for event in InboundEvent.objects.all()} == set(
        Alert.objects.values_list("pk", flat=True)
    )


@pytest.mark.django_db
def test_many_incidents_at_once_take_hardly_more_questions_than_one(
    world: World, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        make_service(f"s-{number}", world.team)
    apply_documents(principal=system_principal("test"), documents=load_yaml_documents(MORE_ROUTES, source="more.yaml"))
    for number in range(20):
        _post(world, _group(an_alert("Slow", service=f"s-{number}")))
    with django_assert_max_num_queries(50):
        assert drain("incidents.inbound") == 20
    with django_assert_max_num_queries(60):
        assert drain("incidents.escalation") == 40
    assert Incident.objects.count() == 20
    # Alice stands in the first step and Bob in the second: each gets the first page of every service by itself.
    assert Page.objects.filter(folded=False).count() == 40
    assert Delivery.objects.filter(channel="email").count() == 40
    assert LedgerEntry.objects.filter(entry_type="incident.opened").count() == 20


@pytest.mark.django_db
def test_what_fails_together_is_tried_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug of the fast way")

    monkeypatch.setattr(batching, "_take_in_bulk", fail)
    for number in range(3):
        _post(world, _group(an_alert(f"A{number}")))
    assert drain("incidents.inbound") == 3
    assert Alert.objects.count() == 3
    assert InboundEvent.objects.filter(state="processed", attempts=1).count() == 3


@pytest.mark.django_db
def test_rows_that_another_worker_has_claimed_are_not_settled(world: World) -> None:
    for number in range(3):
        _post(world, _group(an_alert(f"A{number}")))
    rows: list[LeasedModel] = list(claim_due(InboundEvent.objects.all(), lease_for=timedelta(seconds=60), limit=3))
    assert len(rows) == 3
    InboundEvent.objects.filter(pk=rows[1].pk).update(fence=99)
    with pytest.raises(StaleFenceError, match="1 of 3"):
        finish_many([(row, {"taken": 1}) for row in rows])
    assert claim_due(InboundEvent.objects.all(), lease_for=timedelta(seconds=60), limit=3) == []

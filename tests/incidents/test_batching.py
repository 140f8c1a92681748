"""Events that are processed at once end as events that are processed one by one do."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.leases import LeasedModel, StaleFenceError, claim_due, finish_many
from core.work import drain, drain_all
from incidents.models import Alert, InboundEvent, Incident, TimelineEntry
from incidents.services import InboundRequest, batching, receive
from tests.incidents.conftest import World, an_alert


def _post(world: World, body: object) -> None:
    receive(InboundRequest("alertmanager", (world.token,), "POST", orjson.dumps(body)))


def _group(*alerts: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "groupKey": "g", "status": "firing", "receiver": "assay", "alerts": list(alerts)}


def _state() -> dict[str, Any]:
    """What is stored, without numbers and times that differ from run to run."""

    def plain(text: str) -> str:
        text = re.sub(r"inb_[a-z0-9]+|INC-\d+|alert:\d+|/alerts/\d+/", "x", text)
        return re.sub(r"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d", "t", text)

    alerts = [
        (
            one.fingerprint,
            one.status,
            one.occurrences,
            plain(one.decision),
            [plain(step) for step in one.trail],
            one.suppressed_by,
            one.is_tombstone,
            one.service.slug if one.service else "",
            one.incident.title if one.incident else "",
        )
        for one in Alert.objects.select_related("service", "incident").order_by("fingerprint", "episode_at")
    ]
    events = [
        (one.state, one.taken, one.problem, [(d["title"], d["status"], plain(d["decision"])) for d in one.decisions])
        for one in InboundEvent.objects.order_by("pk")
    ]
    entries = sorted((one.incident.title, one.kind, plain(one.text)) for one in TimelineEntry.objects.all())
    return {"alerts": alerts, "events": events, "timeline": entries}


def _forget() -> None:
    for model in (TimelineEntry, Alert, InboundEvent):
        model.objects.all().delete()
    Incident.objects.all().delete()


Sent = tuple[str, str, str | None, str]
SENT = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C", "D"]),
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


@pytest.mark.django_db
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(sent=SENT)
def test_many_at_once_end_as_one_after_another(
    world: World, sent: list[list[tuple[str, str, str | None, str]]]
) -> None:
    bodies = [
        _group(*(an_alert(name, at=at, ends=ends, severity=severity) for name, severity, ends, at in alerts))
        for alerts in sent
    ]
    found = []
    for together in (False, True):
        for number, body in enumerate(bodies):
            _post(world, {**body, "n": number})
            if not together:
                drain("incidents.inbound")
        drain("incidents.inbound")
        state = _state()
        # Alerts of one batch that join an incident are stored after those that open it or need a closer look.
        state["events"] = sorted(state["events"], key=repr)
        found.append(state)
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
    from datetime import timedelta

    rows: list[LeasedModel] = list(claim_due(InboundEvent.objects.all(), lease_for=timedelta(seconds=60), limit=3))
    assert len(rows) == 3
    InboundEvent.objects.filter(pk=rows[1].pk).update(fence=99)
    with pytest.raises(StaleFenceError, match="1 of 3"):
        finish_many([(row, {"taken": 1}) for row in rows])
    assert claim_due(InboundEvent.objects.all(), lease_for=timedelta(seconds=60), limit=3) == []

"""A rule is tried on samples before it judges; what YAML cannot say, a plug-in can."""

import json
from collections.abc import Callable

import pytest
from django.test import Client

from accounts.data import Principal, Role
from accounts.models import User
from compliance.domain import plugins
from compliance.domain.plugins import Entry
from compliance.services.trying import try_rule
from core.parsing import InputRefusedError
from ledger.data.access import AuditedAction
from ledger.services import record

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("content")]
RULE = "entries: [audit.action]\nexpect: [{field: outcome, equals: done}]\ncadence: event\n"


def sample(**payload: str) -> dict[str, object]:
    return {"type": "audit.action", "payload": {"action": "x", "target": "y", **payload}}


def test_a_rule_is_tried_on_samples(manager: Principal) -> None:
    samples = json.dumps(
        [sample(), sample(outcome="refused"), {"type": "control.retired", "payload": {"control": "c", "reason": "r"}}]
    )
    found = try_rule(principal=manager, rule=RULE, samples=samples)
    assert [one.verdict for one in found] == ["passes", "fails", "not looked at"]
    assert "refused" in found[1].reasons[0]


def test_without_samples_the_ledger_is_asked(manager: Principal) -> None:
    record(AuditedAction(action="x", target="y", outcome="failed"), actor="user:1", subject="s")
    assert "fails" in {one.verdict for one in try_rule(principal=manager, rule=RULE)}


@pytest.mark.parametrize(
    ("rule", "samples"),
    [
        ("entries: [no.such]\ncadence: event\n", ""),
        ("entries: [audit.action]\nexpect: [{field: nothing, equals: 1}]\ncadence: event\n", ""),
        ("entries: [audit.action]\ncadence: sometimes\n", ""),
        ("entries: [audit.action]\ncadence: event\npython: no-such-plugin\n", ""),
        (RULE, "{}"),
        (RULE, "[1]"),
        (RULE, json.dumps([{"type": "audit.action", "payload": {"action": "x"}}])),
        (RULE, json.dumps([{"type": "no.such", "payload": {}}])),
    ],
)
def test_a_rule_or_sample_that_cannot_be_is_refused(rule: str, samples: str, manager: Principal) -> None:
    with pytest.raises(InputRefusedError):
        try_rule(principal=manager, rule=rule, samples=samples)


def test_a_plug_in_says_what_the_language_cannot(manager: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    def short_target(entry: Entry) -> list[str]:
        return [] if len(str(entry.payload["target"])) < 3 else ["the target is long"]

    monkeypatch.setattr(plugins, "_registered", {})
    plugins.register("short-target", short_target)
    samples = json.dumps([sample(), sample(target="long one")])
    found = try_rule(principal=manager, rule=RULE + "python: short-target\n", samples=samples)
    assert [(one.verdict, list(one.reasons)) for one in found] == [("passes", []), ("fails", ["the target is long"])]
    with pytest.raises(ValueError, match="another check"):
        plugins.register("short-target", lambda _: [])


def test_the_page_tries_and_keeps_nothing(manager: Principal, person: Callable[..., User]) -> None:
    client = Client()
    client.force_login(User.objects.get(username="carol"))
    assert client.get("/controls/try/?check=1").status_code == 200
    page = client.post("/controls/try/", {"rule": RULE, "samples": json.dumps([sample()])}).content.decode()
    assert "1 of 1 pass" in page
    assert client.post("/controls/try/", {"rule": "entries: []"}).status_code == 400
    client.force_login(person("victor", Role.VIEWER))
    assert client.get("/controls/try/").status_code == 403

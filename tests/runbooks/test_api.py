"""Runbooks over REST."""

from typing import Any

import orjson
import pytest
from django.test import Client

from accounts.data import Capability, Role
from accounts.models import User
from accounts.services import create_api_token
from core.work import drain
from runbooks.models import RunbookRun
from tests.runbooks.conftest import SITE, Bench, block, check, step

pytestmark = pytest.mark.django_db
TEXT = "---\nrunbook: bench\ntitle: Bench\n---\n# Bench\n\n" + check("look")


def call(name: str, method: str, path: str, body: object = None) -> Any:
    client = Client()
    client.force_login(User.objects.get(username=name))
    data = orjson.dumps(body) if body is not None else b""
    return client.generic(method, f"/api/v1{path}", data, content_type="application/json")


@pytest.fixture
def cast(bench: Bench) -> Bench:
    bench.person("ed", Role.ADMIN)
    bench.person("olive", Role.RESPONDER)
    bench.person("bob", Role.APPROVER)
    bench.person("vic", Role.VIEWER)
    bench.person("charlie")
    return bench


def test_files_are_checked_and_applied_all_or_nothing(cast: Bench) -> None:
    bad = TEXT.replace("see.look", "see.nothing")
    both = {"documents": [{"name": "a.md", "text": TEXT}, {"name": "b.md", "text": bad}]}
    (problem,) = call("vic", "POST", "/runbooks/lint/", both).json()
    assert problem["where"].startswith("b.md:7")
    refused = call("ed", "POST", "/runbooks/", both)
    assert refused.status_code == 400
    assert call("ed", "GET", "/runbooks/").json()["count"] == 0
    assert call("olive", "POST", "/runbooks/", {"documents": both["documents"][:1]}).status_code == 403
    assert call("ed", "POST", "/runbooks/", {"documents": both["documents"][:1]}).json() == {"changed": ["bench"]}
    (revision,) = call("vic", "GET", "/runbooks/bench/revisions/").json()
    assert revision["source"] == TEXT


def test_a_run_is_planned_started_approved_and_followed(cast: Bench) -> None:
    cast.apply(block("approve id=agree", before="[burn]") + step("burn", "do.destroy"))
    planned = call("olive", "POST", "/runbooks/bench/plan/", {"inputs": {}}).json()
    assert planned[1]["commands"] == ["do.destroy burn"]
    assert planned[1]["guarded_by"] == ["agree"]
    started = call("olive", "POST", "/runbooks/bench/runs/", {"key": "once"})
    again = call("olive", "POST", "/runbooks/bench/runs/", {"key": "once"})
    assert started.status_code == 201
    reference = started.json()["reference"]
    assert again.json()["reference"] == reference
    drain("runbooks.advance")
    path = f"/runbook-runs/{reference}/"
    own = call("olive", "POST", f"{path}answer/", {"step": "agree", "answer": "approve"})
    assert own.status_code == 403
    call("bob", "POST", f"{path}answer/", {"step": "agree", "answer": "approve"})
    drain("runbooks.advance")
    found = call("vic", "GET", path).json()
    assert found["state"] == "succeeded"
    assert [one["state"] for one in found["steps"]] == ["succeeded", "succeeded"]
    assert call("vic", "GET", "/runbook-runs/?state=succeeded").json()["count"] == 1
    assert call("vic", "GET", f"{path}output/?after=x").status_code == 400


def test_pause_resume_take_over_and_cancel(cast: Bench) -> None:
    cast.apply(block("confirm id=sure", ask="Sure?"))
    reference = call("olive", "POST", "/runbooks/bench/runs/", {}).json()["reference"]
    path = f"/runbook-runs/{reference}/"
    for verb in ("pause", "resume", "take-over"):
        assert call("olive", "POST", f"{path}{verb}/", {}).status_code == 200
        assert call("vic", "POST", f"{path}{verb}/", {}).status_code == 403
    assert call("olive", "POST", f"{path}cancel/", {"reason": "false alarm"}).json()["state"] == "cancelled"
    assert call("olive", "POST", f"{path}cancel/", {"why": "x"}).status_code == 400


@pytest.mark.parametrize(("name", "status"), [("vic", 403), ("charlie", 404)])
def test_who_may_not_starts_nothing(cast: Bench, name: str, status: int) -> None:
    cast.apply(check("look"))
    assert call(name, "POST", "/runbooks/bench/runs/", {}).status_code == status
    assert not RunbookRun.objects.exists()


def test_a_token_does_what_its_scopes_say(cast: Bench) -> None:
    cast.apply(check("look"))
    olive = User.objects.get(username="olive")
    _, secret = create_api_token(principal=SITE, owner=olive, name="t", scopes=[Capability.OPERATIONS_VIEW])
    headers = {"Authorization": f"Bearer {secret}"}
    assert Client().get("/api/v1/runbooks/bench/", headers=headers).status_code == 200
    assert Client().post("/api/v1/runbooks/bench/runs/", {}, "application/json", headers=headers).status_code == 403
    assert Client().get("/api/v1/runbooks/").status_code == 401

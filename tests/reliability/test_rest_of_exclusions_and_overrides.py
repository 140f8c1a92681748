"""Exclusions and overrides by REST: the same rules as on the pages and the command line."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.data import Role
from accounts.services import create_user, grant_role
from core.clock import database_now
from reliability.models import Exclusion, GateOverride, SLOVersion
from tests.reliability.conftest import SITE

pytestmark = pytest.mark.django_db


def signed_in(name: str, role: Role) -> Client:
    user = create_user(principal=SITE, username=name, password=None)
    grant_role(principal=SITE, user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


def post(client: Client, address: str, **body: Any) -> Any:
    return client.post(address, json.dumps(body), content_type="application/json")


def asked(**changes: Any) -> dict[str, Any]:
    now = database_now()
    return {
        "slo": "gateway-ttft",
        "starts_at": (now - timedelta(hours=2)).isoformat(),
        "ends_at": (now - timedelta(hours=1)).isoformat(),
        "reason": "Announced move",
        **changes,
    }


def test_one_asks_and_another_approves(version: SLOVersion) -> None:
    bob, carl = signed_in("bob", Role.APPROVER), signed_in("carl", Role.APPROVER)
    made = post(bob, "/api/v1/exclusions/", **asked())
    assert made.status_code == 201
    reference = made.json()["reference"]
    assert made.json()["state"] == "requested"
    assert post(bob, f"/api/v1/exclusions/{reference}/approve/").status_code == 403
    assert post(carl, f"/api/v1/exclusions/{reference}/approve/").json()["state"] == "approved"
    assert post(carl, f"/api/v1/exclusions/{reference}/approve/").status_code == 400
    assert post(carl, f"/api/v1/exclusions/{reference}/dance/").status_code == 404
    listed = signed_in("victor", Role.VIEWER).get("/api/v1/exclusions/").json()
    assert [(one["reference"], one["slo"], one["decided_by"]) for one in listed] == [
        (reference, "gateway-ttft", "carl")
    ]
    assert version.slo.exclusions.count() == 1


@pytest.mark.usefixtures("version")
@pytest.mark.parametrize(
    "changes",
    [
        {"slo": "nothing"},
        {"slo": ""},
        {"service": "gateway"},
        {"starts_at": "2026-03-01T02:00:00"},
        {"recurence": "FREQ=DAILY"},
        {"recurrence": "FREQ=SOMETIMES"},
        {"reason": ""},
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any]) -> None:
    assert post(signed_in("bob", Role.APPROVER), "/api/v1/exclusions/", **asked(**changes)).status_code == 400
    assert not Exclusion.objects.exists()


@pytest.mark.usefixtures("version")
def test_an_approver_lets_something_pass_and_others_do_not() -> None:
    body = {"service": "gateway", "action": "deploy", "hours": 4, "reason": "The fix itself"}
    assert post(signed_in("rita", Role.RESPONDER), "/api/v1/overrides/", **body).status_code == 403
    bob = signed_in("bob", Role.APPROVER)
    made = post(bob, "/api/v1/overrides/", **body)
    assert (made.status_code, made.json()["granted_by"]) == (201, "bob")
    assert post(bob, "/api/v1/overrides/", **{**body, "hours": 1000}).status_code == 400
    assert post(bob, "/api/v1/overrides/", **{**body, "action": "dance"}).status_code == 400
    assert post(bob, "/api/v1/overrides/", **{**body, "service": "nothing"}).status_code == 400
    assert [one["reference"] for one in bob.get("/api/v1/overrides/").json()] == [GateOverride.objects.get().reference]
    assert Client().get("/api/v1/overrides/").status_code in {401, 403}
    assert signed_in("victor", Role.VIEWER).put("/api/v1/overrides/").status_code == 405

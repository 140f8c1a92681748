"""The same cast everywhere: Alice is on call, Bob is on her team and approves, Charlie is a stranger, Ada runs it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from accounts.data import Capability, Principal, Role, system_principal
from accounts.models import Team, User
from accounts.selectors import principal_for_user
from accounts.services import create_team, create_user, grant_role, set_team_members
from core.parsing import load_yaml_documents
from incidents.services import InboundRequest, apply_documents, receive
from tests.incidents.worlds import DOCUMENTS, make_service

ADMIN = system_principal("test")
assert Capability.SITE_ADMIN


@dataclass
class World:
    """A site with a team, a service, a schedule, a policy, routes and an Alertmanager."""

    team: Team
    alice: User
    bob: User
    charlie: User
    ada: User
    token: str
    generic_token: str

    def who(self, name: str) -> Principal:
        return principal_for_user(user=User.objects.get(username=name))

    def post_alertmanager(self, *alerts: dict[str, Any], group: str = "g") -> None:
        body = {"version": "4", "groupKey": group, "status": "firing", "receiver": "assay", "alerts": list(alerts)}
        receive(InboundRequest("alertmanager", (self.token,), "POST", orjson.dumps(body)))


def an_alert(
    name: str = "GatewaySlow", *, at: str = "2026-11-21T01:00:00Z", ends: str | None = None, **labels: str
) -> dict[str, Any]:
    every = {"alertname": name, "service": "gateway", "severity": "page", **labels}
    return {
        "status": "resolved" if ends else "firing",
        "labels": every,
        "annotations": {"summary": f"{name} on {every['service']}"},
        "startsAt": at,
        "endsAt": ends or "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": f"{name}-{every['service']}",
    }


@pytest.fixture
def world(db: None) -> World:
    team = create_team(principal=ADMIN, slug="inference", name="Inference")
    people = {}
    for name in ("alice", "bob", "charlie", "ada"):
        people[name] = create_user(principal=ADMIN, username=name, password=None, email=f"{name}@example.org")
    set_team_members(principal=ADMIN, team=team, usernames=["alice", "bob"])
    for name, role in (("alice", Role.RESPONDER), ("bob", Role.RESPONDER), ("bob", Role.APPROVER)):
        grant_role(principal=ADMIN, user=people[name], role=role, team=team)
    grant_role(principal=ADMIN, user=people["ada"], role=Role.ADMIN)
    make_service("gateway", team)
    applied = apply_documents(principal=ADMIN, documents=load_yaml_documents(DOCUMENTS, source="world.yaml"))
    return World(
        team=team,
        **people,
        token=applied.new_tokens["prometheus"].token,
        generic_token=applied.new_tokens["anything"].token,
    )


START = datetime(2026, 11, 21, 1, tzinfo=UTC)

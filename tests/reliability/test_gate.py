"""Error-budget policies: states with hysteresis, the gate, signed overrides that expire."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Role
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from core.clock import database_now
from core.parsing import InputRefusedError
from ledger.selectors import entries
from reliability.domain.budgets import Counts, Interval
from reliability.domain.policies import Policy, PolicyState, next_state, policy_for
from reliability.models import GateOverride, PolicyStanding, SLOVersion
from reliability.selectors import (
    GATED_ACTIONS,
    GateAnswer,
    documents_as_yaml,
    export_documents,
    gate,
    gates,
    minute_of,
)
from reliability.services import grant_override, revoke_override, update_standings
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import SITE, TTFT, apply

STANDARD = Policy(
    "standard",
    (
        PolicyState("healthy"),
        PolicyState("careful", 0.25, 0.35, ("chaos",)),
        PolicyState("frozen", 0.0, 0.1, ("deploy", "chaos")),
    ),
)
AS_CODE = """
apiVersion: assay/v1
kind: ErrorBudgetPolicy
metadata: {name: standard}
spec:
  appliesTo: {services: [gateway]}
  denyWhileFiring: [chaos]
  states:
  - {name: healthy}
  - {name: careful, enterBelow: 0.25, leaveAbove: 0.35, deny: [chaos], actions: [Ask before risky changes.]}
  - {name: frozen, enterBelow: 0, leaveAbove: 0.1, deny: [deploy, chaos]}
"""


def exactly(left: float) -> Interval:
    return Interval(left, left)


def test_a_state_is_left_at_another_point_than_it_is_entered() -> None:
    path = [0.5, 0.26, 0.24, 0.3, 0.34, 0.36, -0.1, 0.05, 0.11, 0.4]
    state, states = "healthy", []
    for left in path:
        state = next_state(STANDARD, state, exactly(left)).name
        states.append(state)
    assert states == [
        "healthy", "healthy", "careful", "careful", "careful", "healthy", "frozen", "frozen", "careful", "healthy",
    ]  # fmt: skip


def test_what_is_unknown_moves_nothing() -> None:
    assert next_state(STANDARD, "careful", None).name == "careful"
    assert next_state(STANDARD, "healthy", Interval(-1, 0.9)).name == "healthy"
    assert next_state(STANDARD, "frozen", Interval(-1, 0.9)).name == "frozen"


@given(st.floats(-2, 1), st.sampled_from(["healthy", "careful", "frozen"]))
def test_a_state_is_stable_for_the_same_measurement(left: float, state: str) -> None:
    once = next_state(STANDARD, state, exactly(left)).name
    assert next_state(STANDARD, once, exactly(left)).name == once


def test_the_narrowest_policy_decides() -> None:
    broad, narrow = Policy("a", STANDARD.states), Policy("b", STANDARD.states, applies_to={"services": ["gateway"]})
    assert policy_for([broad, narrow], slo="x", service="gateway", tier=1) is narrow
    assert policy_for([broad, narrow], slo="x", service="other", tier=1) is broad
    assert policy_for([], slo="x", service="other", tier=1).name == "built-in"


@pytest.mark.django_db
@pytest.mark.database
@pytest.mark.usefixtures("catalog")
class TestGate:
    def counted(self, *, good: int, bad: int) -> SLOVersion:
        apply(TTFT.replace("0.95", "0.9"))
        SLOVersion.objects.update(effective_from=database_now() - timedelta(days=1), tiers=[])
        version = SLOVersion.objects.get()
        add_to_tallies({(version.tally_id, minute_of(database_now())): Counts(good=good, bad=bad)})
        return version

    def answers(self, version: SLOVersion) -> list[GateAnswer]:
        return [gate(service=version.slo.service, action=action).answer for action in ("deploy", "chaos")]

    def test_it_denies_what_the_state_of_the_policy_denies(self) -> None:
        version = self.counted(good=980, bad=20)
        apply(AS_CODE)
        assert self.answers(version) == [GateAnswer.ALLOW, GateAnswer.ALLOW]
        add_to_tallies({(version.tally_id, minute_of(database_now())): Counts(good=20, bad=70)})
        assert self.answers(version) == [GateAnswer.ALLOW, GateAnswer.DENY]
        add_to_tallies({(version.tally_id, minute_of(database_now())): Counts(bad=50)})
        assert self.answers(version) == [GateAnswer.DENY, GateAnswer.DENY]

    def test_it_cannot_tell_what_was_not_measured(self) -> None:
        apply(TTFT)
        version = SLOVersion.objects.get()
        assert self.answers(version) == [GateAnswer.CANNOT_TELL, GateAnswer.CANNOT_TELL]

    def test_states_are_written_down_and_each_change_is_recorded(self) -> None:
        version = self.counted(good=980, bad=20)
        apply(AS_CODE)
        assert (update_standings(), update_standings()) == (1, 0)
        add_to_tallies({(version.tally_id, minute_of(database_now())): Counts(bad=200)})
        assert update_standings() == 1
        assert PolicyStanding.objects.get().state == "frozen"
        changes: list[Any] = [entry.payload for entry in entries(types=["slo.budget_policy_state_changed"])]
        assert [(one["before"], one["state"]) for one in changes] in (
            [("", "healthy"), ("healthy", "frozen")],
            [("healthy", "frozen"), ("", "healthy")],
        )

    def test_an_override_lets_it_pass_until_it_expires_or_is_revoked(self) -> None:
        version = self.counted(good=50, bad=50)
        user = create_user(principal=SITE, username="bob", password=None)
        grant_role(principal=SITE, user=user, role=Role.APPROVER)
        bob = principal_for_user(user=user)
        service = version.slo.service
        override = grant_override(
            principal=bob, service=service, action="deploy", reason="The fix itself", length=timedelta(hours=1)
        )
        assert self.answers(version) == [GateAnswer.ALLOW, GateAnswer.DENY]
        later = database_now() + timedelta(minutes=2)
        assert gate(service=service, action="deploy", now=later).override == override
        GateOverride.objects.update(expires_at=database_now() + timedelta(days=6))
        assert self.answers(version)[0] is GateAnswer.DENY
        GateOverride.objects.update(expires_at=override.expires_at)
        revoke_override(principal=bob, override=override)
        assert self.answers(version)[0] is GateAnswer.DENY
        assert entries(types=["slo.gate_override_changed"]).count() == 2

    def test_only_approvers_override_and_only_for_a_while(self) -> None:
        version = self.counted(good=50, bad=50)
        user = create_user(principal=SITE, username="rita", password=None)
        grant_role(principal=SITE, user=user, role=Role.RESPONDER)
        service = version.slo.service
        with pytest.raises(PermissionDenied):
            grant_override(
                principal=principal_for_user(user=user),
                service=service,
                action="deploy",
                reason="Please",
                length=timedelta(hours=1),
            )
        with pytest.raises(InputRefusedError):
            grant_override(principal=SITE, service=service, action="deploy", reason="Please", length=timedelta(days=30))
        assert not GateOverride.objects.exists()

    def test_rest_answers_with_reasons_and_refuses_strangers(self) -> None:
        self.counted(good=50, bad=50)
        user = create_user(principal=SITE, username="victor", password=None)
        grant_role(principal=SITE, user=user, role=Role.VIEWER)
        client = Client()
        client.force_login(user)
        answer = client.get("/api/v1/gate/?service=gateway&action=deploy").json()
        assert (answer["answer"], answer["denied_by"]) == ("deny", ["gateway-ttft"])
        assert client.get("/api/v1/gate/?service=nothing").status_code == 404
        assert client.get("/api/v1/gate/?service=gateway&action=dance").status_code == 400
        assert client.post("/api/v1/gate/?service=gateway").status_code == 405
        assert Client().get("/api/v1/gate/?service=gateway").status_code in {401, 403}
        assert "denied_by" in json.dumps(answer)

    def test_a_policy_is_exported_to_the_same(self) -> None:
        apply(AS_CODE)
        outcome = apply(documents_as_yaml(export_documents()))
        assert outcome["unchanged"] == ["ErrorBudgetPolicy standard"]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("leaveAbove: 0.35", "leaveAbove: 0.15"),
            ("name: healthy", "name: careful"),
            ("enterBelow: 0,", "enterBelow: 0.5,"),
            ("deny: [chaos]", "deny: [dance]"),
        ],
    )
    def test_a_policy_that_makes_no_sense_is_refused(self, old: str, new: str) -> None:
        with pytest.raises(InputRefusedError):
            apply(AS_CODE.replace(old, new))

    def test_the_page_says_why_and_an_approver_lets_it_pass(self) -> None:
        self.counted(good=50, bad=50)
        bob = self.signed_in("bob", Role.APPROVER)
        page = bob.get("/error-budgets/").content.decode()
        assert "the budget is exhausted" in page
        assert "Grant an override" in page
        asked = {"service": "gateway", "action": "deploy", "hours": "4", "reason": "The fix itself"}
        assert bob.post("/error-budgets/", {**asked, "hours": "1000"}).status_code == 200
        assert not GateOverride.objects.exists()
        bob.post("/error-budgets/", asked)
        override = GateOverride.objects.get()
        assert f"{override} lets deploy pass" in bob.get("/error-budgets/").content.decode()
        victor = self.signed_in("victor", Role.VIEWER)
        assert "Grant an override" not in victor.get("/error-budgets/").content.decode()
        assert victor.post(f"/error-budgets/overrides/{override}/end/").status_code == 403
        assert bob.post(f"/error-budgets/overrides/{override}/end/").status_code == 302
        override.refresh_from_db()
        assert override.revoked_at is not None
        assert bob.get(f"/error-budgets/overrides/{override}/end/").status_code == 405
        assert self.signed_in("nobody", None).get("/error-budgets/").status_code == 403

    def signed_in(self, name: str, role: Role | None) -> Client:
        user = create_user(principal=SITE, username=name, password=None)
        if role is not None:
            grant_role(principal=SITE, user=user, role=role)
        client = Client()
        client.force_login(user)
        return client

    def test_many_services_ask_a_fixed_number_of_queries(self, django_assert_max_num_queries: Any) -> None:
        version = self.counted(good=50, bad=50)
        environment = version.slo.service.environment
        service = type(version.slo.service)
        others = [service.objects.create(slug=f"s{n}", name=f"S{n}", environment=environment) for n in range(5)]
        now = database_now()
        with django_assert_max_num_queries(16):
            found = gates(services=[version.slo.service, *others], actions=GATED_ACTIONS, now=now)
        assert [one.answer for one in found] == [GateAnswer.DENY] * 2 + [GateAnswer.CANNOT_TELL] * 10

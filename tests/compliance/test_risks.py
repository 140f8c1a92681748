"""The risk register: scored, treated, accepted for a while, and warned of early from the ledger."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Principal, Role
from accounts.models import User
from accounts.selectors import principal_for_user
from compliance.domain.risks import ORDER, IndicatorState, Level, Scale, days_to_breach, first_scale, state_of
from compliance.models import IndicatorPoint, Risk, RiskMatrix
from compliance.services import apply_documents
from compliance.services.risks import (
    accept_risk,
    edit_matrix,
    evaluate_indicators,
    scale_in_force,
)
from core.parsing import InputRefusedError, load_yaml_documents
from delivery.selectors import notifications_for
from ledger.data.slo import SloWindowReported
from ledger.selectors import entries
from ledger.services import record

YAML = b"""
apiVersion: assay/v1
kind: Risk
metadata: {name: region-loss, title: "The only region is lost"}
spec:
  category: technical
  owner: Platform lead
  inherent_likelihood: 3
  inherent_impact: 5
  residual_likelihood: 2
  residual_impact: 3
  treatment: accept
  plan: Restore elsewhere from backups.
  controls: [backups-restored]
  incidents: [INC-3]
  indicators:
    - name: budget
      title: Lowest error budget left
      measure: {kind: lowest, entries: [slo.window_reported], field: error_budget_remaining_ratio}
      warn_at: 0.25
      breach_at: 0
"""


def declare(principal: Principal, text: bytes = YAML) -> Risk:
    apply_documents(principal=principal, documents=load_yaml_documents(text, source="risks.yaml"), source="risks.yaml")
    return Risk.objects.get(slug="region-loss")


def report(left: str) -> None:
    now = timezone.now()
    record(
        SloWindowReported(
            slo="gateway-ttft",
            service="gateway",
            definition_version=1,
            target="0.99",
            window_start=now - timedelta(days=28),
            window_end=now,
            good_events=90,
            bad_events=10,
            unknown_events=0,
            minutes_measured=10,
            minutes_in_window=10,
            error_budget_remaining_ratio=left,
            reason="",
        ),
        actor="system:slo",
        subject="slo:gateway-ttft",
    )


@pytest.mark.django_db
@pytest.mark.usefixtures("content")
class TestRegister:
    def test_a_risk_is_declared_once_and_assessed_again(self, manager: Principal) -> None:
        risk = declare(manager)
        assert (risk.inherent_score, risk.residual_score, risk.incidents) == (15, 6, ["INC-3"])
        declare(manager)
        assert entries(types=["risk.assessed"]).count() == 1
        declare(manager, YAML.replace(b"residual_impact: 3", b"residual_impact: 4"))
        assert entries(types=["risk.assessed"]).count() == 2

    @pytest.mark.parametrize(
        ("said", "instead"),
        [
            (b"residual_impact: 3", b"residual_impact: 6"),
            (b"residual_likelihood: 2", b"residual_likelihood: 5"),
            (b"backups-restored", b"no-such-control"),
            (b"category: technical", b"category: weather"),
        ],
    )
    def test_what_cannot_be_right_is_refused(self, said: bytes, instead: bytes, manager: Principal) -> None:
        text = YAML.replace(said, instead).replace(b"impact: 5", b"impact: 3" if b"5" in instead else b"impact: 5")
        with pytest.raises(InputRefusedError):
            declare(manager, text)
        assert not Risk.objects.exists()

    def test_an_acceptance_needs_another_person_and_ends(self, manager: Principal, person: Callable[..., User]) -> None:
        risk = declare(manager)
        until = timezone.now().date() + timedelta(days=30)
        with pytest.raises(PermissionDenied):
            accept_risk(principal=manager, risk=risk, reason="It is rare.", expires_on=until)
        bob = principal_for_user(user=person("bob", Role.APPROVER))
        with pytest.raises(InputRefusedError):
            accept_risk(principal=bob, risk=risk, reason="It is rare.", expires_on=until + timedelta(days=400))
        made = accept_risk(principal=bob, risk=risk, reason="It is rare.", expires_on=until)
        assert made.counts_on(until - timedelta(days=1))
        assert not made.counts_on(until)
        risk.residual_impact = 5
        made.risk = risk
        assert not made.counts_on(until - timedelta(days=1))

    def test_an_indicator_reads_the_ledger_and_warns_before_the_breach(self, manager: Principal) -> None:
        declare(manager)
        assert evaluate_indicators()[0].state == IndicatorState.UNKNOWN
        report("0.8")
        assert evaluate_indicators()[0].state == IndicatorState.FINE
        report("0.2")
        found = evaluate_indicators()[0]
        assert (found.state, found.value) == (IndicatorState.WARNING, Decimal("0.2"))
        told = notifications_for(recipient=f"user:{manager.user_id}")
        assert any("Lowest error budget left" in str(vars(one)) for one in told)
        for days in (1, 2, 3):
            day = timezone.now().date() - timedelta(days=days)
            IndicatorPoint.objects.create(indicator=found, day=day, value=Decimal("0.2") + Decimal(days) / 10)
        assert evaluate_indicators()[0].breach_in_days == 2
        readings = [entry.payload for entry in entries(types=["risk.indicators_evaluated"])]
        assert [one["warning"] for one in readings if one] == [1, 0, 0]

    def test_the_matrix_can_be_edited_and_never_runs_backwards(self, manager: Principal) -> None:
        first = first_scale()
        levels = [list(row) for row in first.levels]
        levels[0][4] = Level.CRITICAL.value
        with pytest.raises(InputRefusedError, match="more likely"):
            edit_matrix(principal=manager, scale=Scale(first.likelihoods, first.impacts, levels))
        for row in levels:
            row[4] = Level.CRITICAL.value
        edit_matrix(principal=manager, scale=Scale(first.likelihoods, first.impacts, levels))
        assert scale_in_force().level(1, 5) is Level.CRITICAL
        assert RiskMatrix.objects.count() == 1

    def test_pages_show_and_edit_the_register_for_managers_alone(
        self, manager: Principal, person: Callable[..., User]
    ) -> None:
        declare(manager)
        client = Client()
        client.force_login(User.objects.get(username="carol"))
        assert "The only region is lost" in client.get("/compliance/risks/").content.decode()
        assert "The only region is lost" in client.get("/compliance/risks/all/?residual=2x3").content.decode()
        assert "The only region is lost" not in client.get("/compliance/risks/all/?residual=5x5").content.decode()
        page = client.get("/compliance/risks/region-loss/assess/").content.decode()
        assert "Platform lead" in page
        form: dict[str, Any] = {
            "title": "Region lost",
            "slug": "r2",
            "category": "business",
            "owner": "Carol",
            "inherent_likelihood": 4,
            "inherent_impact": 4,
            "residual_likelihood": 2,
            "residual_impact": 2,
            "treatment": "mitigate",
        }
        assert client.post("/compliance/risks/add/", form).status_code == 302
        assert client.post("/compliance/risks/add/", form).status_code == 400
        answer = client.post("/compliance/risks/r2/indicators/add/", {"measure": "incidents"})
        assert answer.status_code == 302
        assert Risk.objects.get(slug="r2").indicators.get().value == 0
        assert client.post("/compliance/risks/r2/close/", {"reason": "Gone."}).status_code == 302
        assert client.get("/compliance/risks/matrix/").status_code == 200
        client.force_login(person("victor", Role.VIEWER))
        for path in ("", "all/", "add/", "region-loss/", "region-loss/assess/", "matrix/"):
            assert client.get(f"/compliance/risks/{path}").status_code == 403, path


STEP = st.integers(1, 5)


@given(STEP, STEP, STEP, STEP)
def test_what_is_more_likely_or_worse_never_has_a_lower_level(a: int, b: int, c: int, d: int) -> None:
    scale = first_scale()
    low, high = (min(a, b), min(c, d)), (max(a, b), max(c, d))
    assert ORDER.index(scale.level(*low)) <= ORDER.index(scale.level(*high))


@given(st.decimals(-100, 100, places=2), st.booleans())
def test_a_breach_is_never_reached_before_its_warning(value: Decimal, upwards: bool) -> None:
    warn, breach = (Decimal(5), Decimal(10)) if upwards else (Decimal(10), Decimal(5))
    found = state_of(value, warn_at=warn, breach_at=breach)
    if found is IndicatorState.BREACHED:
        assert state_of(value, warn_at=warn, breach_at=warn + (breach - warn) * 100) is IndicatorState.WARNING


def test_a_straight_line_is_followed_to_the_breach() -> None:
    points = [(date(2026, 1, day), Decimal(day)) for day in range(1, 6)]
    assert days_to_breach(points, warn_at=Decimal(5), breach_at=Decimal(10)) == 5
    assert days_to_breach(points, warn_at=Decimal(0), breach_at=Decimal(-10)) is None
    assert days_to_breach(points[:2], warn_at=Decimal(5), breach_at=Decimal(10)) is None

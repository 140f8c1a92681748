"""Alert policies by name, tiers that vanish, alerts that freeze, calendar periods in the ledger."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.clock import database_now
from core.events import Event
from core.parsing import InputRefusedError
from ledger.selectors import entries
from reliability.domain.budgets import Counts
from reliability.models import SLO, BurnAlert, SLOVersion
from reliability.selectors import minute_of
from reliability.services import evaluate, report_ended_periods
from reliability.services.tallying import add_to_tallies
from tests.reliability.conftest import TTFT, apply

pytestmark = [pytest.mark.django_db, pytest.mark.database]

POLICY = """
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: fast-burn}
spec:
  severity: page
  condition: {kind: burnrate, op: gt, threshold: 6, lookbackWindow: 1h}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: fast, annotations: {assay.dev/short-window: 10m, assay.dev/minimum-events: "20"}}
spec:
  conditions: [{conditionRef: fast-burn}]
---
"""
ANNOTATION = '  annotations: {assay.dev/burn-tiers: "fast critical 5m/2m >2 min 10"}\n'
SERVICE = "  service: gateway\n"
BY_POLICY = POLICY + TTFT.replace(ANNOTATION, "").replace(
    SERVICE, SERVICE + "  alertPolicies: [{alertPolicyRef: fast}]\n"
)


def in_force() -> SLOVersion:
    return SLOVersion.objects.get(retired_at__isnull=True)


def burn(version: SLOVersion, now: datetime) -> None:
    SLOVersion.objects.update(effective_from=now - timedelta(days=1))
    minutes = range(minute_of(now) - 70, minute_of(now) + 1)
    add_to_tallies({(version.tally_id, minute): Counts(good=10, bad=10) for minute in minutes})


def test_a_policy_by_name_becomes_a_tier_and_its_change_a_version(catalog: None) -> None:
    apply(BY_POLICY)
    tier = in_force().tiers[0]
    assert (tier["name"], tier["severity"], tier["threshold"]) == ("fast", "critical", 6.0)
    assert (tier["long_minutes"], tier["short_minutes"], tier["minimum_events"]) == (60, 10, 20)
    outcome = apply(POLICY.replace("threshold: 6", "threshold: 7").rstrip("-\n"))
    assert outcome["changed"] == ["AlertCondition fast-burn", "SLO gateway-ttft"]
    assert (in_force().number, in_force().tiers[0]["threshold"]) == (2, 7.0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("conditionRef: fast-burn", "conditionRef: slow", "slow"),
        ("alertPolicyRef: fast", "alertPolicyRef: nothing", "nothing"),
        ("threshold: 6", "threshold: 60", "could never fire"),
        ("short-window: 10m", "short-window: 15s", "whole minutes"),
        ("op: gt", "op: eq", "op"),
        (
            'minimum-events: "20"',
            'minimum-events: "2", assay.dev/significance: "0.0001"',
            "could never fire; ask for more",
        ),
        ("lookbackWindow: 1h", "lookbackWindow: 6w", "longer than the SLO's own"),
        ("assay.dev/short-window", "assay.dev/short-windw", "short-windw"),
    ],
)
def test_a_policy_with_a_mistake_changes_nothing(catalog: None, old: str, new: str, said: str) -> None:
    with pytest.raises(InputRefusedError) as refused:
        apply(BY_POLICY.replace(old, new))
    assert said in str(refused.value)
    assert not SLO.objects.exists()


def test_a_firing_alert_whose_tier_is_taken_away_is_resolved(catalog: None) -> None:
    apply(BY_POLICY)
    now = database_now()
    burn(in_force(), now)
    assert evaluate(now=now) == 1
    apply(BY_POLICY.replace("name: fast,", "name: other,").replace("alertPolicyRef: fast", "alertPolicyRef: other"))
    SLOVersion.objects.filter(retired_at__isnull=True).update(tiers=[])
    assert evaluate(now=now + timedelta(seconds=5)) == 1
    assert not BurnAlert.objects.filter(tier="fast").exists()
    kinds = list(Event.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["slo.burn_alert_fired", "slo.burn_alert_resolved"]


def test_a_firing_alert_freezes_while_nothing_is_measured_and_goes_on_afterwards(catalog: None) -> None:
    apply(BY_POLICY)
    now = database_now()
    burn(in_force(), now)
    evaluate(now=now)
    later = now + timedelta(minutes=20)
    assert evaluate(now=later) == 0
    alert = BurnAlert.objects.get()
    assert (alert.state, alert.shown_state, alert.frozen_at) == ("firing", "frozen", later)
    version = in_force()
    fine = range(minute_of(later) - 15, minute_of(later) + 1)
    add_to_tallies({(version.tally_id, minute): Counts(good=100) for minute in fine})
    assert evaluate(now=later) == 1
    alert.refresh_from_db()
    assert (alert.state, alert.frozen_at) == ("ok", None)


def test_a_calendar_period_is_reported_once_when_it_has_ended(catalog: None) -> None:
    monthly = "{duration: 1M, isRolling: false, calendar: {startTime: '2026-01-01 00:00:00', timeZone: Europe/Berlin}}"
    apply(TTFT.replace("{duration: 28d, isRolling: true}", monthly))
    version = in_force()
    SLOVersion.objects.update(effective_from=datetime(2026, 1, 1, tzinfo=UTC))
    inside, outside = datetime(2026, 3, 31, 21, 30, tzinfo=UTC), datetime(2026, 3, 31, 22, 30, tzinfo=UTC)
    add_to_tallies(
        {(version.pk, minute_of(inside)): Counts(good=7, bad=1), (version.pk, minute_of(outside)): Counts(good=100)}
    )
    now = datetime(2026, 4, 2, tzinfo=UTC)
    assert [report_ended_periods(now=now), report_ended_periods(now=now)] == [1, 0]
    entry = entries(types=["slo.window_reported"]).get()
    payload: Any = entry.payload
    assert (payload["good_events"], payload["bad_events"]) == (7, 1)
    assert entry.period_start == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert entry.period_end == datetime(2026, 3, 31, 22, tzinfo=UTC)

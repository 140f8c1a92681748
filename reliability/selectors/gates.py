"""Whether error budgets allow a risk: the gate for deployments and chaos."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.models import Exists, F, Max, OuterRef, QuerySet

from accounts.data import Principal
from catalog.selectors import services_named, services_visible
from core.clock import database_now
from reliability.data import BudgetState, BudgetStatus
from reliability.domain.policies import Policy, PolicyState, next_state, policy_for
from reliability.models import SLO, BudgetPolicy, GateOverride, PolicyStanding
from reliability.selectors.budgets import budget_statuses
from reliability.selectors.recent import are_many

GATED_ACTIONS = ("deploy", "chaos")


class GateAnswer(StrEnum):
    """What the gate says; the command's exit code is 0, 1 or 3."""

    ALLOW = "allow"
    DENY = "deny"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class GateReason:
    """What one SLO says: its policy's state, and whether that allows the action; None where it cannot be told."""

    slo: str
    policy: str
    state: str
    allows: bool | None
    why: str
    actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class GateResult:
    """The answer with its reasons, and the override that made it an allowance, if any."""

    service: str
    action: str
    answer: GateAnswer
    reasons: Sequence[GateReason]
    override: GateOverride | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what the command line and the REST API say."""
        return {
            "service": self.service,
            "action": self.action,
            "answer": self.answer.value,
            "denied_by": [one.slo for one in self.reasons if one.allows is False],
            "unknown": [one.slo for one in self.reasons if one.allows is None],
            "reasons": [
                {
                    "slo": one.slo,
                    "policy": one.policy,
                    "state": one.state,
                    "allows": one.allows,
                    "why": one.why,
                    "actions": list(one.actions),
                }
                for one in self.reasons
            ],
            "override": {
                "reference": self.override.reference,
                "by": self.override.granted_by,
                "reason": self.override.reason,
                "expires_at": self.override.expires_at.isoformat(),
            }
            if self.override
            else None,
        }


def gated_services(*, viewer: Principal, text: str = "") -> QuerySet[Any]:
    """Return the services that the viewer may see and that promise something, those with all these words.

    Of very many, the one whose budgets stood worst when all were last reckoned comes first.
    """
    found = services_named(text, viewer=viewer)
    promising = SLO.objects.filter(part_of__isnull=True)
    if not are_many(promising):
        return found.filter(Exists(promising.filter(service=OuterRef("pk"))))
    worst = found.filter(slos__part_of__isnull=True, slos__isnull=False).annotate(worst=Max("slos__figures__urgency"))
    return worst.order_by(F("worst").desc(nulls_last=True), "tier", "slug")


def gate(*, service: Any, action: str, now: datetime | None = None) -> GateResult:
    """Return whether the budgets of a service allow an action, by each SLO's error-budget policy.

    One SLO that denies is enough; where none does, one that cannot be told is. A genuine override that has not expired
    turns both into an allowance.
    """
    return gates(services=[service], actions=[action], now=now)[0]


def gates(*, services: Sequence[Any], actions: Sequence[str], now: datetime | None = None) -> list[GateResult]:
    """Return the answer for each service and action, in a fixed number of queries."""
    moment = now or database_now()
    slos: dict[int, list[SLO]] = {}
    for slo in SLO.objects.select_related("service").filter(service__in=services, part_of__isnull=True):
        slos.setdefault(slo.service_id, []).append(slo)
    statuses = budget_statuses([slo for some in slos.values() for slo in some], now=moment)
    policies = policies_in_force()
    standings = {one.slo_id: one.state for one in PolicyStanding.objects.filter(slo__in=list(statuses))}
    overrides = _overrides_in_force([service.pk for service in services], moment)
    results = []
    for service in services:
        for action in actions:
            reasons = [
                _reason(slo, statuses[slo.pk], _policy(policies, slo, service.tier), standings.get(slo.pk, ""), action)
                for slo in slos.get(service.pk, ())
                if slo.pk in statuses
            ]
            answer = _answer(reasons)
            override = overrides.get((service.pk, action)) if answer is not GateAnswer.ALLOW else None
            answer = GateAnswer.ALLOW if override else answer
            results.append(GateResult(service.slug, action, answer, reasons, override))
    return results


def _answer(reasons: Sequence[GateReason]) -> GateAnswer:
    if any(one.allows is False for one in reasons):
        return GateAnswer.DENY
    if not reasons or any(one.allows is None for one in reasons):
        return GateAnswer.CANNOT_TELL
    return GateAnswer.ALLOW


def _overrides_in_force(service_ids: Sequence[int], now: datetime) -> dict[tuple[int, str], GateOverride]:
    """Return the overrides that are genuine and have neither expired nor been revoked, by service and action."""
    found = GateOverride.objects.filter(
        service_id__in=service_ids, revoked_at__isnull=True, granted_at__lte=now, expires_at__gt=now
    )
    kept: dict[tuple[int, str], GateOverride] = {}
    for one in found:
        if one.is_genuine:
            kept.setdefault((one.service_id, one.action), one)
    return kept


def overrides_visible(*, viewer: Principal) -> QuerySet[GateOverride]:
    """Return every override of services that the viewer may see, newest first."""
    services = services_visible(viewer=viewer)
    return GateOverride.objects.filter(service__in=services).select_related("service")


def policies_in_force() -> list[Policy]:
    """Return every error-budget policy."""
    return [one.policy for one in BudgetPolicy.objects.all()]


def policy_standing(*, slo: SLO, status: BudgetStatus) -> tuple[Policy, PolicyState, datetime | None]:
    """Return an SLO's policy, the state that it is in now, and since when; None where it was not written down yet."""
    policy = _policy(policies_in_force(), slo, slo.service.tier)
    standing = PolicyStanding.objects.filter(slo=slo).first()
    state = next_state(policy, standing.state if standing else "", status.remaining)
    return policy, state, standing.since if standing and standing.state == state.name else None


def _policy(policies: Sequence[Policy], slo: SLO, tier: int) -> Policy:
    return policy_for(policies, slo=slo.slug, service=slo.service.slug, tier=tier)


def _reason(slo: SLO, status: BudgetStatus, policy: Policy, standing: str, action: str) -> GateReason:
    state = next_state(policy, standing, status.remaining)

    def reason(why: str, *, allows: bool | None) -> GateReason:
        return GateReason(slo.slug, policy.name, state.name, allows, why, state.actions)

    if action in state.deny:
        return reason(f"the budget is {state.name}", allows=False)
    if status.firing and action in policy.deny_while_firing:
        return reason("a burn-rate alert is firing", allows=False)
    if status.state is BudgetState.UNKNOWN:
        return reason("it was not measured lately", allows=None)
    return reason(f"the budget is {state.name}", allows=True)


def override_as_json(one: GateOverride) -> dict[str, Any]:
    """Return an override as the REST API says it."""
    return {
        "reference": one.reference,
        "service": one.service.slug,
        "action": one.action,
        "reason": one.reason,
        "granted_by": one.granted_by,
        "granted_at": one.granted_at.isoformat(),
        "expires_at": one.expires_at.isoformat(),
        "revoked_at": one.revoked_at.isoformat() if one.revoked_at else None,
        "genuine": one.is_genuine,
    }

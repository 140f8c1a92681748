"""Whether error budgets allow a risk: the gate for deployments and chaos."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from core.clock import database_now
from reliability.data import BudgetState, BudgetStatus
from reliability.domain.policies import Policy, PolicyState, next_state, policy_for
from reliability.models import SLO, BudgetPolicy, GateOverride, PolicyStanding
from reliability.selectors.budgets import budget_statuses, slos_for_service

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


def gate(*, service: Any, action: str, now: datetime | None = None) -> GateResult:
    """Return whether the budgets of a service allow an action, by each SLO's error-budget policy.

    One SLO that denies is enough; where none does, one that cannot be told is. A genuine override that has not expired
    turns both into an allowance.
    """
    moment = now or database_now()
    slos = list(slos_for_service(service_id=service.pk))
    statuses = budget_statuses(slos, now=moment)
    policies = policies_in_force()
    standings = {one.slo_id: one.state for one in PolicyStanding.objects.filter(slo__in=slos)}
    reasons = [
        _reason(slo, statuses[slo.pk], _policy(policies, slo, service.tier), standings.get(slo.pk, ""), action)
        for slo in slos
        if slo.pk in statuses
    ]
    if any(one.allows is False for one in reasons):
        answer = GateAnswer.DENY
    elif not reasons or any(one.allows is None for one in reasons):
        answer = GateAnswer.CANNOT_TELL
    else:
        answer = GateAnswer.ALLOW
    override = None
    if answer is not GateAnswer.ALLOW:
        override = override_in_force(service_id=service.pk, action=action, now=moment)
        answer = GateAnswer.ALLOW if override else answer
    return GateResult(service.slug, action, answer, reasons, override)


def override_in_force(*, service_id: int, action: str, now: datetime) -> GateOverride | None:
    """Return an override that is genuine and has neither expired nor been revoked."""
    found = GateOverride.objects.filter(
        service_id=service_id, action=action, revoked_at__isnull=True, granted_at__lte=now, expires_at__gt=now
    )
    return next((one for one in found if one.is_genuine), None)


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

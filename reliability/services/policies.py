"""Error-budget policies: as code, their states over time, and overrides of the gate."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field, model_validator

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from core.clock import database_now
from core.parsing import LineIndex, parse_document, refuse
from ledger.data.slo import BudgetPolicyDeclared, BudgetPolicyStateChanged, GateOverrideChanged
from ledger.services import record
from reliability.data import BudgetStatus
from reliability.domain.policies import next_state, policy_for
from reliability.models import SLO, BudgetFigures, BudgetPolicy, GateOverride, PolicyStanding
from reliability.selectors.budgets import budget_statuses
from reliability.selectors.gates import GATED_ACTIONS, policies_in_force
from reliability.selectors.recent import figures_of

KIND = "ErrorBudgetPolicy"
LONGEST_OVERRIDE = timedelta(days=7)
FIGURES_PER_STATEMENT = 2000
WATCHER = system_principal("budget-policy")
Action = Literal["deploy", "chaos"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PolicyMetadata(_Strict):
    """The policy's name."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?$")
    displayName: str = ""  # noqa: N815 as OpenSLO spells it


class WrittenState(_Strict):
    """A state: entered below a share of the budget, left above a higher one."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    enterBelow: float | None = Field(default=None, ge=-10, le=1)  # noqa: N815
    leaveAbove: float | None = Field(default=None, ge=-10, le=1)  # noqa: N815
    deny: list[Action] = []
    actions: list[str] = []


class AppliesTo(_Strict):
    """Which SLOs; what is left out selects all."""

    slos: list[str] = []
    services: list[str] = []
    tiers: list[int] = []


class PolicySpec(_Strict):
    """States from the best to the worst."""

    description: str = ""
    appliesTo: AppliesTo = AppliesTo()  # noqa: N815
    denyWhileFiring: list[Action] = []  # noqa: N815
    states: list[WrittenState] = Field(min_length=2, max_length=10)

    @model_validator(mode="after")
    def _descend(self) -> "PolicySpec":
        first, *worse = self.states
        if first.enterBelow is not None or first.leaveAbove is not None or first.deny:
            raise ValueError("the first state is the best: it has no thresholds and denies nothing")
        if len({state.name for state in self.states}) < len(self.states):
            raise ValueError("each state's name may stand once")
        above = 1.0
        for state in worse:
            if state.enterBelow is None or state.leaveAbove is None or state.leaveAbove < state.enterBelow:
                raise ValueError(f"state {state.name}: enterBelow, and leaveAbove that is not lower, are required")
            if state.enterBelow > above:
                raise ValueError(f"state {state.name}: states go from the best to the worst")
            above = state.enterBelow
        return self


class PolicyDocument(_Strict):
    """`kind: ErrorBudgetPolicy`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815
    kind: Literal["ErrorBudgetPolicy"]
    metadata: PolicyMetadata
    spec: PolicySpec


@transaction.atomic
def apply_policies(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], source: str, prune: bool = False
) -> dict[str, list[str]]:
    """Create or change error-budget policies, all or nothing; with `prune`, drop the others."""
    if documents or prune:
        ensure_may(principal, Capability.SLO_EDIT)
    outcome: dict[str, list[str]] = {"created": [], "changed": [], "unchanged": [], "pruned": []}
    kept = set()
    for data, lines in documents:
        document = parse_document(PolicyDocument, data, source=source, lines=lines)
        name = document.metadata.name
        kept.add(name)
        known = BudgetPolicy.objects.filter(slug=name).first()
        if known is not None and known.document == data:
            outcome["unchanged"].append(f"{KIND} {name}")
            continue
        BudgetPolicy.objects.update_or_create(slug=name, defaults={"document": data})
        outcome["created" if known is None else "changed"].append(f"{KIND} {name}")
        _record_policy(principal, name, [state.name for state in document.spec.states])
    if prune:
        for stale in BudgetPolicy.objects.exclude(slug__in=kept):
            _record_policy(principal, stale.slug, [])
            outcome["pruned"].append(f"{KIND} {stale.slug}")
            stale.delete()
    return outcome


def update_standings(*, now: datetime | None = None) -> int:
    """Move every SLO to the state of its policy that its budget asks for (every minute); returns how many changed."""
    moment = now or database_now()
    slos = list(SLO.objects.select_related("service").filter(part_of__isnull=True, versions__retired_at__isnull=True))
    statuses = budget_statuses(slos, now=moment)
    policies = policies_in_force()
    standings = {one.slo_id: one for one in PolicyStanding.objects.all()}
    keep_figures(statuses)
    changed = 0
    for slo in slos:
        if slo.pk not in statuses:
            continue
        policy = policy_for(policies, slo=slo.slug, service=slo.service.slug, tier=slo.service.tier)
        standing = standings.get(slo.pk)
        state = next_state(policy, standing.state if standing else "", statuses[slo.pk].remaining)
        if standing is None or (standing.policy, standing.state) != (policy.name, state.name):
            changed += _move(slo, standing, policy.name, state.name, moment)
    return changed


def keep_figures(statuses: Mapping[int, BudgetStatus]) -> int:
    """Keep how SLOs stand for the lists of many; returns how many stood otherwise than before.

    The others are left as they are, but for one, whose time says when all were reckoned.
    """
    fields = ("state", "urgency", "remaining_low", "days_left", "coverage")
    known = {row[0]: row[1:] for row in BudgetFigures.objects.order_by().values_list("slo_id", *fields)}
    found = figures_of(sorted(statuses.items()))
    moved = [one for one in found if known.get(one.slo_id) != tuple(getattr(one, name) for name in fields)]
    BudgetFigures.objects.bulk_create(
        moved or found[:1],
        batch_size=FIGURES_PER_STATEMENT,
        update_conflicts=True,
        unique_fields=("slo",),
        update_fields=(*fields, "reckoned_at"),
    )
    return len(moved)


@transaction.atomic
def _move(slo: SLO, standing: PolicyStanding | None, policy: str, state: str, now: datetime) -> int:
    before = standing.state if standing else ""
    if standing is None:
        _, created = PolicyStanding.objects.get_or_create(
            slo=slo, defaults={"policy": policy, "state": state, "since": now}
        )
        if not created:
            return 0
    elif not PolicyStanding.objects.filter(pk=standing.pk, state=standing.state, policy=standing.policy).update(
        policy=policy, state=state, since=now if before != state else standing.since
    ):
        return 0
    if before == state:
        return 0
    record(
        BudgetPolicyStateChanged(slo=slo.slug, service=slo.service.slug, policy=policy, before=before, state=state),
        actor=WATCHER.reference,
        subject=f"slo:{slo.slug}",
    )
    return 1


@transaction.atomic
def grant_override(*, principal: Principal, service: Any, action: str, reason: str, length: timedelta) -> GateOverride:
    """Let an action on a service pass for a while, whatever its budgets say; signed, recorded, for approvers."""
    ensure_may(principal, Capability.APPROVE, team_id=service.team_id)
    if action not in GATED_ACTIONS:
        raise refuse("action", found=action, allowed=f"one of {', '.join(GATED_ACTIONS)} is allowed")
    if not reason.strip():
        raise refuse("reason", found="nothing", allowed="a reason is required")
    if not timedelta() < length <= LONGEST_OVERRIDE:
        raise refuse("length", found=str(length), allowed="more than nothing and at most 7 days is allowed")
    now = database_now()
    override = GateOverride(
        reference=secrets.token_hex(8),
        service=service,
        action=action,
        reason=reason.strip(),
        granted_by=principal.label,
        granter_id=principal.user_id,
        granted_at=now,
        expires_at=now + length,
    )
    override.signature = override.computed_signature()
    override.save()
    override.reference = f"OV-{override.pk}"
    override.save(update_fields=["reference"])
    _record_override(override, principal, "granted")
    return override


@transaction.atomic
def revoke_override(*, principal: Principal, override: GateOverride) -> None:
    """End an override before it expires."""
    ensure_may(principal, Capability.APPROVE, team_id=override.service.team_id)
    if GateOverride.objects.filter(pk=override.pk, revoked_at__isnull=True).update(revoked_at=database_now()):
        _record_override(override, principal, "revoked")


def _record_policy(principal: Principal, name: str, states: list[str]) -> None:
    record(BudgetPolicyDeclared(policy=name, states=states), actor=principal.reference, subject=f"budget-policy:{name}")


def _record_override(override: GateOverride, principal: Principal, change: str) -> None:
    record(
        GateOverrideChanged(
            override=override.reference,
            service=override.service.slug,
            action=override.action,
            reason=override.reason,
            change=change,
            expires_at=override.expires_at,
        ),
        actor=principal.reference,
        subject=f"service:{override.service.slug}",
    )

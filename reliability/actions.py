"""Typed actions that look at SLOs: a runbook's check, a chaos run's steady state."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from drivers.data import Action, ActionResult, Arguments, Idempotency, Plan, Risk, Support, Target
from drivers.services import register_action
from drivers.services.faults import OneWay
from reliability.data import BudgetState
from reliability.selectors import budget_status, burn_rates, slo_by_slug


class SloStatusArguments(Arguments):
    """Which SLO, and what must hold for the answer to be yes."""

    slo: str
    max_burn_rate: float | None = Field(default=None, gt=0, description="At most this burn rate over `window`.")
    window: Literal["5m", "30m", "1h", "6h", "1d", "3d"] = "5m"
    min_budget_remaining_ratio: float | None = Field(default=None, le=1)
    expect_not_firing: bool = False


class SloStatus(OneWay):
    """Says how an SLO stands; unknown is never yes."""

    name: ClassVar[str] = "slo.status"
    description: ClassVar[str] = "Look at an SLO's budget, burn rate and alerts."
    arguments: ClassVar[type[Arguments]] = SloStatusArguments
    risk: ClassVar[Risk] = Risk.READ
    idempotency: ClassVar[Idempotency] = Idempotency.NATURAL

    def probe(self, arguments: SloStatusArguments) -> Support:
        known = slo_by_slug(slug=arguments.slo) is not None
        return Support(supported=known, reason="" if known else f"there is no SLO {arguments.slo!r}")

    def plan(self, arguments: SloStatusArguments) -> Plan:
        return Plan(
            summary=f"Look at the SLO {arguments.slo}",
            targets=(Target("slo", arguments.slo),),
            commands=(f"manage.py slo status {arguments.slo}",),
        )

    def run(self, arguments: SloStatusArguments, *, idempotency_key: str) -> ActionResult:  # noqa: ARG002
        slo = slo_by_slug(slug=arguments.slo)
        status = budget_status(slo=slo) if slo else None
        if slo is None or status is None:
            return ActionResult(ok=False, error=f"there is no SLO {arguments.slo!r} with a definition in force")
        rate = burn_rates(slo=slo)[arguments.window]
        output: dict[str, Any] = {
            "value": rate.high if rate else None,
            "state": status.state.value,
            "burn_rate": [rate.low, rate.high] if rate else None,
            "error_budget_remaining": [status.remaining.low, status.remaining.high] if status.remaining else None,
            "firing": status.firing,
            "good": status.counts.good,
            "bad": status.counts.bad,
            "unknown": status.counts.unknown,
        }
        problems = []
        if status.state is BudgetState.UNKNOWN:
            problems.append("not measured lately")
        if arguments.max_burn_rate is not None and rate is not None and rate.high > arguments.max_burn_rate:
            problems.append(f"burn rate {rate.high:.2f} over {arguments.window}, at most {arguments.max_burn_rate:g}")
        if arguments.min_budget_remaining_ratio is not None:
            left = status.remaining.low if status.remaining else None
            if left is not None and left < arguments.min_budget_remaining_ratio:
                wanted = arguments.min_budget_remaining_ratio
                problems.append(f"{left:.1%} of the error budget left, at least {wanted:.1%}")
        if arguments.expect_not_firing and status.firing:
            problems.append("a burn-rate alert is firing")
        return ActionResult(ok=not problems, output=output, error="; ".join(problems))


_slo_status: Action = SloStatus()
register_action(_slo_status)

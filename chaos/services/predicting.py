"""What a run is expected to spend of error budgets: what its file reserves, or what earlier runs have spent."""

from dataclasses import dataclass

from chaos.data import Verdict
from chaos.models import ChaosRun
from chaos.services.guards import budgets_left, reserved_by_others
from chaos.services.planning import RunPlan

LAST_RUNS = 5
RAN = (Verdict.PASSED, Verdict.FAILED, Verdict.ABORTED, Verdict.DIRTY)


@dataclass(frozen=True)
class PredictedBudget:
    """One SLO's budget, in percent of it: what is left, what other runs keep, what this run will take, and why."""

    slo: str
    left: float | None
    reserved_by_others: float
    expected: float
    because: str

    @property
    def left_after(self) -> float | None:
        """What would be left when the run has spent what is expected; None when it is not measured."""
        return None if self.left is None else self.left - self.expected


def predicted_budgets(plan: RunPlan) -> list[PredictedBudget]:
    """Return what a run of this plan is expected to spend: the most of its last runs, at least what it reserves."""
    runs = list(
        ChaosRun.objects.filter(revision__experiment=plan.revision.experiment, verdict__in=RAN).exclude(
            budgets_at_end={}
        )[:LAST_RUNS]
    )
    reserve = plan.spec.error_budget.reserve_percent
    found = []
    for slug, left in budgets_left(plan.spec).items():
        spent = [amount for run in runs if (amount := budget_spent(run, slug)) is not None]
        most = max(spent, default=0.0)
        because = f"the most of its last {len(spent)} runs" if spent and most > reserve else "what its file reserves"
        if not spent and not reserve:
            because = "it has not run yet and reserves nothing"
        found.append(PredictedBudget(slug, left, reserved_by_others(slug, None), max(most, reserve), because))
    return found


def budget_spent(run: ChaosRun, slo: str) -> float | None:
    """Return how much of an SLO's budget went by during a run, in percent of it; None when it was not measured."""
    before, after = run.budgets_at_start.get(slo), run.budgets_at_end.get(slo)
    return None if before is None or after is None else max(before - after, 0.0)

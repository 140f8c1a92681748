"""Suites: experiments of a service that take turns, the one whose last proof is the oldest first."""

from datetime import UTC, datetime

from chaos.data import TurnOutcome
from chaos.domain.program_documents import SuiteDocument
from chaos.domain.schedules import next_turn
from chaos.models import ChaosRun, Experiment, ScheduleTurn
from chaos.program_models import Suite
from chaos.services.guards import SCHEDULER
from chaos.services.running import GuardRefusedError, request_run
from core.clock import database_now
from core.leases import settle
from core.parsing import InputRefusedError

SUITE_QUEUE = "chaos.suite"
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def next_of_suite(suite: Suite) -> Experiment | None:
    """Return the experiment of a suite that has not shown anything for the longest time."""
    found = list(suite.experiments.select_related("environment"))
    return min(found, key=lambda one: (_last_shown(one), one.slug), default=None)


def _last_shown(experiment: Experiment) -> datetime:
    last = (
        ChaosRun.objects.filter(revision__experiment=experiment, verdict__in=["passed", "failed"])
        .order_by("-ended_at")
        .first()
    )
    return last.ended_at if last is not None and last.ended_at is not None else NEVER


def run_suite_turn(suite: Suite) -> None:
    """Start the run of a suite's turn, or keep why not; a turn that comes too late is counted and not made up for."""
    spec = SuiteDocument.model_validate(suite.definition).spec
    now = database_now()
    experiment = next_of_suite(suite)
    late = now - suite.due_at > spec.schedule.late_by_at_most
    outcome, reason, run = TurnOutcome.MISSED, f"the site was not there for this turn of {suite}", None
    if experiment is not None and not late:
        try:
            run = request_run(principal=SCHEDULER, experiment=experiment)
            outcome, reason = TurnOutcome.STARTED, f"a turn of {suite}"
        except GuardRefusedError as refused:
            outcome, reason, run = TurnOutcome.REFUSED, str(refused), refused.run
        except InputRefusedError as refused:
            outcome, reason = TurnOutcome.REFUSED, str(refused)
    if experiment is not None:
        ScheduleTurn.objects.get_or_create(
            experiment=experiment,
            nominal_at=suite.nominal_at,
            defaults={"at": now, "outcome": outcome, "missed": int(late), "reason": reason[:2000], "run": run},
        )
    turn = next_turn(spec.schedule, after=max(now, suite.nominal_at), seed=suite.slug)
    settle(suite, nominal_at=turn.nominal, due_at=turn.due, attempts=0, last_error="")

"""Turns of schedules: start the run that is due, or keep why not."""

from chaos.data import TurnOutcome, Verdict
from chaos.models import ChaosRun, ExperimentSchedule
from chaos.services.guards import SCHEDULER
from chaos.services.running import GuardRefusedError, request_run
from chaos.services.schedules import settle_turn, skip_late_turn
from core.parsing import InputRefusedError


def run_turn(schedule: ExperimentSchedule) -> None:
    """Start the run of a turn. A paused schedule, a late turn and a refusal are kept with their reason."""
    if schedule.paused_by:
        settle_turn(schedule, TurnOutcome.REFUSED, reason=f"paused by {schedule.paused_by}")
        return
    # A worker that was killed between the start and its record has started this turn already.
    started = ChaosRun.objects.filter(
        revision__experiment=schedule.experiment, requested_by=SCHEDULER.reference, requested_at__gte=schedule.due_at
    ).first()
    if started is not None:
        outcome = TurnOutcome.REFUSED if started.verdict == Verdict.REFUSED else TurnOutcome.STARTED
        settle_turn(schedule, outcome, run=started, reason=started.reason)
        return
    if skip_late_turn(schedule):
        return
    try:
        run = request_run(principal=SCHEDULER, experiment=schedule.experiment)
    except GuardRefusedError as refused:
        settle_turn(schedule, TurnOutcome.REFUSED, reason=str(refused), run=refused.run)
        return
    except InputRefusedError as refused:
        settle_turn(schedule, TurnOutcome.REFUSED, reason=str(refused))
        return
    settle_turn(schedule, TurnOutcome.STARTED, run=run)

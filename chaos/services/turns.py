"""Turns of schedules: start the run that is due, or keep why not."""

from chaos.data import TurnOutcome
from chaos.models import ExperimentSchedule
from chaos.services.guards import SCHEDULER
from chaos.services.running import GuardRefusedError, request_run
from chaos.services.schedules import settle_turn, skip_late_turn
from core.parsing import InputRefusedError


def run_turn(schedule: ExperimentSchedule) -> None:
    """Start the run of a turn. A paused schedule, a late turn and a refusal are kept with their reason."""
    if schedule.paused_by:
        settle_turn(schedule, TurnOutcome.REFUSED, reason=f"paused by {schedule.paused_by}")
        return
    if skip_late_turn(schedule):
        return
    try:
        run = request_run(principal=SCHEDULER, experiment=schedule.experiment)
    except (GuardRefusedError, InputRefusedError) as refused:
        settle_turn(schedule, TurnOutcome.REFUSED, reason=str(refused))
        return
    settle_turn(schedule, TurnOutcome.STARTED, run=run)

"""Experiments that run by themselves: one turn at a time, missed turns counted and never made up for."""

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from chaos.data import TurnOutcome
from chaos.domain.schedules import ScheduleSpec, next_turn, turns_missed
from chaos.models import ChaosRun, Experiment, ExperimentSchedule, ScheduleTurn
from core.clock import database_now
from core.leases import settle

SCHEDULE_QUEUE = "chaos.schedule"


def set_schedule(experiment: Experiment, spec: ScheduleSpec | None) -> None:
    """Make an experiment's schedule what its file says; the same text keeps the turn that is planned."""
    if spec is None:
        ExperimentSchedule.objects.filter(experiment=experiment).delete()
        return
    definition = spec.model_dump(mode="json")
    if ExperimentSchedule.objects.filter(experiment=experiment, definition=definition).exists():
        return
    turn = next_turn(spec, after=database_now(), seed=experiment.slug)
    ExperimentSchedule.objects.update_or_create(
        experiment=experiment,
        defaults={"definition": definition, "nominal_at": turn.nominal, "due_at": turn.due},
    )


def pause_schedule(*, principal: Principal, experiment: Experiment, paused: bool) -> None:
    """Pause an experiment's schedule or let it go on; what falls due meanwhile is kept as refused."""
    for service in experiment.services.all():
        ensure_may(principal, Capability.CHAOS_RUN, team_id=service.team_id)
    ExperimentSchedule.objects.filter(experiment=experiment).update(paused_by=principal.reference if paused else "")


def skip_late_turn(schedule: ExperimentSchedule) -> bool:
    """Count the turns that nobody was there for and plan the next one; returns whether this one was too late."""
    now = database_now()
    spec = ScheduleSpec.model_validate(schedule.definition)
    if now - schedule.due_at <= spec.late_by_at_most:
        return False
    missed = 1 + turns_missed(spec, nominal=schedule.nominal_at, now=now)
    settle_turn(schedule, TurnOutcome.MISSED, missed=missed, reason=f"the site was not there for {missed} turns")
    return True


@transaction.atomic
def settle_turn(
    schedule: ExperimentSchedule,
    outcome: TurnOutcome,
    *,
    run: ChaosRun | None = None,
    missed: int = 0,
    reason: str = "",
) -> None:
    """Keep what came of a turn and plan the next one. A turn is kept once, whoever repeats it."""
    now = database_now()
    ScheduleTurn.objects.get_or_create(
        experiment=schedule.experiment,
        nominal_at=schedule.nominal_at,
        defaults={"at": now, "outcome": outcome, "missed": missed, "reason": reason[:2000], "run": run},
    )
    spec = ScheduleSpec.model_validate(schedule.definition)
    turn = next_turn(spec, after=max(now, schedule.nominal_at), seed=schedule.experiment.slug)
    settle(schedule, nominal_at=turn.nominal, due_at=turn.due, attempts=0, last_error="")

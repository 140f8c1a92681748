"""Stop runs: by hand, by the kill switch, by a watcher that is not the one that injects, and after a runner died."""

import contextlib
import logging
from datetime import timedelta

from django.core.exceptions import PermissionDenied
from django.db import transaction

from accounts.data import Capability, Principal, system_principal
from accounts.selectors import name_of
from accounts.services import ensure_may
from chaos.data import FaultState, RunState
from chaos.models import ChaosRun, Experiment
from chaos.selectors import live_runs
from chaos.services.faults import note, revert_all
from chaos.services.guards import Glance, ask_guards_of, glance_at
from chaos.services.planning import spec_of
from chaos.services.running import START_WITHIN, finish_run
from core.clock import database_now
from ledger.data.access import AuditedAction
from ledger.services import record
from reliability.selectors import budget_status, burn_rate_now, slo_by_slug

logger = logging.getLogger(__name__)

WATCHER = system_principal("chaos-watcher")
DEAD_AFTER = timedelta(seconds=15)


def stop_run(*, principal: Principal, run: ChaosRun, reason: str) -> bool:
    """Ask a run to stop; its runner undoes the faults at once. Returns whether it was going on."""
    for service in run.revision.experiment.services.all():
        ensure_may(principal, Capability.CHAOS_STOP, team_id=service.team_id)
    stopped = ChaosRun.objects.filter(pk=run.pk, state__in=[RunState.STARTING, RunState.RUNNING]).update(
        state=RunState.STOPPING, stop_requested_by=principal.reference, stop_reason=reason[:1000]
    )
    if stopped:
        note(run, "watcher" if principal == WATCHER else "run", f"stopped by {name_of(principal.reference)}: {reason}")
    return bool(stopped)


def stop_all_runs(*, principal: Principal, reason: str) -> list[str]:
    """Ask every run that the principal may stop to stop; returns those that were going on."""
    if not principal.may_somewhere(Capability.CHAOS_STOP):
        ensure_may(principal, Capability.CHAOS_STOP)
    stopped = []
    for run in live_runs():
        with contextlib.suppress(PermissionDenied):
            if stop_run(principal=principal, run=run, reason=reason):
                stopped.append(run.reference)
    return stopped


def watch_runs() -> None:
    """Stop runs that a guard or an abort condition no longer allows. No data means stop."""
    runs = list(
        live_runs()
        .filter(state=RunState.RUNNING)
        .select_related("revision__experiment__environment")
        .defer("journal", "compiled", "guards")
    )
    if not runs:
        return
    glance: Glance | None = None
    for run in runs:
        try:
            glance = glance or glance_at(_services_of(runs))
            reason = _reason_to_stop(run, glance)
        except Exception as error:
            logger.exception("%s: the guards cannot be asked", run)
            reason = f"the guards cannot be asked: {type(error).__name__}"
        if reason:
            stop_run(principal=WATCHER, run=run, reason=reason)


def _services_of(runs: list[ChaosRun]) -> list[int]:
    experiments = Experiment.objects.filter(pk__in={run.revision.experiment_id for run in runs})
    return list(experiments.values_list("services", flat=True))


def _reason_to_stop(run: ChaosRun, glance: Glance) -> str:
    for decision in ask_guards_of(run, glance=glance):
        if not decision.allowed:
            return f"{decision.guard}: {decision.reason}"
    for condition in spec_of(run.revision).abort:
        slo = slo_by_slug(slug=condition.slo)
        status = budget_status(slo=slo) if slo else None
        if slo is None or status is None or not status.measured_recently:
            return f"{condition.slo} is no longer measured; no data means stop"
        burn = burn_rate_now(slo=slo, minutes=condition.minutes)
        if burn is not None and burn > condition.burn_rate_above:
            return f"{condition.slo} burns its budget at {burn:.1f}; abort above {condition.burn_rate_above}"
    return ""


def reap_dead_runs() -> int:
    """Undo the faults of runs whose runner is dead or never came, and end them. Returns how many."""
    now = database_now()
    reaped = 0
    for run in live_runs():
        silent = run.heartbeat_at is not None and run.heartbeat_at < now - DEAD_AFTER
        never_came = run.heartbeat_at is None and run.requested_at < now - START_WITHIN
        if silent or never_came or run.deadline_at < now:
            reason = "the runner died" if silent else "no runner came" if never_came else "the deadline has passed"
            try:
                _give_up(run, reason)
            except Exception:
                # One that cannot be ended now (a full disk) must not keep the faults of others from being undone.
                logger.exception("%s: could not be ended", run)
                continue
            reaped += 1
    return reaped


def _give_up(run: ChaosRun, reason: str) -> None:
    try:
        # From here on the runner, if it only slept, injects nothing more: it writes ahead while it is running only.
        ChaosRun.objects.filter(pk=run.pk).exclude(state=RunState.FINISHED).update(state=RunState.STOPPING)
    finally:
        revert_all(run)
    finish_run(run, aborted=run.stop_reason or reason)


def retry_dirty_faults() -> None:
    """Try again to undo what could not be undone, or of which nobody could write down that it was."""
    left = [FaultState.DIRTY, FaultState.ACTIVE, FaultState.INTENDED]
    for run in ChaosRun.objects.filter(state=RunState.FINISHED, faults__state__in=left).distinct():
        revert_all(run)


@transaction.atomic
def clear_dirty_run(*, principal: Principal, run: ChaosRun, reason: str) -> int:
    """Declare by hand that a run's dirty targets are well again, with the reason; returns how many faults."""
    for service in run.revision.experiment.services.all():
        ensure_may(principal, Capability.CHAOS_RUN, team_id=service.team_id)
    cleared = run.faults.filter(state=FaultState.DIRTY).update(
        state=FaultState.CLEARED, reverted_at=database_now(), detail=f"cleared by {principal.reference}: {reason}"
    )
    if cleared:
        note(run, "run", f"{cleared} dirty faults cleared by {name_of(principal.reference)}: {reason}")
        action = AuditedAction(action="chaos.dirty_cleared", target=run.reference, reason=reason[:300])
        record(action, actor=principal.reference, subject=f"experiment:{run.revision.experiment.slug}")
    return cleared

"""Ask for a run, start its runner, watch it from outside, stop it, and clean up after a runner that died."""

import sys
from datetime import timedelta

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from catalog.data import ActivityKind
from catalog.services import end_activity, start_activity
from chaos.data import FaultState, GuardDecision, RunState, Verdict
from chaos.domain.verdicts import Seen, verdict_of
from chaos.events import ChaosRunEnded
from chaos.models import ChaosRun, Experiment, KillSwitch
from chaos.selectors import engaged_kill_switch, live_runs
from chaos.services.faults import revert_all
from chaos.services.planning import ask_guards, plan_run, spec_of
from core.clock import database_now
from core.detached import start_detached
from core.events import publish
from core.identifiers import new_id
from core.work import wake
from ledger.data.access import AuditedAction
from ledger.data.chaos import ChaosRunFinished, GuardAnswer
from ledger.services import record
from reliability.selectors import burn_rate_now, firing_burn_alerts, slo_by_slug

START_QUEUE = "chaos.start"
WATCHER = system_principal("chaos-watcher")
REAPER = system_principal("chaos-reaper")
DEAD_AFTER = timedelta(seconds=15)
START_WITHIN = timedelta(seconds=90)
ENDING_MARGIN = timedelta(minutes=2)


class GuardRefusedError(PermissionDenied):
    """A guard said no; nothing was started."""

    def __init__(self, decisions: list[GuardDecision]) -> None:
        self.decisions = decisions
        refused = [f"{decision.guard}: {decision.reason}" for decision in decisions if not decision.allowed]
        super().__init__("Refused. " + "; ".join(refused))


@transaction.atomic
def request_run(*, principal: Principal, experiment: Experiment) -> ChaosRun:
    """Ask every guard and, if all agree, start a run. Raises GuardRefusedError."""
    for service in experiment.services.all():
        ensure_may(principal, Capability.CHAOS_RUN, team_id=service.team_id)
    plan = plan_run(experiment=experiment)
    decisions = ask_guards(plan, requested_by=principal.reference)
    if not all(decision.allowed for decision in decisions):
        raise GuardRefusedError(decisions)
    now = database_now()
    spec = plan.spec
    run = ChaosRun.objects.create(
        reference=new_id("run"),
        revision=plan.revision,
        plan_sha256=plan.sha256,
        requested_by=principal.reference,
        requested_at=now,
        due_at=now,
        guards=[vars(decision) for decision in decisions],
        deadline_at=now + START_WITHIN + spec.hold + spec.steady_state.recover_within + ENDING_MARGIN,
    )
    start_activity(
        kind=ActivityKind.CHAOS_RUN,
        source_key=run.source_key,
        title=str(experiment),
        url=f"/chaos/runs/{run.reference}/",
        service_ids=list(experiment.services.values_list("pk", flat=True)),
        started_at=now,
    )
    wake(START_QUEUE)
    return run


def start_runner(run: ChaosRun) -> None:
    """Start the runner: a process in a session of its own, which outlives the worker that starts it."""
    if run.state != RunState.STARTING:
        return
    log = settings.STATE_DIR / "log"
    log.mkdir(parents=True, exist_ok=True)
    start_detached(
        [sys.executable, "manage.py", "chaos_runner", run.reference],
        folder=settings.BASE_DIR,
        log=log / "chaos-runner.log",
    )


def stop_run(*, principal: Principal, run: ChaosRun, reason: str) -> bool:
    """Ask a run to stop; its runner undoes the faults at once. Returns whether it was going on."""
    for service in run.revision.experiment.services.all():
        ensure_may(principal, Capability.CHAOS_STOP, team_id=service.team_id)
    return bool(
        ChaosRun.objects.filter(pk=run.pk, state__in=[RunState.STARTING, RunState.RUNNING]).update(
            state=RunState.STOPPING, stop_requested_by=principal.reference, stop_reason=reason[:1000]
        )
    )


@transaction.atomic
def engage_kill_switch(*, principal: Principal, reason: str) -> KillSwitch:
    """Stop every run and let none start until it is released. Faults are still undone."""
    if not principal.may_somewhere(Capability.CHAOS_STOP):
        ensure_may(principal, Capability.CHAOS_STOP)
    switch = engaged_kill_switch()
    if switch is None:
        switch = KillSwitch.objects.create(
            engaged_by=principal.reference, engaged_at=database_now(), reason=reason[:300]
        )
        action = AuditedAction(action="chaos.kill_switch_engaged", target="chaos", reason=reason[:300])
        record(action, actor=principal.reference, subject="chaos:kill-switch")
    for run in live_runs():
        stop_run(principal=system_principal("kill-switch"), run=run, reason=f"kill switch: {reason}")
    return switch


@transaction.atomic
def release_kill_switch(*, principal: Principal) -> None:
    """Let runs start again."""
    ensure_may(principal, Capability.CHAOS_RUN)
    released = KillSwitch.objects.filter(released_at__isnull=True).update(
        released_by=principal.reference, released_at=database_now()
    )
    if released:
        action = AuditedAction(action="chaos.kill_switch_released", target="chaos")
        record(action, actor=principal.reference, subject="chaos:kill-switch")


def watch_runs() -> None:
    """Stop runs that a guard or an abort condition no longer allows. No data means stop."""
    for run in live_runs().filter(state=RunState.RUNNING):
        reason = _reason_to_stop(run)
        if reason:
            stop_run(principal=WATCHER, run=run, reason=reason)


def _reason_to_stop(run: ChaosRun) -> str:
    plan = plan_run(experiment=run.revision.experiment)
    asked = {"environment", "kill switch", "incidents"}
    for decision in ask_guards(plan, requested_by=run.requested_by, run=run):
        if decision.guard in asked and not decision.allowed:
            return f"{decision.guard}: {decision.reason}"
    for condition in spec_of(run.revision).abort:
        slo = slo_by_slug(slug=condition.slo)
        burn = burn_rate_now(slo=slo, minutes=condition.minutes) if slo else None
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
            revert_all(run)
            finish_run(run, aborted=run.stop_reason or reason)
            reaped += 1
    return reaped


def retry_dirty_faults() -> None:
    """Try again to undo what could not be undone."""
    for run in ChaosRun.objects.filter(state=RunState.FINISHED, faults__state=FaultState.DIRTY).distinct():
        revert_all(run)


def is_steady(run: ChaosRun) -> bool:
    """Say whether no burn alert of the run's steady state is firing."""
    slugs = spec_of(run.revision).steady_state.slos
    return not firing_burn_alerts().filter(slo__slug__in=slugs).exists()


@transaction.atomic
def finish_run(run: ChaosRun, *, aborted: str = "") -> None:
    """End a run with its verdict, once: ledger entry, activity, event."""
    now = database_now()
    faults = list(run.faults.all())
    verdict, reason = _verdict(run, aborted)
    ended = (
        ChaosRun.objects.filter(pk=run.pk)
        .exclude(state=RunState.FINISHED)
        .update(
            state=RunState.FINISHED,
            verdict=verdict,
            reason=reason,
            ended_at=now,
            finished_at=now,
            steady_before=run.steady_before,
            steady_after=run.steady_after,
            journal=run.journal,
        )
    )
    if not ended:
        return
    experiment = run.revision.experiment
    spec = spec_of(run.revision)
    undone = [fault.reverted_at for fault in faults if fault.reverted_at is not None]
    record(
        ChaosRunFinished(
            run=run.reference,
            experiment=experiment.slug,
            plan_sha256=run.plan_sha256,
            environment=experiment.environment.slug,
            services=spec.services,
            hypothesis=spec.hypothesis,
            targets=sorted({name for fault in faults for name in fault.targets}),
            faults=[f"{fault.action}: {fault.state}" for fault in faults],
            verdict=verdict,
            reason=reason,
            steady_before=run.steady_before,
            steady_after=run.steady_after,
            guards=[GuardAnswer(**decision) for decision in run.guards],
            started_at=run.started_at or run.requested_at,
            finished_at=now,
            undone_at=max(undone) if undone else None,
        ),
        actor=run.requested_by,
        subject=f"experiment:{experiment.slug}",
        occurred_at=now,
    )
    end_activity(source_key=run.source_key, ended_at=now)
    publish(ChaosRunEnded(reference=run.reference, experiment=experiment.slug, verdict=verdict, reason=reason))


def _verdict(run: ChaosRun, aborted: str) -> tuple[Verdict, str]:
    spec, faults = spec_of(run.revision), {fault.position: fault for fault in run.faults.all()}
    verdict, reason = verdict_of(
        Seen(
            left_behind=tuple(
                name for fault in faults.values() if fault.state == FaultState.DIRTY for name in fault.targets
            ),
            aborted=aborted,
            effects=tuple(
                faults[position].took_effect if position in faults else None for position in range(len(spec.faults))
            ),
            throughout=spec.steady_state.throughout,
            steady_before=run.steady_before,
            steady_during=ChaosRun.objects.values_list("steady_during", flat=True).get(pk=run.pk),
            steady_after=run.steady_after,
        )
    )
    return Verdict(verdict), reason

"""Ask for a run, start its runner, look at its steady state, and end it with its verdict."""

import sys
from datetime import datetime, timedelta

import orjson
from chaoslib import experiment_hash
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F

from accounts.data import Capability, Principal
from accounts.selectors import name_of
from accounts.services import ensure_may
from catalog.data import ActivityKind
from catalog.services import end_activity, start_activity
from chaos.data import SETTLED, GuardDecision, RunState, Verdict
from chaos.domain.redaction import redacted
from chaos.domain.verdicts import Seen, verdict_of
from chaos.events import ChaosRunEnded
from chaos.models import ChaosRun, Experiment, StartGate
from chaos.services.compiling import compile_experiment
from chaos.services.faults import note
from chaos.services.findings import judge_run
from chaos.services.guards import ask_guards, budgets_left
from chaos.services.planning import RunPlan, plan_run, spec_of
from chaos.services.predicting import predicted_budgets
from core.clock import database_now
from core.detached import start_detached
from core.events import publish
from core.identifiers import new_id
from core.work import wake
from drivers.services import run_action
from ledger.data.chaos import ChaosRunFinished, ChaosRunRefused, ChaosRunStarted, GuardAnswer
from ledger.services import record, store_artifact
from reliability.selectors import firing_burn_alerts

START_QUEUE = "chaos.start"
START_WITHIN = timedelta(seconds=90)
ENDING_MARGIN = timedelta(minutes=2)
SAME_REFUSAL_WITHIN = timedelta(minutes=10)


class GuardRefusedError(PermissionDenied):
    """A guard said no; nothing was started."""

    def __init__(self, decisions: list[GuardDecision], *, run: ChaosRun | None = None) -> None:
        self.decisions = decisions
        self.run = run
        refused = [f"{decision.guard}: {decision.reason}" for decision in decisions if not decision.allowed]
        super().__init__("Refused. " + "; ".join(refused))


class _Refused(Exception):  # noqa: N818 it takes the answers out of the transaction that asked
    def __init__(self, plan: RunPlan, decisions: list[GuardDecision]) -> None:
        self.plan = plan
        self.decisions = decisions
        super().__init__("refused")


def request_run(*, principal: Principal, experiment: Experiment) -> ChaosRun:
    """Ask every guard and, if all agree, start a run. Raises GuardRefusedError; the refusal is kept as a run too."""
    for service in experiment.services.all():
        ensure_may(principal, Capability.CHAOS_RUN, team_id=service.team_id)
    # Targets are resolved before the transaction: a host's agent would wait for its end to see what it is asked.
    plan = plan_run(experiment=experiment)
    try:
        return _start_if_all_agree(principal, experiment, plan)
    except _Refused as refused:
        run = _keep_refusal(principal, refused.plan, refused.decisions)
        raise GuardRefusedError(refused.decisions, run=run) from None


@transaction.atomic
def _start_if_all_agree(principal: Principal, experiment: Experiment, plan: RunPlan) -> ChaosRun:
    # Two starts at once ask their guards one after the other: whoever writes this row first is seen by the other.
    if not StartGate.objects.filter(pk=1).update(starts=F("starts") + 1):
        StartGate.objects.get_or_create(pk=1)
    decisions = ask_guards(plan, requested_by=principal.reference)
    if not all(decision.allowed for decision in decisions):
        raise _Refused(plan, decisions)
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
        budgets_at_start=budgets_left(spec),
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
    note(run, "run", f"requested by {name_of(principal.reference)}; every guard agrees")
    run.compiled = compile_experiment(run)
    run.compiled_sha256 = experiment_hash(run.compiled, hash_algo="sha256")
    run.save(update_fields=["compiled", "compiled_sha256"])
    record(
        ChaosRunStarted(
            run=run.reference,
            experiment=experiment.slug,
            plan_sha256=plan.sha256,
            compiled_sha256=run.compiled_sha256,
            environment=experiment.environment.slug,
            services=spec.services,
            targets=sorted(plan.targets),
            undo=[fault.undo or "one way" for fault in plan.faults],
            budget={
                one.slo: f"{_percent(one.left)} left, {one.expected:.1f} % expected" for one in predicted_budgets(plan)
            },
            guards=[GuardAnswer(**vars(decision)) for decision in decisions],
        ),
        actor=principal.reference,
        subject=f"experiment:{experiment.slug}",
    )
    wake(START_QUEUE)
    return run


@transaction.atomic
def _keep_refusal(principal: Principal, plan: RunPlan, decisions: list[GuardDecision]) -> ChaosRun:
    now = database_now()
    refused = [f"{decision.guard}: {decision.reason}" for decision in decisions if not decision.allowed]
    last = ChaosRun.objects.filter(revision__experiment=plan.revision.experiment).first()
    if last is not None and _is_same_refusal(last, principal, plan, decisions, now):
        return last
    run = ChaosRun.objects.create(
        reference=new_id("run"),
        revision=plan.revision,
        plan_sha256=plan.sha256,
        state=RunState.FINISHED,
        verdict=Verdict.REFUSED,
        reason="; ".join(refused),
        requested_by=principal.reference,
        requested_at=now,
        ended_at=now,
        finished_at=now,
        due_at=now,
        deadline_at=now,
        guards=[vars(decision) for decision in decisions],
    )
    record(
        ChaosRunRefused(
            run=run.reference,
            experiment=plan.revision.experiment.slug,
            plan_sha256=plan.sha256,
            services=plan.spec.services,
            guards=[GuardAnswer(**vars(decision)) for decision in decisions],
        ),
        actor=principal.reference,
        subject=f"experiment:{plan.revision.experiment.slug}",
    )
    return run


def _is_same_refusal(
    last: ChaosRun, principal: Principal, plan: RunPlan, decisions: list[GuardDecision], now: datetime
) -> bool:
    """Say whether somebody only asks again: one record of it is enough."""
    against = {decision.guard for decision in decisions if not decision.allowed}
    before = {answer["guard"] for answer in last.guards if not answer["allowed"]}
    return (
        last.verdict == Verdict.REFUSED
        and last.plan_sha256 == plan.sha256
        and last.requested_by == principal.reference
        and last.requested_at > now - SAME_REFUSAL_WITHIN
        and before == against
    )


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} %"


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


def is_steady(run: ChaosRun) -> bool:
    """Say whether the run's steady state holds: no burn alert of its SLOs fires and every probe answers well."""
    return not unsteady_because(run)


def unsteady_because(run: ChaosRun) -> str:
    """Return what does not hold of the run's steady state, or an empty text."""
    steady = spec_of(run.revision).steady_state
    firing = firing_burn_alerts().filter(slo__slug__in=steady.slos).first()
    if firing is not None:
        return f"a burn alert of {firing.slo.slug} fires"
    for probe in steady.probes:
        result = run_action(probe.action, probe.arguments, idempotency_key=f"{run.source_key}:probe")
        if not result.ok:
            return f"{probe.action}: {result.error or 'no'}"
    return ""


@transaction.atomic
def finish_run(run: ChaosRun, *, aborted: str = "") -> None:
    """End a run with its verdict, once: ledger entry, activity, event."""
    now = database_now()
    faults = list(run.faults.all())
    verdict, reason = _verdict(run, aborted)
    artifacts: list[str] = []
    try:
        artifacts.append(_keep_journal(run))
    except OSError as error:
        lost = f"the journal could not be kept: {error.strerror or error}"
        # Without its journal a run proves nothing; what it has shown to be wrong is wrong all the same.
        verdict, reason = (Verdict.INCONCLUSIVE, lost) if verdict == Verdict.PASSED else (verdict, f"{reason}; {lost}")
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
            budgets_at_end=budgets_left(spec_of(run.revision)),
            recovery_seconds=run.recovery_seconds,
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
        artifacts=artifacts,
    )
    note(run, "run", f"ended {verdict}: {reason}")
    end_activity(source_key=run.source_key, ended_at=now)
    run.refresh_from_db()
    judge_run(run)
    publish(ChaosRunEnded(reference=run.reference, experiment=experiment.slug, verdict=verdict, reason=reason))


def _keep_journal(run: ChaosRun) -> str:
    """Keep what the toolkit has written, without what looks like a secret. Raises OSError."""
    return store_artifact(
        orjson.dumps(
            {"run": run.reference, "plan_sha256": run.plan_sha256, "journal": redacted(run.journal)},
            default=str,
            option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS,
        ),
        media_type="application/json",
        name=f"journal-{run.reference}.json",
    )


def _verdict(run: ChaosRun, aborted: str) -> tuple[Verdict, str]:
    spec, faults = spec_of(run.revision), {fault.position: fault for fault in run.faults.all()}
    verdict, reason = verdict_of(
        Seen(
            left_behind=tuple(
                name for fault in faults.values() if fault.state not in SETTLED for name in fault.targets
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

"""Experiments as code, what a run would hurt, and whether it may."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import name_of
from accounts.services import ensure_may, ensure_other_person
from catalog.selectors import services_by_slugs
from chaos.data import FaultState, GuardDecision, RunState
from chaos.domain.documents import ExperimentDocument, ExperimentSpec
from chaos.models import ChaosRun, Experiment, ExperimentRevision, Fault, PlanApproval
from chaos.selectors import engaged_kill_switch, latest_revision
from core.clock import database_now
from core.parsing import LineIndex, parse_document, refuse
from drivers.data import Plan
from drivers.services import action, parse_arguments, plan_action, probe_action
from drivers.services import plan_as_json as driver_plan_as_json
from incidents.selectors import open_incidents
from ledger.data.chaos import ChaosPlanApproved
from ledger.services import record
from reliability.data import BudgetState
from reliability.selectors import budget_status, slo_by_slug

APPROVAL_LIFE = timedelta(hours=1)


@dataclass(frozen=True)
class RunPlan:
    """What a run of a revision would do now."""

    revision: ExperimentRevision
    spec: ExperimentSpec
    faults: tuple[Plan, ...]
    sha256: str

    @property
    def target_names(self) -> list[str]:
        """Return the names of all targets."""
        return sorted({target.name for fault in self.faults for target in fault.targets})


def plan_as_json(plan: RunPlan, decisions: Sequence[GuardDecision]) -> dict[str, Any]:
    """Return what a run would do now and what every guard says, as JSON."""
    return {
        "experiment": plan.revision.experiment.slug,
        "revision": plan.revision.number,
        "plan_sha256": plan.sha256,
        "targets": plan.target_names,
        "faults": [
            {"action": spec.action, "ttl_seconds": spec.ttl.total_seconds(), **driver_plan_as_json(fault)}
            for spec, fault in zip(plan.spec.faults, plan.faults, strict=True)
        ],
        "allowed": all(decision.allowed for decision in decisions),
        "guards": [vars(decision) for decision in decisions],
    }


def spec_of(revision: ExperimentRevision) -> ExperimentSpec:
    """Return a revision's parsed definition."""
    return ExperimentDocument.model_validate(revision.definition).spec


@transaction.atomic
def apply_documents(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], source: str = "experiments"
) -> list[str]:
    """Create or update experiments, all or nothing; returns those that changed. Raises InputRefusedError."""
    changed = []
    for data, lines in documents:
        document = parse_document(ExperimentDocument, data, source=source, lines=lines)
        if _apply(principal, document, data, f"{source} {document.metadata.name}"):
            changed.append(document.metadata.name)
    return changed


def _apply(principal: Principal, document: ExperimentDocument, data: Any, where: str) -> bool:
    spec = document.spec
    services = {service.slug: service for service in services_by_slugs(spec.services)}
    if missing := [slug for slug in spec.services if slug not in services]:
        raise refuse(f"{where} spec.services", found=missing[0], allowed="slugs of services of the catalog are allowed")
    for service in services.values():
        ensure_may(principal, Capability.CHAOS_EDIT, team_id=service.team_id)
    environments = {service.environment for service in services.values()}
    if len(environments) != 1 or next(iter(environments)).slug != spec.environment:
        raise refuse(
            f"{where} spec.environment", found=spec.environment, allowed="the environment that all its services are in"
        )
    for position, fault in enumerate(spec.faults):
        path = f"{where} spec.faults[{position}]"
        parse_arguments(fault.action, fault.arguments, source=f"{path}.arguments")
        if not action(fault.action, source=f"{path}.action").reversible:
            raise refuse(f"{path}.action", found=fault.action, allowed="a fault must be an action that can be undone")
    for slug in [*spec.steady_state.slos, *(condition.slo for condition in spec.abort)]:
        if slo_by_slug(slug=slug) is None:
            raise refuse(f"{where} spec", found=slug, allowed="the name of an SLO is allowed")
    digest = hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()
    experiment, _ = Experiment.objects.update_or_create(
        slug=document.metadata.name,
        defaults={"title": document.metadata.title, "environment": next(iter(environments))},
    )
    experiment.services.set(services.values())
    newest = experiment.revisions.order_by("-number").first()
    if newest is not None and newest.sha256 == digest:
        return False
    ExperimentRevision.objects.create(
        experiment=experiment,
        number=newest.number + 1 if newest else 1,
        definition=data,
        sha256=digest,
        author=principal.reference,
        created_at=database_now(),
    )
    return True


def plan_run(*, experiment: Experiment) -> RunPlan:
    """Resolve the real targets of an experiment's newest revision. Nothing is touched."""
    revision = latest_revision(experiment=experiment)
    spec = spec_of(revision)
    plans = tuple(plan_action(fault.action, fault.arguments) for fault in spec.faults)
    # Bound to names, not process ids: a replica that was restarted since the approval is the same target.
    names = [[target.name for target in plan.targets] for plan in plans]
    digest = hashlib.sha256(orjson.dumps([revision.sha256, names])).hexdigest()
    return RunPlan(revision=revision, spec=spec, faults=plans, sha256=digest)


@transaction.atomic
def approve_plan(*, principal: Principal, experiment: Experiment) -> PlanApproval:
    """Agree to the plan as it is now, for an hour. The author of the revision cannot."""
    plan = plan_run(experiment=experiment)
    ensure_may(principal, Capability.APPROVE)
    ensure_other_person(principal, requester=plan.revision.author)
    now = database_now()
    approval = PlanApproval.objects.create(
        revision=plan.revision,
        plan_sha256=plan.sha256,
        approved_by=principal.reference,
        approved_at=now,
        expires_at=now + APPROVAL_LIFE,
    )
    record(
        ChaosPlanApproved(
            experiment=experiment.slug,
            plan_sha256=plan.sha256,
            author=plan.revision.author,
            approved_at=now,
            expires_at=approval.expires_at,
        ),
        actor=principal.reference,
        subject=f"experiment:{experiment.slug}",
    )
    return approval


def ask_guards(plan: RunPlan, *, requested_by: str, run: ChaosRun | None = None) -> list[GuardDecision]:
    """Ask every guard. `run` is the run that is going on: its own incident and locks do not count against it."""
    return [
        _environment(plan),
        _kill_switch(),
        _capability(plan),
        _blast_radius(plan),
        _approval(plan, requested_by),
        _locks(plan, run),
        _incidents(plan, run),
        _budget(plan),
    ]


def _environment(plan: RunPlan) -> GuardDecision:
    environment = plan.revision.experiment.environment
    said = f"{environment} allows chaos" if environment.chaos_allowed else f"{environment} does not allow chaos"
    return GuardDecision("environment", environment.chaos_allowed, said)


def _kill_switch() -> GuardDecision:
    switch = engaged_kill_switch()
    return GuardDecision("kill switch", switch is None, f"engaged: {switch.reason}" if switch else "not engaged")


def _capability(plan: RunPlan) -> GuardDecision:
    for fault in plan.spec.faults:
        support = probe_action(fault.action, fault.arguments)
        if not support.supported:
            return GuardDecision("capability", allowed=False, reason=f"{fault.action}: {support.reason}")
    return GuardDecision("capability", allowed=True, reason="every fault is possible here")


def _blast_radius(plan: RunPlan) -> GuardDecision:
    radius = plan.spec.blast_radius
    for fault, resolved in zip(plan.spec.faults, plan.faults, strict=True):
        hurt = len(resolved.targets)
        everything = resolved.matched or hurt
        if not hurt:
            return GuardDecision("blast radius", allowed=False, reason=f"{fault.action} matches no target")
        share = 100 * hurt / everything
        if hurt > radius.max_targets or share > radius.max_share_percent:
            return GuardDecision(
                "blast radius",
                allowed=False,
                reason=f"{hurt} of {everything} targets ({share:.0f} %); allowed are {radius.max_targets} and "
                f"{radius.max_share_percent} %",
            )
    return GuardDecision("blast radius", allowed=True, reason=f"{', '.join(plan.target_names)}: within the limits")


def _approval(plan: RunPlan, requested_by: str) -> GuardDecision:
    approval = (
        PlanApproval.objects.filter(revision=plan.revision, plan_sha256=plan.sha256, expires_at__gt=database_now())
        .exclude(approved_by=requested_by)
        .first()
    )
    if approval is None:
        return GuardDecision("approval", allowed=False, reason="nobody else has approved this plan within the hour")
    return GuardDecision("approval", allowed=True, reason=f"approved by {name_of(approval.approved_by)}")


def _locks(plan: RunPlan, run: ChaosRun | None) -> GuardDecision:
    held = Fault.objects.exclude(state=FaultState.REVERTED).select_related("run")
    if run is not None:
        held = held.exclude(run=run)
    wanted = set(plan.target_names)
    for fault in held:
        if shared := wanted & set(fault.targets):
            return GuardDecision(
                "target lock", allowed=False, reason=f"{', '.join(sorted(shared))}: held by {fault.run} ({fault.state})"
            )
    others = ChaosRun.objects.exclude(state=RunState.FINISHED)
    if run is not None:
        others = others.exclude(pk=run.pk)
    if (other := others.filter(revision__experiment=plan.revision.experiment).first()) is not None:
        return GuardDecision("target lock", allowed=False, reason=f"{other} of this experiment is going on")
    return GuardDecision("target lock", allowed=True, reason="no other run holds these targets")


def _incidents(plan: RunPlan, run: ChaosRun | None) -> GuardDecision:
    service_ids = list(plan.revision.experiment.services.values_list("pk", flat=True))
    own = run.source_key if run is not None else None
    foreign = [
        incident for incident in open_incidents(service_ids=service_ids) if incident.caused_by != own or own is None
    ]
    if foreign:
        return GuardDecision("incidents", allowed=False, reason=f"open: {', '.join(str(i.reference) for i in foreign)}")
    return GuardDecision("incidents", allowed=True, reason="no incident is open that this run did not cause")


def _budget(plan: RunPlan) -> GuardDecision:
    for slug in plan.spec.steady_state.slos:
        slo = slo_by_slug(slug=slug)
        status = budget_status(slo=slo) if slo else None
        if status is None or status.state is BudgetState.UNKNOWN:
            return GuardDecision("error budget", allowed=False, reason=f"{slug}: not measured; no data means no")
        if status.state is BudgetState.BREACHED and plan.spec.error_budget.when_spent == "refuse":
            return GuardDecision("error budget", allowed=False, reason=f"{slug}: the budget is spent")
    return GuardDecision("error budget", allowed=True, reason="measured, and spendable by this experiment's rule")

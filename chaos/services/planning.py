"""Experiments as code, what a run would hurt, and whether it may."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from catalog.selectors import services_by_slugs
from chaos.data import GuardDecision
from chaos.domain.documents import ExperimentDocument, ExperimentSpec, FaultSpec, ProbeSpec
from chaos.models import Experiment, ExperimentRevision
from chaos.selectors import latest_revision
from chaos.services.applying import OTHER_KINDS
from chaos.services.schedules import set_schedule
from core.clock import database_now
from core.parsing import LineIndex, parse_document, refuse
from drivers.data import Plan, Risk, Support
from drivers.services import action, parse_arguments, plan_action, probe_action, risk_of_action
from drivers.services import plan_as_json as driver_plan_as_json
from reliability.selectors import slo_by_slug

MOST_SPECS = 256
# A revision is never edited, and the watcher asks for its spec every second.
_specs: dict[tuple[int, str], ExperimentSpec] = {}


@dataclass(frozen=True)
class RunPlan:
    """What a run of a revision would do now."""

    revision: ExperimentRevision
    spec: ExperimentSpec
    faults: tuple[Plan, ...]
    support: tuple[Support, ...]
    sha256: str

    @property
    def target_names(self) -> list[str]:
        """Return the names of all targets."""
        return sorted({target.name for fault in self.faults for target in fault.targets})

    @property
    def targets(self) -> set[str]:
        """Return all targets as `kind:name`."""
        return {f"{target.kind}:{target.name}" for fault in self.faults for target in fault.targets}


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
    known = _specs.get((revision.pk, revision.sha256))
    if known is None:
        if len(_specs) >= MOST_SPECS:
            _specs.clear()
        known = _specs[revision.pk, revision.sha256] = ExperimentDocument.model_validate(revision.definition).spec
    return known


@transaction.atomic
def apply_documents(
    *, principal: Principal, documents: Sequence[tuple[Any, LineIndex]], source: str = "experiments"
) -> list[str]:
    """Create or update experiments, all or nothing; returns those that changed. Raises InputRefusedError."""
    changed = []
    for data, lines in documents:
        kind = data.get("kind") if isinstance(data, dict) else None
        if isinstance(kind, str) and kind in OTHER_KINDS:
            name = OTHER_KINDS[kind](principal, data, lines, source)
        else:
            document = parse_document(ExperimentDocument, data, source=source, lines=lines)
            where = f"{source} {document.metadata.name}"
            name = document.metadata.name if _apply(principal, document, data, where) else ""
        if name:
            changed.append(name)
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
        _check_fault(fault, f"{where} spec.faults[{position}]")
    for position, probe in enumerate(spec.steady_state.probes):
        _check_probe(probe, f"{where} spec.steady_state.probes[{position}]")
    for slug in [*spec.steady_state.slos, *(condition.slo for condition in spec.abort)]:
        if slo_by_slug(slug=slug) is None:
            raise refuse(f"{where} spec", found=slug, allowed="the name of an SLO is allowed")
    digest = hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()
    experiment, _ = Experiment.objects.update_or_create(
        slug=document.metadata.name,
        defaults={"title": document.metadata.title, "environment": next(iter(environments))},
    )
    experiment.services.set(services.values())
    set_schedule(experiment, spec.schedule)
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


def _check_fault(fault: FaultSpec, path: str) -> None:
    found = action(fault.action, source=f"{path}.action")
    parse_arguments(fault.action, fault.arguments, source=f"{path}.arguments")
    if risk_of_action(fault.action, fault.arguments) is Risk.READ:
        raise refuse(f"{path}.action", found=fault.action, allowed="a fault must change something")
    if found.reversible and fault.one_way:
        raise refuse(f"{path}.one_way", found="true", allowed=f"{fault.action} can be undone; leave it out")
    if not found.reversible and not fault.one_way:
        raise refuse(
            f"{path}.action", found=fault.action, allowed="a fault that can be undone, or one_way: true said knowingly"
        )


def _check_probe(probe: ProbeSpec, path: str) -> None:
    action(probe.action, source=f"{path}.action")
    parse_arguments(probe.action, probe.arguments, source=f"{path}.arguments")
    if risk_of_action(probe.action, probe.arguments) is not Risk.READ:
        raise refuse(f"{path}.action", found=probe.action, allowed="a probe may only look")


def plan_run(*, experiment: Experiment) -> RunPlan:
    """Resolve the real targets of an experiment's newest revision. Nothing is touched."""
    revision = latest_revision(experiment=experiment)
    spec = spec_of(revision)
    plans = tuple(plan_action(fault.action, fault.arguments) for fault in spec.faults)
    # Bound to names, not process ids: a replica that was restarted since the approval is the same target.
    names = [[target.name for target in plan.targets] for plan in plans]
    digest = hashlib.sha256(orjson.dumps([revision.sha256, names])).hexdigest()
    support = tuple(probe_action(fault.action, fault.arguments) for fault in spec.faults)
    return RunPlan(revision=revision, spec=spec, faults=plans, support=support, sha256=digest)

"""What a site of a test's own can be told."""

from typing import Any

from accounts.data import system_principal
from catalog.services import apply_documents as apply_catalog
from chaos.data import RunState
from chaos.models import ChaosRun
from chaos.selectors import experiment_by_slug, run_by_reference
from chaos.services import (
    apply_documents,
    clear_dirty_run,
    reap_dead_runs,
    request_run,
    retry_dirty_faults,
    stop_run,
    verify_clean,
    watch_runs,
)
from chaos.services.running import START_WITHIN, GuardRefusedError
from chaos.services.stopping import DEAD_AFTER
from core.parsing import LineIndex
from drivers.models import Agent
from drivers.services import plan_action
from drivers.services.agents import add_agent

SITE = system_principal("test")


def apply(room: str, documents: list[Any]) -> None:
    parsed = [(document, LineIndex({})) for document in documents]
    if room == "catalog":
        apply_catalog(principal=SITE, documents=parsed, source="catalog")
    else:
        apply_documents(principal=SITE, documents=parsed, source="chaos")


def start(name: str) -> str:
    experiment = experiment_by_slug(slug=name)
    assert experiment is not None
    try:
        return request_run(principal=SITE, experiment=experiment).reference
    except GuardRefusedError as refused:
        return f"refused: {refused}"


def state(reference: str) -> dict[str, Any]:
    run = _run(reference)
    return {
        "state": run.state,
        "verdict": run.verdict,
        "reason": run.reason,
        "was_started": run.finished_at is not None,
        "faults": [{"state": fault.state, "detail": fault.detail} for fault in run.faults.all()],
    }


def stop(reference: str, reason: str) -> bool:
    return stop_run(principal=SITE, run=_run(reference), reason=reason)


def clear(reference: str, reason: str) -> int:
    return clear_dirty_run(principal=SITE, run=_run(reference), reason=reason)


def tend() -> None:
    watch_runs()
    reap_dead_runs()
    retry_dirty_faults()


def grow_old(reference: str) -> None:
    """Let the time pass after which a run whose runner is dead is given up."""
    run = _run(reference)
    going = ChaosRun.objects.filter(pk=run.pk).exclude(state=RunState.FINISHED)
    if run.heartbeat_at is None:
        going.filter(heartbeat_at=None).update(requested_at=run.requested_at - START_WITHIN)
    else:
        going.update(heartbeat_at=run.heartbeat_at - DEAD_AFTER)


def remnants() -> list[dict[str, Any]]:
    return [vars(one) for one in verify_clean()]


def targets(action: str, arguments: dict[str, Any]) -> list[str]:
    return [target.name for target in plan_action(action, arguments).targets]


def agent(name: str) -> dict[str, str]:
    return add_agent(principal=SITE, slug=name)[1]


def heard(name: str) -> bool:
    return Agent.objects.filter(slug=name, heard_at__isnull=False).exists()


def _run(reference: str) -> Any:
    run = run_by_reference(reference=reference)
    assert run is not None
    return run


COMMANDS: dict[str, Any] = {
    "apply": apply,
    "start": start,
    "state": state,
    "stop": stop,
    "clear": clear,
    "tend": tend,
    "grow_old": grow_old,
    "remnants": remnants,
    "targets": targets,
    "agent": agent,
    "heard": heard,
}

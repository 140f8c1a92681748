"""The runner: one run of Chaos Toolkit in a process of its own.

The experiment that the toolkit runs is compiled from typed faults and names only functions of this module. Rollbacks
are always played (the toolkit's default leaves a fault in place when the service is down), and the write-ahead rows
are undone afterwards in any case, because a tolerance that raises ends the toolkit without rollbacks or journal.
"""

import logging
import os
import threading
import time
from typing import Any

from chaoslib.experiment import run_experiment
from chaoslib.types import Strategy
from django.db import close_old_connections

from chaos.data import FaultState, RunState
from chaos.models import ChaosRun
from chaos.services import finish_run, is_steady, note, spec_of, unsteady_because
from chaos.services.faults import any_active, inject, revert, revert_all
from core.clock import database_now

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
RECHECK_SECONDS = 1.0


def compile_experiment(run: ChaosRun) -> dict[str, Any]:
    """Return a run as a Chaos Toolkit experiment."""
    spec = spec_of(run.revision)

    def call(kind: str, name: str, function: str, **arguments: Any) -> dict[str, Any]:
        provider = {
            "type": "python",
            "module": "chaos.engine",
            "func": function,
            "arguments": {"reference": run.reference, **arguments},
        }
        return {"type": kind, "name": name, "provider": provider}

    return {
        "version": "1.0.0",
        "title": run.revision.experiment.title or run.revision.experiment.slug,
        "description": spec.hypothesis,
        "steady-state-hypothesis": {
            "title": spec.hypothesis,
            "probes": [{**call("probe", "no burn alert fires", "steady_state"), "tolerance": True}],
        },
        "method": [
            *(
                call("action", f"inject {fault.action}", "inject_fault", position=n)
                for n, fault in enumerate(spec.faults)
            ),
            call("action", "hold", "hold"),
        ],
        "rollbacks": [
            call("action", f"undo {spec.faults[n].action}", "undo_fault", position=n)
            for n in reversed(range(len(spec.faults)))
        ],
    }


def run_to_the_end(reference: str) -> None:
    """Run a run: claim it, let the toolkit work, undo what is left, wait for the steady state, give the verdict."""
    now = database_now()
    claimed = ChaosRun.objects.filter(reference=reference, state=RunState.STARTING, started_at__isnull=True).update(
        state=RunState.RUNNING, started_at=now, heartbeat_at=now
    )
    if not claimed:
        logger.info("%s: somebody else has it, or it was stopped", reference)
        return
    threading.Thread(target=_beat, args=(reference,), daemon=True).start()
    run = _run(reference)
    failure = ""
    try:
        run.steady_before = is_steady(run)
        run.journal = _toolkit(run)
    except Exception as error:
        logger.exception("%s: the engine failed", reference)
        failure = f"engine: {type(error).__name__}: {error}"
    finally:
        revert_all(run)
    fresh = _run(reference)
    if _one_way_begun(run) and (failure or fresh.state == RunState.STOPPING):
        # What cannot be undone is lived through: no further fault, but the recovery is seen to its end.
        run.steady_after = _wait_for_steady_state(run, even_if_stopped=True)
    if fresh.state == RunState.STOPPING:
        failure = f"stopped by {fresh.stop_requested_by}: {fresh.stop_reason}"
    elif not failure and run.steady_before:
        run.steady_after = _wait_for_steady_state(run)
    finish_run(run, aborted=failure)


def steady_state(reference: str) -> bool:
    """Probe: no burn alert of the experiment's SLOs fires."""
    return is_steady(_run(reference))


def inject_fault(reference: str, position: int) -> str:
    """Action: inject one fault, unless the run was stopped."""
    run = _run(reference)
    if run.state != RunState.RUNNING:
        return "stopped before this fault"
    fault = spec_of(run.revision).faults[position]
    return str(inject(run, position=position, action=fault.action, arguments=fault.arguments, ttl=fault.ttl).state)


def hold(reference: str) -> str:
    """Action: let the faults last; ends early when the run is stopped or the faults are gone."""
    deadline = time.monotonic() + spec_of(_run(reference).revision).hold.total_seconds()
    while time.monotonic() < deadline:
        run = _run(reference)
        problem = unsteady_because(run)
        note(run, "probe", problem or "the steady state holds")
        if run.steady_during is not False and run.steady_during is not (not problem):
            ChaosRun.objects.filter(pk=run.pk).update(steady_during=not problem)
        if run.state != RunState.RUNNING:
            return "stopped"
        if not any_active(run) and not _one_way_begun(run):
            return "the faults are gone: somebody has repaired what they had hurt"
        time.sleep(RECHECK_SECONDS)
    return "held to the end"


def undo_fault(reference: str, position: int) -> str:
    """Action: undo one fault, if it was intended."""
    fault = _run(reference).faults.filter(position=position).first()
    if fault is None:
        return "never intended"
    return "undone" if revert(fault) else "still there"


def _toolkit(run: ChaosRun) -> dict[str, Any]:
    journal = run_experiment(
        compile_experiment(run),
        settings={"runtime": {"rollbacks": {"strategy": "always"}}},
        strategy=Strategy.BEFORE_METHOD,
    )
    kept = ("chaoslib-version", "status", "deviated", "start", "end", "duration", "steady_states", "run", "rollbacks")
    return {name: _plain(journal[name]) for name in kept if name in journal}


def _plain(value: Any) -> Any:
    """Keep what JSON can hold; the toolkit puts exceptions and enumerations into its journal."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _one_way_begun(run: ChaosRun) -> bool:
    return run.faults.filter(state=FaultState.LASTING).exists()


def _wait_for_steady_state(run: ChaosRun, *, even_if_stopped: bool = False) -> bool:
    deadline = time.monotonic() + spec_of(run.revision).steady_state.recover_within.total_seconds()
    while time.monotonic() < deadline:
        problem = unsteady_because(run)
        note(run, "probe", problem or "the steady state holds")
        if not problem:
            return True
        if not even_if_stopped and _run(run.reference).state != RunState.RUNNING:
            return False
        time.sleep(RECHECK_SECONDS)
    return is_steady(run)


def _run(reference: str) -> ChaosRun:
    return ChaosRun.objects.select_related("revision__experiment__environment").get(reference=reference)


def _beat(reference: str) -> None:
    parent = os.getpid()
    while os.getpid() == parent:
        try:
            ChaosRun.objects.filter(reference=reference).update(heartbeat_at=database_now())
        except Exception as error:  # noqa: BLE001 a missed beat is what the reaper is for
            logger.warning("no heartbeat: %s", error)
            close_old_connections()
        time.sleep(HEARTBEAT_SECONDS)

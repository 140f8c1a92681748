"""The runner: one run of Chaos Toolkit in a process of its own.

The experiment that the toolkit runs is compiled from typed faults and names only functions of this module. Rollbacks
are always played (the toolkit's default leaves a fault in place when the service is down), and the write-ahead rows
are undone afterwards in any case, because a tolerance that raises ends the toolkit without rollbacks or journal.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from chaoslib.experiment import run_experiment
from chaoslib.types import Strategy
from django.db import Error as AnyDatabaseError
from django.db import close_old_connections

from chaos.data import FaultState, RunState
from chaos.models import ChaosRun
from chaos.services import compile_experiment, finish_run, is_steady, note, spec_of, unsteady_because
from chaos.services.faults import any_active, inject, revert, revert_all
from core.clock import database_now

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
RECHECK_SECONDS = 1.0
STOP_LOOK_SECONDS = 0.1
UNDO_RETRY_SECONDS = 2.0
UNDO_TRIES = 30
# The toolkit takes these over: one version swallows SIGTERM and goes on, and SIGUSR2 leaves every fault in place.
TAKEN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

# Shorter than the silence after which the reaper gives a run up.
MUTE_SECONDS = 10.0

_told_to_end: list[str] = []
_beats: list[float] = []


def run_to_the_end(reference: str) -> None:
    """Run a run: claim it, let the toolkit work, undo what is left, wait for the steady state, give the verdict."""
    now = database_now()
    claimed = ChaosRun.objects.filter(reference=reference, state=RunState.STARTING, started_at__isnull=True).update(
        state=RunState.RUNNING, started_at=now, heartbeat_at=now
    )
    if not claimed:
        logger.info("%s: somebody else has it, or it was stopped", reference)
        return
    _take_signals()
    ended = threading.Event()
    threading.Thread(target=_beat, args=(reference,), daemon=True).start()
    threading.Thread(target=_undo_when_stopped, args=(reference, ended), daemon=True).start()
    run = _run(reference)
    failure = ""
    try:
        run.steady_before = is_steady(run)
        run.journal = _toolkit(run)
        failure = _hold_failed(run.journal)
    except Exception as error:
        logger.exception("%s: the engine failed", reference)
        failure = f"engine: {type(error).__name__}: {error}"
    finally:
        ended.set()
        _undo_whatever_happens(run)
    undone = time.monotonic()
    fresh = _insisting(lambda: _run(reference))
    if fresh.state == RunState.STOPPING:
        failure = f"stopped by {fresh.stop_requested_by}: {fresh.stop_reason}"
    try:
        if failure and _one_way_begun(run):
            # What cannot be undone is lived through: no further fault, but the recovery is seen to its end.
            run.steady_after = _wait_for_steady_state(run, even_if_stopped=True)
        elif not failure and run.steady_before:
            run.steady_after = _wait_for_steady_state(run)
            fresh = _run(reference)
            if fresh.state == RunState.STOPPING and not run.steady_after:
                failure = f"stopped by {fresh.stop_requested_by}: {fresh.stop_reason}"
    except Exception as error:
        logger.exception("%s: whether it recovered cannot be told", reference)
        failure = failure or f"engine: {type(error).__name__}: {error}"
    if run.steady_after:
        run.recovery_seconds = round(time.monotonic() - undone, 3)
    _insisting(lambda: finish_run(run, aborted=failure))


def steady_state(reference: str) -> bool:
    """Probe: no burn alert of the experiment's SLOs fires and every probe answers well."""
    _take_signals()
    return is_steady(_run(reference))


def inject_fault(reference: str, position: int) -> str:
    """Action: inject one fault, unless the run was stopped."""
    _take_signals()
    close_old_connections()
    run = _run(reference)
    if run.state != RunState.RUNNING:
        return "stopped before this fault"
    fault = spec_of(run.revision).faults[position]
    return str(inject(run, position=position, action=fault.action, arguments=fault.arguments, ttl=fault.ttl).state)


def hold(reference: str) -> str:
    """Action: let the faults last; ends early when the run is stopped or the faults are gone."""
    run = _insisting(lambda: _run(reference))
    deadline = time.monotonic() + spec_of(run.revision).hold.total_seconds()
    while time.monotonic() < deadline:
        if (mute := time.monotonic() - _beats[-1] if _beats else 0.0) > MUTE_SECONDS:
            raise RuntimeError(f"nothing could be written for {mute:.0f} s, so nobody could have stopped this run")
        try:
            if ended := _look(_run(reference)):
                return ended
        except AnyDatabaseError as error:
            # Without the database nothing is known for a moment; the heartbeat says whether that lasts too long.
            logger.warning("%s: the database does not answer: %s", reference, error)
            close_old_connections()
        time.sleep(RECHECK_SECONDS)
    return "held to the end"


def _look(run: ChaosRun) -> str:
    """Look at the steady state and at the faults; returns why holding them ends, or an empty text."""
    problem = unsteady_because(run)
    note(run, "probe", problem or "the steady state holds")
    if run.steady_during is not False and run.steady_during is not (not problem):
        ChaosRun.objects.filter(pk=run.pk).update(steady_during=not problem)
    if run.state != RunState.RUNNING:
        return "stopped"
    if not any_active(run) and not _one_way_begun(run):
        return "the faults are gone: somebody has repaired what they had hurt"
    return ""


def undo_fault(reference: str, position: int) -> str:
    """Action: undo one fault, if it was intended."""
    close_old_connections()
    fault = _run(reference).faults.filter(position=position).first()
    if fault is None:
        return "never intended"
    return "undone" if revert(fault) else "still there"


def _toolkit(run: ChaosRun) -> dict[str, Any]:
    journal = run_experiment(
        run.compiled or compile_experiment(run),
        settings={"runtime": {"rollbacks": {"strategy": "always"}}},
        strategy=Strategy.BEFORE_METHOD,
    )
    kept = ("chaoslib-version", "status", "deviated", "start", "end", "duration", "steady_states", "run", "rollbacks")
    return {name: _plain(journal[name]) for name in kept if name in journal}


def _hold_failed(journal: dict[str, Any]) -> str:
    """Return why holding the faults broke off, which the toolkit only writes down and calls completed."""
    for activity in journal.get("run", []):
        if activity["activity"]["name"] == "hold" and activity.get("status") == "failed":
            return f"engine: {str(activity.get('exception', ['it broke off'])[-1]).strip()[:300]}"
    return ""


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


def _undo_when_stopped(reference: str, ended: threading.Event) -> None:
    """Undo at once when the run is stopped, whatever the toolkit is busy with: a probe may take its whole timeout."""
    while not ended.wait(STOP_LOOK_SECONDS):
        with contextlib.suppress(AnyDatabaseError):
            if _told_to_end:
                _stop_because_told(reference, by=_told_to_end[0])
            if ChaosRun.objects.filter(reference=reference, state=RunState.RUNNING).exists():
                continue
            revert_all(_run(reference))
            return
        close_old_connections()


def _take_signals() -> None:
    """Hear signals here and not in the toolkit: whichever comes, and however often, the faults are undone."""
    if threading.current_thread() is threading.main_thread():
        for number in TAKEN_SIGNALS:
            signal.signal(number, _hear)


def _hear(number: int, _frame: FrameType | None) -> None:
    _told_to_end.append(signal.Signals(number).name)


def _stop_because_told(reference: str, *, by: str) -> None:
    """Stop the run because this process was told to end."""
    ChaosRun.objects.filter(reference=reference, state=RunState.RUNNING).update(
        state=RunState.STOPPING, stop_requested_by="system:runner", stop_reason=f"its process was told to end ({by})"
    )


def _insisting(ask: Callable[[], Answer]) -> Answer:
    """Ask the database again, for a minute, when it does not answer. What is asked must be one transaction."""
    for left in range(UNDO_TRIES, -1, -1):
        try:
            return ask()
        except (AnyDatabaseError, OSError) as error:
            if not left:
                raise
            logger.warning("nothing can be written: %s", error)
            close_old_connections()
            time.sleep(UNDO_RETRY_SECONDS)
    raise AssertionError("unreachable")


def _undo_whatever_happens(run: ChaosRun) -> None:
    """Undo every fault and write it down; a database that does not answer is waited for, then the watchdogs remain."""
    for _ in range(UNDO_TRIES):
        try:
            revert_all(run)
            if not run.faults.filter(state__in=[FaultState.INTENDED, FaultState.ACTIVE]).exists():
                return
        except AnyDatabaseError as error:
            logger.warning("%s: the database does not answer: %s", run, error)
        close_old_connections()
        time.sleep(UNDO_RETRY_SECONDS)


def _run(reference: str) -> ChaosRun:
    return ChaosRun.objects.select_related("revision__experiment__environment").get(reference=reference)


def _beat(reference: str) -> None:
    parent = os.getpid()
    _beats[:] = [time.monotonic()]
    while os.getpid() == parent:
        try:
            ChaosRun.objects.filter(reference=reference).update(heartbeat_at=database_now())
            _beats[:] = [time.monotonic()]
        except Exception as error:  # noqa: BLE001 a missed beat is what the reaper is for
            logger.warning("no heartbeat: %s", error)
            close_old_connections()
        time.sleep(HEARTBEAT_SECONDS)

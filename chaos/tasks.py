"""Starting runs, watching them, and cleaning up."""

from datetime import timedelta

from chaos import recovery_tasks  # noqa: F401 registers the queue and jobs of recovery tests
from chaos.models import ChaosRun, ExperimentSchedule
from chaos.program_models import Suite
from chaos.selectors import last_kill_switch_test
from chaos.services import (
    SCHEDULE_QUEUE,
    START_QUEUE,
    SUITE_QUEUE,
    reap_dead_runs,
    retry_dirty_faults,
    run_suite_turn,
    run_turn,
    start_runner,
    tell_overdue_retests,
    try_kill_switch,
    watch_runs,
)
from core.clock import database_now
from core.leases import settle
from core.periodic import periodic
from core.work import WorkQueue, register_queue

KILL_SWITCH_TEST_EVERY = timedelta(days=7)
# Watching and reaping must go on soon after the worker that did it was killed.
SAFETY_LEASE = timedelta(seconds=15)


def _start(run: ChaosRun) -> None:
    start_runner(run)
    # The runner claims the run by its state; if it never comes, the reaper ends the run.
    settle(run, finished_at=run.requested_at)


register_queue(WorkQueue(name=START_QUEUE, model=ChaosRun, handle=_start, max_attempts=3))
register_queue(
    WorkQueue(
        name=SCHEDULE_QUEUE,
        model=ExperimentSchedule,
        handle=run_turn,
        select_related=("experiment",),
    )
)
register_queue(WorkQueue(name=SUITE_QUEUE, model=Suite, handle=run_suite_turn, select_related=("service",)))


@periodic("chaos.watch", every=timedelta(seconds=1), lease_for=SAFETY_LEASE)
def watch() -> None:
    """Stop runs that a guard no longer allows."""
    watch_runs()


@periodic("chaos.reap", every=timedelta(seconds=5), lease_for=SAFETY_LEASE)
def reap() -> None:
    """Undo the faults of runs whose runner is dead."""
    reap_dead_runs()
    retry_dirty_faults()


@periodic("chaos.kill_switch_test", every=timedelta(hours=1))
def try_kill_switch_weekly() -> None:
    """Test the kill switch once a week; while a run goes on, an hour later."""
    last = last_kill_switch_test()
    if last is None or database_now() - last.at >= KILL_SWITCH_TEST_EVERY:
        try_kill_switch()


@periodic("chaos.retests", every=timedelta(hours=1))
def tell_of_overdue_retests() -> None:
    """Tell of mended findings that nobody has tried again in time."""
    tell_overdue_retests()

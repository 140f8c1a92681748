"""Starting runs, watching them, and cleaning up."""

from datetime import timedelta

from chaos import recovery_tasks  # noqa: F401 registers the queue and jobs of recovery tests
from chaos.models import ChaosRun, ExperimentSchedule
from chaos.services import (
    SCHEDULE_QUEUE,
    START_QUEUE,
    reap_dead_runs,
    retry_dirty_faults,
    run_turn,
    start_runner,
    watch_runs,
)
from core.leases import settle
from core.periodic import periodic
from core.work import WorkQueue, register_queue


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
        transactional=True,
        select_related=("experiment",),
    )
)


@periodic("chaos.watch", every=timedelta(seconds=1))
def watch() -> None:
    """Stop runs that a guard no longer allows."""
    watch_runs()


@periodic("chaos.reap", every=timedelta(seconds=5))
def reap() -> None:
    """Undo the faults of runs whose runner is dead."""
    reap_dead_runs()
    retry_dirty_faults()

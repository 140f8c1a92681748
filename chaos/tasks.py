"""Starting runs, watching them, and cleaning up."""

from datetime import timedelta

from chaos.models import ChaosRun
from chaos.services import START_QUEUE, reap_dead_runs, retry_dirty_faults, start_runner, watch_runs
from core.leases import settle
from core.periodic import periodic
from core.work import WorkQueue, register_queue


def _start(run: ChaosRun) -> None:
    start_runner(run)
    # The runner claims the run by its state; if it never comes, the reaper ends the run.
    settle(run, finished_at=run.requested_at)


register_queue(WorkQueue(name=START_QUEUE, model=ChaosRun, handle=_start, max_attempts=3))


@periodic("chaos.watch", every=timedelta(seconds=2))
def watch() -> None:
    """Stop runs that a guard no longer allows."""
    watch_runs()


@periodic("chaos.reap", every=timedelta(seconds=5))
def reap() -> None:
    """Undo the faults of runs whose runner is dead."""
    reap_dead_runs()
    retry_dirty_faults()

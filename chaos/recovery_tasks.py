"""Starting recovery tests, by hand and by their calendar, and cleaning up after them."""

from datetime import timedelta

from chaos.recovery_models import RecoveryTestRun
from chaos.services.recovery import START_QUEUE, start_due_tests, start_recovery_runner
from chaos.services.recovery_running import reap_dead_recovery_runs
from core.leases import settle
from core.periodic import periodic
from core.work import WorkQueue, register_queue


def _start(run: RecoveryTestRun) -> None:
    start_recovery_runner(run)
    # The runner claims the run by its state; if it never comes, the reaper ends the run.
    settle(run, finished_at=run.requested_at)


register_queue(WorkQueue(name=START_QUEUE, model=RecoveryTestRun, handle=_start, max_attempts=3))


@periodic("recovery.schedule", every=timedelta(seconds=30))
def schedule() -> None:
    """Start the tests whose turn has come."""
    start_due_tests()


@periodic("recovery.reap", every=timedelta(seconds=10))
def reap() -> None:
    """Clean up after runners that are dead."""
    reap_dead_recovery_runs()

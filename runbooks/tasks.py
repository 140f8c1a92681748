"""Taking runs forward, starting those that are scheduled, and noticing what nobody exercises."""

from datetime import timedelta

from core.periodic import periodic
from core.work import WorkQueue, register_queue
from runbooks.models import RunbookRun
from runbooks.services import ADVANCE_QUEUE, advance, judge_exercises, start_scheduled_runs

register_queue(
    WorkQueue(
        name=ADVANCE_QUEUE,
        model=RunbookRun,
        handle=advance,
        lease_for=timedelta(seconds=20),
        max_attempts=20,
        select_related=("revision__runbook",),
    )
)


@periodic("runbooks.start_scheduled", every=timedelta(seconds=30))
def start_due_runs() -> None:
    """Start the runs whose turn has come."""
    start_scheduled_runs()


@periodic("runbooks.judge_exercises", every=timedelta(hours=24))
def judge() -> None:
    """Say of each runbook of a tier-1 service whether it was exercised lately."""
    judge_exercises()

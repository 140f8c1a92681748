"""Taking runs forward."""

from datetime import timedelta

from core.work import WorkQueue, register_queue
from runbooks.models import RunbookRun
from runbooks.services import ADVANCE_QUEUE, advance

register_queue(
    WorkQueue(
        name=ADVANCE_QUEUE,
        model=RunbookRun,
        handle=advance,
        lease_for=timedelta(seconds=30),
        max_attempts=20,
        select_related=("revision__runbook",),
    )
)

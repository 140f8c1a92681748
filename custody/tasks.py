"""The room's queue and recurring job."""

from datetime import timedelta

from core.periodic import periodic
from core.work import WorkQueue, register_queue
from custody.models import Erasure
from custody.services import ERASE_QUEUE, count_what_is_kept, erase, remove_old_data

register_queue(
    WorkQueue(name=ERASE_QUEUE, model=Erasure, handle=erase, lease_for=timedelta(minutes=30), max_attempts=20)
)


@periodic("custody.retention", every=timedelta(hours=1))
def retention() -> None:
    """Remove what is older than its rule says, and count what holds keep."""
    remove_old_data()
    count_what_is_kept()

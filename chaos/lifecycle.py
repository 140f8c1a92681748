"""What the room keeps, and for how long."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from chaos.models import RunEvent
from core.lifecycle import EVIDENCE_FLOOR, DataClass, register_class


def _old(before: datetime) -> QuerySet[RunEvent]:
    return RunEvent.objects.filter(at__lt=before, run__ended_at__lt=before)


register_class(
    DataClass(
        key="chaos.journals",
        name="Journals of chaos runs",
        says="What happened in a run, line by line, and what its watcher decided. Runs and their ledger entries stay.",
        default=timedelta(days=400),
        floor=EVIDENCE_FLOOR,
        old=_old,
        at="at",
        evidence=True,
    )
)

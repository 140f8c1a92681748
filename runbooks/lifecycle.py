"""What the room keeps, and for how long."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from core.lifecycle import DataClass, Held, register_class
from runbooks.models import OutputLine


def _old(before: datetime) -> QuerySet[OutputLine]:
    return OutputLine.objects.filter(at__lt=before, attempt__step__run__ended_at__lt=before)


def _spare(rows: QuerySet[OutputLine], held: Held) -> QuerySet[OutputLine]:
    if held.services or held.engagements:
        return rows.none()
    return rows.exclude(attempt__step__run__incident_reference__in=held.incidents)


register_class(
    DataClass(
        key="runbooks.output",
        name="Output of runbook steps",
        says="The lines that actions said while they ran. Runs, steps, approvals and their ledger entries stay.",
        default=timedelta(days=180),
        floor=timedelta(days=7),
        old=_old,
        at="at",
        spare=_spare,
    )
)

"""What the room keeps of its own work, and for how long. What it proves stands in the ledger."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from compliance.models import IndicatorPoint, PackExport, ScanRun
from core.lifecycle import EVIDENCE_FLOOR, DataClass, Held, register_class


def _scans(before: datetime) -> QuerySet[ScanRun]:
    over = ScanRun.objects.filter(state__in=(ScanRun.State.COMPLETED, ScanRun.State.FAILED))
    return over.filter(requested_at__lt=before)


def _exports(before: datetime) -> QuerySet[PackExport]:
    return PackExport.objects.filter(requested_at__lt=before, finished_at__isnull=False)


def _spare_exports(rows: QuerySet[PackExport], held: Held) -> QuerySet[PackExport]:
    return rows.exclude(engagement__slug__in=held.engagements)


register_class(
    DataClass(
        key="compliance.scans",
        name="Scans that were asked for",
        says="Which folder or repository was scanned, and what was found. The result is evidence in the ledger.",
        default=timedelta(days=400),
        floor=EVIDENCE_FLOOR,
        old=_scans,
        at="requested_at",
        spare=lambda rows, _: rows,
        evidence=True,
    )
)
register_class(
    DataClass(
        key="compliance.exports",
        name="Evidence packs that were handed out",
        says="Who asked for a pack of which audit. The pack is a file of the ledger with a class of its own.",
        default=timedelta(days=400),
        floor=EVIDENCE_FLOOR,
        old=_exports,
        at="requested_at",
        spare=_spare_exports,
        evidence=True,
    )
)
register_class(
    DataClass(
        key="compliance.indicators",
        name="Points of risk indicators",
        says="What an indicator measured on a day.",
        default=timedelta(days=800),
        floor=EVIDENCE_FLOOR,
        old=lambda before: IndicatorPoint.objects.filter(day__lt=before.date()),
        spare=lambda rows, _: rows,
        evidence=True,
    )
)

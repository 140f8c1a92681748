"""What the room keeps, and for how long. Tallies have their own horizon: see the settings of an SLO."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from core.lifecycle import DataClass, Held, register_class, without
from reliability.models import Exemplar


def _old(before: datetime) -> QuerySet[Exemplar]:
    return Exemplar.objects.filter(minute__lt=int(before.timestamp()) // 60)


def _spare(rows: QuerySet[Exemplar], held: Held) -> QuerySet[Exemplar]:
    if held.incidents or held.engagements:
        return rows.none()
    return without(rows, held.services, service="version__slo__service__slug")


register_class(
    DataClass(
        key="reliability.exemplars",
        name="Exemplars",
        says="Traces of bad events, up to five for each SLO and minute.",
        default=timedelta(days=30),
        floor=timedelta(days=1),
        old=_old,
        spare=_spare,
    )
)

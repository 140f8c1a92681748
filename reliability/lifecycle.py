"""What the room keeps, and for how long."""

from datetime import datetime, timedelta

from django.db.models import QuerySet

from core.lifecycle import DataClass, Held, register_class, register_subject_lookup, without
from reliability.models import SLO, Exemplar
from reliability.services.outliving import MINUTES_CLASS


def _old(before: datetime) -> QuerySet[Exemplar]:
    return Exemplar.objects.filter(minute__lt=int(before.timestamp()) // 60)


def _spare(rows: QuerySet[Exemplar], held: Held) -> QuerySet[Exemplar]:
    if held.incidents or held.engagements:
        return rows.none()
    return without(rows, held.services, service="version__slo__service__slug")


def _subjects(held: Held) -> list[str]:
    """Return the SLOs of held services."""
    found = SLO.objects.filter(service__slug__in=held.services) if held.services else SLO.objects.none()
    return [f"slo:{slug}" for slug in found.values_list("slug", flat=True)]


register_subject_lookup(_subjects)
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

register_class(MINUTES_CLASS)

"""Bodies of inbound events whose events are gone: on PostgreSQL they go by month."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from core.clock import database_now
from core.lifecycle import Dropped, Held
from core.partitions import OwnedTable, drop_part, is_partitioned, outlived, parts, register_partitions
from incidents.models import InboundBody, InboundEvent
from ledger.data.custody import DataRemoved
from ledger.services import record

BODIES = register_partitions(
    OwnedTable(content=InboundBody, owner=InboundEvent, at="received_at", name="Inbound bodies")
)
INBOUND_CLASS = "incidents.inbound"
REMOVER = "system:retention"
# A rule that is shorter than this means what it says: bodies then go with their events and do not wait for their month.
WAITS_FOR_ITS_MONTH = timedelta(days=60)


@transaction.atomic
def remove_events(keys: Sequence[Any], *, keep: timedelta | None) -> int:
    """Remove stored events; their bodies too, unless these go with their month. Returns how many."""
    if keep is None or keep < WAITS_FOR_ITS_MONTH or not is_partitioned(BODIES.table):
        InboundBody.objects.filter(pk__in=list(keys)).delete()
    return InboundEvent.objects.filter(pk__in=list(keys)).delete()[1].get(InboundEvent._meta.label, 0)  # noqa: SLF001


@transaction.atomic
def drop_bodies(before: datetime, held: Held) -> Dropped | None:  # noqa: ARG001 its events are held, and keep it
    """Drop the months of bodies of which no event is left, and record each; None where there are no months.

    An event that a hold keeps, or that is not worked off, keeps its month. What went was counted with its events.
    """
    if not parts(BODIES):
        return None
    for part in outlived(BODIES, before=before):
        start, end = part.range
        if InboundEvent.objects.filter(pk__gte=start, pk__lt=end).exists():
            continue
        count = InboundBody.objects.filter(pk__gte=start, pk__lt=end).count()
        drop_part(BODIES, part)
        if count:
            _record(part.name, count, before)
    return Dropped()


def _record(part: str, count: int, before: datetime) -> None:
    record(
        DataRemoved(
            data_class=INBOUND_CLASS,
            count=count,
            keep_days=(database_now() - before).days,
            removed_before=before,
            oldest=None,
            newest=None,
            holds=[],
            complete=True,
            files=[part],
        ),
        actor=REMOVER,
        subject=f"data-class:{INBOUND_CLASS}",
    )

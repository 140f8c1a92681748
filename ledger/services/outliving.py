"""Payloads whose time is over: they go, by month where the database keeps them so, and the log says which went."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, Min, QuerySet

from core.lifecycle import Dropped, Held
from core.partitions import OwnedTable, drop_part, outlived, parts, register_partitions
from ledger.data.log import KeyRotated, PayloadErased, PayloadsOutlived
from ledger.domain.entries import outlived_subject
from ledger.models import EntryContent, LedgerEntry
from ledger.services.guarding import contents_may_go
from ledger.services.held import held_payloads
from ledger.services.recording import record

REMOVER = "system:retention"
# What happened to the log itself is never erased.
KEPT_TYPES = (KeyRotated.entry_type, PayloadErased.entry_type, PayloadsOutlived.entry_type)

PAYLOADS = register_partitions(
    OwnedTable(content=EntryContent, owner=LedgerEntry, at="recorded_at", name="Payloads of the ledger")
)


def old_payloads(before: datetime) -> QuerySet[EntryContent]:
    """Return the payloads that may go because their entries are older; where they go by month, of whole months only."""
    found = EntryContent.objects.filter(entry__recorded_at__lt=before, entry__seal__isnull=False)
    found = found.exclude(entry__entry_type__in=KEPT_TYPES)
    if not parts(PAYLOADS):
        return found
    ends = [part.range[1] for part in outlived(PAYLOADS, before=before)]
    return found.filter(pk__lt=max(ends)) if ends else found.none()


@transaction.atomic
def remove_payloads(keys: Sequence[Any]) -> int:
    """Remove payloads one by one and record which; for SQLite, where there are no months to drop."""
    going = EntryContent.objects.filter(pk__in=list(keys))
    facts = _facts(going)
    # The guard's other part, that nothing is changed, stays.
    with contents_may_go():
        EntryContent.objects.filter(pk__in=list(keys))._raw_delete(EntryContent.objects.db)  # noqa: SLF001 no cascade
    _record(facts, before=facts["newest"], part="")
    return int(facts["count"])


@transaction.atomic
def drop_payloads(before: datetime, held: Held) -> Dropped | None:
    """Drop the oldest month that is wholly older than an instant, but for what is held, and record it.

    None where there are no months.
    """
    if not parts(PAYLOADS):
        return None
    for part in outlived(PAYLOADS, before=before):
        start, end = part.range
        within = EntryContent.objects.filter(pk__gte=start, pk__lt=end)
        kept = list(within.filter(entry__entry_type__in=KEPT_TYPES).order_by().values_list("pk", flat=True))
        going = within.exclude(entry__entry_type__in=KEPT_TYPES)
        held_back: list[int] = []
        if held:
            held_back = list(held_payloads(going, held).order_by().values_list("pk", flat=True))
            going = going.exclude(pk__in=held_back)
            kept += held_back
        if LedgerEntry.objects.filter(pk__gte=start, pk__lt=end, seal__isnull=True).exists():
            continue
        facts = _facts(going)
        if not facts["count"]:
            if not kept:
                drop_part(PAYLOADS, part)
            continue
        drop_part(PAYLOADS, part, keep=kept)
        _record(facts, before=before, part=part.name, held=len(held_back))
        return Dropped(facts["count"], facts["oldest"], facts["newest"])
    return Dropped()


def _facts(going: QuerySet[EntryContent]) -> dict[str, Any]:
    return going.order_by().aggregate(
        count=Count("pk"),
        first=Min("entry__seal__seq"),
        last=Max("entry__seal__seq"),
        oldest=Min("entry__recorded_at"),
        newest=Max("entry__recorded_at"),
    )


def _record(facts: dict[str, Any], *, before: datetime, part: str, held: int = 0) -> None:
    record(
        PayloadsOutlived(
            count=facts["count"],
            first_seq=facts["first"],
            last_seq=facts["last"],
            oldest=facts["oldest"],
            newest=facts["newest"],
            outlived_before=before,
            part=part,
            held=held,
        ),
        actor=REMOVER,
        subject=outlived_subject(facts["first"], facts["last"]),
    )

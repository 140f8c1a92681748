"""Order what has committed, chain it, and grow the tree."""

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ledger.domain.entries import EntryFacts, entry_leaf
from ledger.domain.tree import append_leaves
from ledger.models import LedgerEntry, LogHead, PendingEntry, Seal, TreeNode

BATCH = 2_000
FACT_FIELDS = EntryFacts._fields


def log_origin() -> str:
    """Return the log's name: fixed by its first entry, before that the name the settings would give it."""
    named = LogHead.objects.filter(pk=1).values_list("origin", flat=True).first()
    return named or str(settings.LEDGER_ORIGIN)


def facts_of(entry: LedgerEntry) -> EntryFacts:
    """Return what an entry's hash covers."""
    return EntryFacts._make(getattr(entry, name) for name in FACT_FIELDS)


def seal_pending(*, limit: int = 1_000_000) -> int:
    """Seal committed entries that have no place in the log yet, and return how many.

    It looks for unsealed rows, never for ids above a mark: a transaction that commits late with a small id would be
    missed. Any number of sealers may run; they take turns on the head's row.
    """
    sealed = 0
    while sealed < limit:
        batch = _seal_batch()
        sealed += batch
        if batch < BATCH:
            break
    return sealed


def _seal_batch() -> int:
    if not PendingEntry.objects.exists():
        return 0
    LogHead.objects.get_or_create(pk=1, defaults={"origin": str(settings.LEDGER_ORIGIN)})
    with transaction.atomic():
        # A statement of its own: the rows below must be read after the lock is held, or two sealers seal one entry.
        head = LogHead.objects.select_for_update().get(pk=1)
        keys = list(PendingEntry.objects.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if not keys:
            return 0
        now = timezone.now()
        previous = bytes(head.last_leaf_hash)
        seals = []
        for offset, entry in enumerate(LedgerEntry.objects.filter(pk__in=keys).order_by("pk")):
            seq = head.size + offset
            previous = entry_leaf(facts_of(entry), origin=head.origin, seq=seq, previous=previous)
            seals.append(Seal(entry=entry, seq=seq, leaf_hash=previous, sealed_at=now))
        frontier, completed = append_leaves(
            [bytes.fromhex(text) for text in head.frontier], head.size, [bytes(seal.leaf_hash) for seal in seals]
        )
        Seal.objects.bulk_create(seals, batch_size=500)
        TreeNode.objects.bulk_create(
            [TreeNode(position=(index << 6) | level, hash=value) for (level, index), value in completed], batch_size=500
        )
        PendingEntry.objects.filter(pk__in=keys)._raw_delete(PendingEntry.objects.db)  # noqa: SLF001 nothing cascades
        head.size += len(seals)
        head.last_leaf_hash = previous
        head.frontier = [value.hex() for value in frontier]
        head.save(update_fields=("size", "last_leaf_hash", "frontier"))
    return len(seals)

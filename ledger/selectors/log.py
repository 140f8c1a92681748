"""Reads of the log."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet, Sum

from ledger.data import EvidenceType, payload_schemas
from ledger.data.reading import SealedEntry
from ledger.models import (
    Anchor,
    AnchorReceipt,
    Artifact,
    Checkpoint,
    Forwarder,
    KeyRotation,
    LedgerEntry,
    LogHead,
    LogVerification,
    PendingEntry,
    Seal,
)

# An entry of a long transaction is sealed after later ones; sorted by place, times are out of order by less than this.
LATE = timedelta(days=2)
MOST_UNSEALED = 10_000
_SEALED = (
    "pk",
    "seal__seq",
    "entry_type",
    "occurred_at",
    "actor",
    "subject",
    "payload_sha256",
    "content__nonce",
    "content__body",
    "content__erased_at",
)


def entries(
    *,
    types: Iterable[str] = (),
    evidence_types: Iterable[EvidenceType] = (),
    subjects: Iterable[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[LedgerEntry]:
    """Return entries with their content and seal, newest first; a bound left out does not filter.

    `since` and `until` bound `occurred_at`, `until` exclusively.
    """
    found = LedgerEntry.objects.select_related("content", "seal")
    if types := list(types):
        found = found.filter(entry_type__in=types)
    if evidence := list(evidence_types):
        found = found.filter(evidence_type__in=[str(kind) for kind in evidence])
    if subjects := list(subjects):
        found = found.filter(subject__in=subjects)
    if since is not None:
        found = found.filter(occurred_at__gte=since)
    if until is not None:
        found = found.filter(occurred_at__lt=until)
    return found


def sealed_entries(start: int, end: int, *, types: Iterable[str] = ()) -> list[SealedEntry]:
    """Return the entries from place `start` to `end` (exclusive) in order, of some kinds or of all, in one query."""
    found = LedgerEntry.objects.filter(seal__seq__gte=start, seal__seq__lt=end)
    if types := list(types):
        found = found.filter(entry_type__in=types)
    return [SealedEntry._make(row) for row in found.order_by("seal__seq").values_list(*_SEALED)]


def sealed_of(types: Iterable[str], since: datetime, until: datetime, *, before: int) -> Iterator[SealedEntry]:
    """Yield the entries of some kinds that happened between two instants, of those before a place, in its order."""
    found = LedgerEntry.objects.filter(
        entry_type__in=list(types), occurred_at__gte=since, occurred_at__lt=until, seal__seq__lt=before
    )
    for row in found.order_by("seal__seq").values_list(*_SEALED).iterator(chunk_size=500):
        yield SealedEntry._make(row)


def seq_at(moment: datetime) -> int:
    """Return a place before which no entry was recorded at `moment` or later; found by halving, in a few queries."""
    low, high = 0, log_size()
    while low < high:
        middle = (low + high) // 2
        recorded_at = Seal.objects.filter(seq=middle).values_list("entry__recorded_at", flat=True).first()
        if recorded_at is not None and recorded_at < moment - LATE:
            low = middle + 1
        else:
            high = middle
    return low


def entry_by_seq(seq: int) -> LedgerEntry | None:
    """Return the entry at a place in the log."""
    return LedgerEntry.objects.select_related("content", "seal").filter(seal__seq=seq).first()


def log_size() -> int:
    """Return how many entries are sealed."""
    head = LogHead.objects.filter(pk=1).first()
    return head.size if head else 0


def latest_checkpoint() -> Checkpoint | None:
    """Return the newest checkpoint."""
    return Checkpoint.objects.first()


def checkpoints() -> QuerySet[Checkpoint]:
    """Return the signed checkpoints, newest first."""
    return Checkpoint.objects.all()


def anchors() -> QuerySet[Anchor]:
    """Return the places that are told checkpoints."""
    return Anchor.objects.prefetch_related("receipts")


def receipts() -> QuerySet[AnchorReceipt]:
    """Return what anchors answered, newest first."""
    return AnchorReceipt.objects.select_related("anchor", "checkpoint")


def rotations() -> QuerySet[KeyRotation]:
    """Return the hand-overs from one key to the next, in order."""
    return KeyRotation.objects.all()


def unsealed_entries() -> list[LedgerEntry]:
    """Return the oldest entries that wait for their place in the log; there are seldom more than a few."""
    keys = list(PendingEntry.objects.order_by("pk").values_list("pk", flat=True)[:MOST_UNSEALED])
    return list(entries().filter(pk__in=keys)) if keys else []


def pending_count() -> int:
    """Return how many entries wait for their place in the log."""
    return PendingEntry.objects.count()


def latest_verification() -> LogVerification | None:
    """Return the newest verification that somebody asked for, ended or not."""
    return LogVerification.objects.first()


def entry_types() -> list[str]:
    """Return the types of entry that this site knows, in order."""
    return sorted({entry_type for entry_type, _ in payload_schemas()})


def artifacts_of(entry: LedgerEntry) -> QuerySet[Artifact]:
    """Return the files an entry refers to."""
    return Artifact.objects.filter(sha256__in=entry.artifacts)


def forwarders() -> QuerySet[Forwarder]:
    """Return the destinations that are told every entry."""
    return Forwarder.objects.all()


@dataclass(frozen=True)
class ForwardingStanding:
    """How many destinations are told the log, how many of them fail, and how far the furthest is behind."""

    destinations: int
    failing: int
    waiting: int
    behind: timedelta


def forwarding_standing(*, now: datetime) -> ForwardingStanding:
    """Return how forwarding stands, over all destinations."""
    rows = list(forwarders())
    size = log_size() if rows else 0
    late = [sealed_at(row.next_seq) for row in rows if row.next_seq < size]
    return ForwardingStanding(
        destinations=len(rows),
        failing=sum(row.status == "failing" for row in rows),
        waiting=max((size - row.next_seq for row in rows), default=0),
        behind=max((now - at for at in late if at), default=timedelta(0)),
    )


def sealed_at(seq: int) -> datetime | None:
    """Return when the entry at a place was sealed, or None while there is none."""
    return Seal.objects.filter(seq=seq).values_list("sealed_at", flat=True).first()


def oldest_pending() -> datetime | None:
    """Return when the entry was recorded that has waited longest for its place, or None when none waits."""
    oldest = PendingEntry.objects.order_by("pk").select_related("entry").first()
    return oldest.entry.recorded_at if oldest else None


def artifact_totals() -> tuple[int, int]:
    """Return how many files there are, and their bytes."""
    found = Artifact.objects.aggregate(count=Count("pk"), size=Sum("size"))
    return int(found["count"]), int(found["size"] or 0)

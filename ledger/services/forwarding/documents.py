"""An entry as destinations are told it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from ledger.domain.entries import instant_text
from ledger.models import LedgerEntry, Seal

LARGEST_BATCH = 500
LARGEST_BYTES = 1_000_000
# Receivers of syslog should take 8 KiB (RFC 5425, 4.3.1); the usual ones take 64 KiB.
LARGEST_ENTRY = 60_000


@dataclass(frozen=True)
class Told:
    """One entry, ready to be told: its place, its fields, and the same as JSON."""

    seq: int
    entry: LedgerEntry
    document: dict[str, Any]
    body: bytes


def next_batch(seq: int, *, origin: str) -> list[Told]:
    """Return the entries from a place on, in order: at most 500 of them and about a megabyte."""
    batch: list[Told] = []
    size = 0
    seals = Seal.objects.select_related("entry__content").filter(seq__gte=seq).order_by("seq")
    for seal in seals[:LARGEST_BATCH]:
        told = _told(seal, origin)
        size += len(told.body)
        if batch and size > LARGEST_BYTES:
            break
        batch.append(told)
    return batch


def bounds(batch: Sequence[Told]) -> str:
    """Return the first and the last place of a batch."""
    return f"{batch[0].seq}-{batch[-1].seq}"


def _told(seal: Seal, origin: str) -> Told:
    entry = seal.entry
    document: dict[str, Any] = {
        "log": origin,
        "seq": seal.seq,
        "leaf_hash": bytes(seal.leaf_hash).hex(),
        "type": entry.entry_type,
        "version": entry.version,
        "evidence": entry.evidence_type,
        "actor": entry.actor,
        "subject": entry.subject,
        "occurred_at": instant_text(entry.occurred_at),
        "recorded_at": instant_text(entry.recorded_at),
        "payload_sha256": entry.payload_sha256,
        "payload": entry.payload,
    }
    if entry.content_gone:
        document["payload_left_out"] = entry.content_gone
    body = orjson.dumps(document)
    if len(body) > LARGEST_ENTRY:
        document |= {"payload": None, "payload_left_out": "too long; its hash stands for it"}
        body = orjson.dumps(document)
    return Told(seal.seq, entry, document, body)

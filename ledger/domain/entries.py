"""The bytes of an entry that its leaf hash covers. Changing anything here is a new format version."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ledger.domain.canonical import canonical_json
from ledger.domain.tree import leaf_hash

FORMAT_VERSION = 1


@dataclass(frozen=True)
class EntryFacts:
    """What an entry's hash covers beside its place in the log."""

    entry_type: str
    version: int
    evidence_type: str
    actor: str
    subject: str
    recorded_at: datetime
    occurred_at: datetime
    period_start: datetime | None
    period_end: datetime | None
    payload_sha256: str
    artifacts: tuple[str, ...]


def instant_text(instant: datetime | None) -> str | None:
    """Return `2026-01-31T12:00:00.000000Z`."""
    return None if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def entry_document(facts: EntryFacts, *, origin: str, seq: int, previous: bytes) -> dict[str, Any]:
    """Return an entry as the document that is hashed; `previous` is the leaf hash of the entry before, or empty."""
    return {
        "v": FORMAT_VERSION,
        "log": origin,
        "seq": seq,
        "prev": previous.hex(),
        "type": facts.entry_type,
        "ver": facts.version,
        "evidence": facts.evidence_type,
        "actor": facts.actor,
        "subject": facts.subject,
        "recorded_at": instant_text(facts.recorded_at),
        "occurred_at": instant_text(facts.occurred_at),
        "period_start": instant_text(facts.period_start),
        "period_end": instant_text(facts.period_end),
        "payload_sha256": facts.payload_sha256,
        "artifacts": list(facts.artifacts),
    }


def entry_leaf(facts: EntryFacts, *, origin: str, seq: int, previous: bytes) -> bytes:
    """Return the leaf hash of an entry."""
    return leaf_hash(canonical_json(entry_document(facts, origin=origin, seq=seq, previous=previous)))

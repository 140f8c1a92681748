"""Record what happened, in the transaction of the change."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from django.db import connection, transaction
from django.utils import timezone

from ledger.data.base import LedgerPayload
from ledger.domain.canonical import canonical_json
from ledger.models import EntryContent, LedgerEntry, PendingEntry

SHA256 = re.compile(r"[0-9a-f]{64}")

# One statement on PostgreSQL: one round trip for each record, and no row of the three without the others.
_INSERT_TOGETHER = """
WITH entry AS (
    INSERT INTO ledger_ledgerentry (entry_type, version, evidence_type, actor, subject, recorded_at, occurred_at,
        period_start, period_end, payload_sha256, artifacts)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s::jsonb) RETURNING id
), waiting AS (INSERT INTO ledger_pendingentry (entry_id) SELECT id FROM entry)
INSERT INTO ledger_entrycontent (entry_id, nonce, body) SELECT id, %s, %s FROM entry RETURNING entry_id
"""
_INSERT_ENTRY = """
INSERT INTO ledger_ledgerentry (entry_type, version, evidence_type, actor, subject, recorded_at, occurred_at,
    period_start, period_end, payload_sha256, artifacts)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_INSERT_CONTENT = "INSERT INTO ledger_entrycontent (entry_id, nonce, body) VALUES (%s, %s, %s)"
_INSERT_PENDING = "INSERT INTO ledger_pendingentry (entry_id) VALUES (%s)"


@dataclass(frozen=True)
class Record:
    """An entry to write: the arguments of `record`."""

    payload: LedgerPayload
    actor: str
    subject: str
    occurred_at: datetime | None = None
    period: tuple[datetime, datetime] | None = None
    artifacts: Sequence[str] = ()


def record(
    payload: LedgerPayload,
    *,
    actor: str,
    subject: str,
    occurred_at: datetime | None = None,
    period: tuple[datetime, datetime] | None = None,
    artifacts: Sequence[str] = (),
) -> LedgerEntry:
    """Write an entry. It is sealed into the log within seconds of the commit, and gone if the caller rolls back.

    `actor` is a principal's reference (`user:12`, `system:escalation`), `subject` what it is about
    (`incident:INC-3`), `period` the window the evidence speaks of, `artifacts` hashes from `store_artifact`. Raises
    NotCanonicalError when the payload holds what an entry cannot, ValueError when a text is too long, holds a NUL, or
    an instant has no zone.
    """
    (entry,) = record_many([Record(payload, actor, subject, occurred_at, period, artifacts)])
    return entry


def record_many(records: Sequence[Record]) -> list[LedgerEntry]:
    """Write entries in this order, in a few statements for all; raises as `record` does, and then writes none."""
    entries = [_entry(one) for one in records]
    if len(entries) == 1:
        (entry,) = entries
        entry.pk = _insert(entry, bytes(entry.content.nonce), bytes(entry.content.body))
        entry._state.adding = False  # noqa: SLF001 what Django itself sets after an insert
        entry.content.entry = entry
        return entries
    with transaction.atomic():
        LedgerEntry.objects.bulk_create(entries)
        for entry in entries:
            entry.content.entry = entry
        EntryContent.objects.bulk_create([entry.content for entry in entries])
        PendingEntry.objects.bulk_create([PendingEntry(entry=entry) for entry in entries])
    return entries


def _entry(one: Record) -> LedgerEntry:
    """Return an entry with its content, not written yet."""
    if unknown := [digest for digest in one.artifacts if not SHA256.fullmatch(digest)]:
        raise ValueError(f"not a SHA-256 in lower-case hex: {unknown[0]!r}")
    payload = one.payload
    body = canonical_json(payload.model_dump(mode="json"))
    nonce = secrets.token_bytes(32)
    now = timezone.now()
    entry = LedgerEntry(
        entry_type=payload.entry_type,
        version=payload.version,
        evidence_type=payload.evidence_type or "",
        actor=one.actor,
        subject=one.subject,
        recorded_at=now,
        occurred_at=one.occurred_at or now,
        period_start=one.period[0] if one.period else None,
        period_end=one.period[1] if one.period else None,
        payload_sha256=hashlib.sha256(nonce + body).hexdigest(),
        artifacts=list(one.artifacts),
    )
    _ensure_recordable(entry)
    entry.content = EntryContent(entry=entry, nonce=nonce, body=body)
    return entry


def _ensure_recordable(entry: LedgerEntry) -> None:
    for name, longest in (("actor", 120), ("subject", 200)):
        text: str = getattr(entry, name)
        if not text or len(text) > longest or "\x00" in text:
            raise ValueError(f"{name}: {text[:40]!r}; allowed is text of 1 to {longest} characters without NUL")
    canonical_json([entry.actor, entry.subject])
    for name in ("occurred_at", "period_start", "period_end"):
        instant: datetime | None = getattr(entry, name)
        if instant is not None and instant.tzinfo is None:
            raise ValueError(f"{name}: {instant} has no zone; allowed is an aware datetime")


def _insert(entry: LedgerEntry, nonce: bytes, body: bytes) -> int:
    adapt = connection.ops.adapt_datetimefield_value
    values = (
        entry.entry_type,
        entry.version,
        str(entry.evidence_type),
        entry.actor,
        entry.subject,
        adapt(entry.recorded_at),
        adapt(entry.occurred_at),
        adapt(entry.period_start),
        adapt(entry.period_end),
        entry.payload_sha256,
        orjson.dumps(entry.artifacts).decode(),
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(_INSERT_TOGETHER, (*values, nonce, body))
            return int(cursor.fetchone()[0])
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_INSERT_ENTRY, values)
        key = int(cursor.lastrowid)
        cursor.execute(_INSERT_CONTENT, (key, nonce, body))
        cursor.execute(_INSERT_PENDING, (key,))
        return key

"""Record what happened, in the transaction of the change."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from ledger.data.base import LedgerPayload
from ledger.domain.canonical import canonical_json
from ledger.models import EntryContent, LedgerEntry

SHA256 = re.compile(r"[0-9a-f]{64}")


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
    NotCanonicalError when the payload holds what an entry cannot.
    """
    if unknown := [digest for digest in artifacts if not SHA256.fullmatch(digest)]:
        raise ValueError(f"not a SHA-256 in lower-case hex: {unknown[0]!r}")
    value = payload.model_dump(mode="json")
    body = canonical_json(value)
    nonce = secrets.token_bytes(32)
    now = timezone.now()
    with transaction.atomic():
        entry = LedgerEntry(
            entry_type=payload.entry_type,
            version=payload.version,
            evidence_type=payload.evidence_type or "",
            actor=actor,
            subject=subject,
            recorded_at=now,
            occurred_at=occurred_at or now,
            period_start=period[0] if period else None,
            period_end=period[1] if period else None,
            payload_sha256=hashlib.sha256(nonce + body).hexdigest(),
            artifacts=list(artifacts),
        )
        entry.save(force_insert=True)
        EntryContent(entry=entry, nonce=nonce, body=body, value=value).save(force_insert=True)
    return entry

"""The ledger entries behind a control, and the proof of each in words."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from compliance.data import Cadence, Window
from compliance.models import Control, Occurrence
from ledger.data import EVIDENCE_NAMES, EvidenceType
from ledger.selectors import entries


@dataclass(frozen=True)
class EvidenceLine:
    """One entry that a control rests on."""

    pk: int
    seq: int | None
    what: str
    entry_type: str
    subject: str
    occurred_at: datetime
    actor: str
    sound: bool
    gone: str = ""

    @property
    def mark(self) -> str:
        """Whether the entry verifies."""
        if not self.sound:
            return "broken"
        return "unsealed" if self.seq is None else "verified"


def entry_keys(control: Control, *, window: Window) -> set[int]:
    """Return the keys of the entries that a control's occurrences in a window rest on."""
    rows = Occurrence.objects.filter(check_run__control=control, happened_at__gte=window.start)
    found = rows.filter(happened_at__lt=window.end).values_list("entries", flat=True)
    return {key for keys in found for key in keys}


def evidence_of(control: Control, *, window: Window, limit: int = 200) -> list[EvidenceLine]:
    """Return the entries that a control rests on, newest first."""
    rows = Occurrence.objects.filter(
        check_run__control=control, due_at__gte=window.start, happened_at__gte=window.start, happened_at__lt=window.end
    )
    newest = rows.order_by("-due_at").values_list("entries", flat=True)[:limit]
    keys = sorted({key for found in newest for key in found}, reverse=True)[:limit]
    return [_line(entry) for entry in entries().filter(pk__in=keys)]


def evidence_proof(control: Control, *, entry: int) -> tuple[EvidenceLine, dict[str, Any] | None, Sequence[str]] | None:
    """Return an entry of the control with its content and its proof in words; None when it is not the control's."""
    if not _rests_on(control, entry):
        return None
    row = entries().filter(pk=entry).first()
    if row is None:
        return None
    line = _line(row)
    words = [
        f"The content was {line.gone}; its salted SHA-256 in the entry proves only that there was one."
        if line.gone
        else "The content is the one that was recorded: its salted SHA-256 equals the one in the entry."
        if line.sound
        else "The content is NOT the one that was recorded: its salted SHA-256 differs from the one in the entry.",
        f"The entry is number {line.seq} of the log, and every later entry depends on it."
        if line.seq is not None
        else "The entry waits to be sealed into the log; that takes a few seconds.",
        "An evidence pack carries the inclusion proof, and its verify.py checks it without this site.",
    ]
    return line, row.payload, words


def _rests_on(control: Control, entry: int) -> bool:
    rows = Occurrence.objects.filter(check_run__control=control)
    if rows.filter(key=f"entry:{entry}").exists():
        return True
    scheduled = rows.exclude(check_run__cadence=Cadence.EVENT).values_list("entries", flat=True)
    return any(entry in keys for keys in scheduled)


def _line(entry: Any) -> EvidenceLine:
    content = entry.kept_content
    digest = "" if content is None else hashlib.sha256(bytes(content.nonce) + bytes(content.body)).hexdigest()
    kind = entry.evidence_type
    return EvidenceLine(
        entry.pk,
        entry.seq,
        EVIDENCE_NAMES[EvidenceType(kind)] if kind else entry.entry_type.replace(".", " ").replace("_", " "),
        entry.entry_type,
        entry.subject,
        entry.occurred_at,
        entry.actor,
        content is None or digest == entry.payload_sha256,
        entry.content_gone,
    )

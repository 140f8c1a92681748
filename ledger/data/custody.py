"""The life of data: what was removed because its time was over, and whose data was erased."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class DataRemoved(LedgerPayload):
    """Rows of a class of data were removed because they were older than the rule says."""

    entry_type: ClassVar[str] = "data.removed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    data_class: str
    count: int
    keep_days: int
    removed_before: datetime
    oldest: datetime | None
    newest: datetime | None
    holds: list[str]
    complete: bool
    files: list[str] = []


class PersonErased(LedgerPayload):
    """A person's data was erased as far as it may be; `erased` and `kept` count rows by kind of data."""

    entry_type: ClassVar[str] = "person.erased"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    user_id: int
    erased: dict[str, int]
    kept: dict[str, int]
    payloads_erased: int
    payloads_kept: int
    kept_until: datetime | None
    reason: str

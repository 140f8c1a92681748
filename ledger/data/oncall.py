"""On-call schedules."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class ScheduleDeclared(LedgerPayload):
    """A version of an on-call schedule took effect."""

    entry_type: ClassVar[str] = "oncall.schedule_declared"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.ONC
    schedule: str
    schedule_version: int
    effective_from: datetime
    definition_sha256: str


class OnCallCovered(LedgerPayload):
    """How much of a window had somebody on call, in seconds."""

    entry_type: ClassVar[str] = "oncall.covered"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.ONC
    schedule: str
    window_start: datetime
    window_end: datetime
    covered_seconds: int
    window_seconds: int
    gaps: int

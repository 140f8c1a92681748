"""Recovery tests."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class RecoveryTestFinished(LedgerPayload):
    """A recovery test has ended: what was promised and what was measured, in milliseconds.

    `resolution_milliseconds` is the error bar of the measurement; None means that it was not measured.
    """

    entry_type: ClassVar[str] = "recovery.test_finished"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.DRT
    test: str
    kind: str
    service: str
    scope: str
    rto_milliseconds: int | None = None
    rpo_milliseconds: int | None = None
    recovery_time_actual_milliseconds: int | None = None
    recovery_point_actual_milliseconds: int | None = None
    resolution_milliseconds: int | None = None
    data_check: str
    data_check_passed: bool
    outcome: str
    witness: str
    started_at: datetime
    finished_at: datetime

"""Access: reviews of rights, and every change that somebody makes."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class AuditedAction(LedgerPayload):
    """Somebody changed something, or tried to sign in. `before` and `after` hold no secrets."""

    entry_type: ClassVar[str] = "audit.action"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    action: str
    target: str
    outcome: str = "done"
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    reason: str = ""
    address: str = ""


class AccessReviewed(LedgerPayload):
    """A review of who has access to a system has ended."""

    entry_type: ClassVar[str] = "access.reviewed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.ACR
    campaign: str
    system: str
    accounts_in_source: int
    accounts_reviewed: int
    kept: int
    revoked: int
    revocations_done: int
    reviewer: str
    self_reviewed: int
    finished_at: datetime

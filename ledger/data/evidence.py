"""Evidence that people or outside collectors hand in, for what operations do not record by themselves."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import LedgerPayload


class EvidenceSubmitted(LedgerPayload):
    """Evidence was handed in. It counts once somebody else has accepted it."""

    entry_type: ClassVar[str] = "evidence.submitted"
    evidence: str
    control: str
    kind: str
    title: str
    stands_for: str
    period_start: datetime
    period_end: datetime
    observed_at: datetime
    collected_at: datetime
    received_at: datetime
    source: str
    collector: str
    query: str
    sensitivity: str
    sha256: str
    supersedes: str = ""
    external_id: str = ""


class EvidenceAccepted(LedgerPayload):
    """Somebody other than who handed it in has looked at evidence and accepts it."""

    entry_type: ClassVar[str] = "evidence.accepted"
    evidence: str
    control: str
    kind: str
    title: str
    submitted_by: str
    period_start: datetime
    period_end: datetime
    observed_at: datetime
    expires_at: datetime | None = None
    sha256: str
    supersedes: str = ""


class EvidenceRefused(LedgerPayload):
    """Evidence was turned down by a reviewer, or put aside unread because it cannot be right."""

    entry_type: ClassVar[str] = "evidence.refused"
    evidence: str
    control: str
    title: str
    reason: str
    by_rule: bool

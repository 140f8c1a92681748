"""Alerts: what came in and what was done with it."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class AlertHandled(LedgerPayload):
    """An alert has reached its end: acknowledged, closed as noise, or resolved by itself."""

    entry_type: ClassVar[str] = "alert.handled"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.ALR
    alert: str
    fingerprint: str
    rule: str
    source: str
    service: str
    severity: str
    routed_to: str
    decision: str
    incident: str
    fired_at: datetime
    first_notified_at: datetime | None = None
    acknowledged_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_as: str = ""

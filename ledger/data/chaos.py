"""Chaos experiments."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ledger.data.base import EvidenceType, LedgerPayload


class ChaosPlanApproved(LedgerPayload):
    """A plan was approved by somebody other than its author."""

    entry_type: ClassVar[str] = "chaos.plan_approved"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHS
    experiment: str
    plan_sha256: str
    author: str
    approved_at: datetime
    expires_at: datetime


class GuardAnswer(BaseModel):
    """One guard's answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    guard: str
    allowed: bool
    reason: str


class ChaosRunFinished(LedgerPayload):
    """A run has ended and its faults are undone, or are known not to be (`dirty`)."""

    entry_type: ClassVar[str] = "chaos.run_finished"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHS
    run: str
    experiment: str
    plan_sha256: str
    environment: str
    services: list[str]
    hypothesis: str
    targets: list[str]
    faults: list[str]
    verdict: str
    reason: str
    steady_before: bool | None = None
    steady_after: bool | None = None
    guards: list[GuardAnswer]
    started_at: datetime
    finished_at: datetime
    undone_at: datetime | None = None
    follow_ups: list[str] = []

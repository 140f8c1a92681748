"""Risks, their acceptance, and the indicators that warn early."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ledger.data.base import EvidenceType, LedgerPayload


class RiskAssessed(LedgerPayload):
    """A risk was assessed. Scores are likelihood times impact on the organization's own scale."""

    entry_type: ClassVar[str] = "risk.assessed"
    version: ClassVar[int] = 2
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.RSK
    risk: str
    title: str
    category: str
    owner: str
    inherent_likelihood: int
    inherent_impact: int
    inherent_score: int
    residual_likelihood: int
    residual_impact: int
    residual_score: int
    treatment: str
    plan: str = ""
    due_on: str = ""
    accepted_until: str = ""
    controls: list[str] = []
    services: list[str] = []


class RiskAccepted(LedgerPayload):
    """Somebody with the right to has accepted a residual risk until a day."""

    entry_type: ClassVar[str] = "risk.accepted"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.RSK
    risk: str
    residual_score: int
    accepted_by: str
    accepted_until: str
    reason: str


class IndicatorReading(BaseModel):
    """One indicator's value: decimal text, empty when it is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    indicator: str
    risk: str
    value: str
    state: str


class IndicatorsEvaluated(LedgerPayload):
    """The key risk indicators were computed."""

    entry_type: ClassVar[str] = "risk.indicators_evaluated"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.RSK
    evaluated_at: datetime
    readings: list[IndicatorReading]
    warning: int
    breached: int
    unknown: int

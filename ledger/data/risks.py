"""Risks."""

from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class RiskAssessed(LedgerPayload):
    """A risk was assessed. Scores are likelihood times impact on the organization's own scale."""

    entry_type: ClassVar[str] = "risk.assessed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.RSK
    risk: str
    title: str
    owner: str
    inherent_score: int
    residual_score: int
    treatment: str
    accepted_until: str = ""
    controls: list[str] = []

"""Changes and deployments."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class DeploymentRecorded(LedgerPayload):
    """A change reached an environment."""

    entry_type: ClassVar[str] = "change.deployed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHG
    deployment: str
    service: str
    environment: str
    commit: str
    ticket: str
    author: str
    approver: str
    emergency: bool
    tests_passed: bool | None = None
    result: str
    committed_at: datetime | None = None
    started_at: datetime
    finished_at: datetime | None = None


class ChangeMerged(LedgerPayload):
    """A pull or merge request was merged, with who wrote and who approved it, as the forge says."""

    entry_type: ClassVar[str] = "change.merged"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.CHG
    forge: str
    repository: str
    change: str
    title: str
    author: str
    approvers: list[str]
    approved_by_another: bool
    checks_passed: bool | None = None
    commit: str
    merged_by: str
    merged_at: datetime
    url: str

"""Infrastructure-as-code scans."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ledger.data.base import EvidenceType, LedgerPayload


class ScanSkip(BaseModel):
    """A check that the code asks to skip, with its reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: str
    resource: str
    reason: str


class InfrastructureScanned(LedgerPayload):
    """A scan has run. It counts only when `valid`: all of it was parsed and every root was seen."""

    entry_type: ClassVar[str] = "iac.scanned"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.IAC
    root: str
    tool: str
    tool_version: str
    commit: str
    resources: int
    passed: int
    failed: int
    parsing_errors: int
    skipped: list[ScanSkip]
    failed_checks: list[str]
    valid: bool
    reason: str
    scanned_at: datetime
    report_sha256: str

"""Scans: infrastructure as code, and what other scanners and testers reported."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ledger.data.base import EvidenceType, LedgerPayload


class ScanSkip(BaseModel):
    """A check that the code asks to skip, with its reason; `excused_by` names the approved exception, if any."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    check: str
    resource: str
    reason: str
    excused_by: str = ""


class CategoryCount(BaseModel):
    """What the checks of one category came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    passed: int = 0
    failed: int = 0
    unexcused_skips: int = 0


class InfrastructureScanned(LedgerPayload):
    """A scan has run. It counts only when `valid`: all of it was parsed and every root was seen.

    `categories` counts by what a check is about (`ENCRYPTION`, `IAM`); a check that no table knows is `OTHER`.
    """

    entry_type: ClassVar[str] = "iac.scanned"
    version: ClassVar[int] = 2
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.IAC
    root: str
    source: str
    tool: str
    tool_version: str
    policy_sha256: str
    commit: str
    resources: int
    passed: int
    failed: int
    parsing_errors: int
    skipped: list[ScanSkip]
    unexcused_skips: int
    failed_checks: list[str]
    categories: dict[str, CategoryCount]
    valid: bool
    reason: str
    scanned_at: datetime
    report_sha256: str


class FindingsImportedFirst(LedgerPayload):
    """As the first release recorded it: a scanner's report and a penetration test cannot be told apart."""

    entry_type: ClassVar[str] = "scan.findings_imported"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.IAC
    report: str
    tool: str
    tool_version: str
    scope: str
    new: int
    known: int
    gone: int
    open_by_severity: dict[str, int]
    scanned_at: datetime
    report_sha256: str


class FindingsImported(LedgerPayload):
    """A report of another scanner, or of a penetration test, was taken in.

    `report_kind` is `sarif` or `penetration-test`; `scope` is what was looked at, in the words of who handed it in.
    """

    entry_type: ClassVar[str] = "scan.findings_imported"
    version: ClassVar[int] = 2
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.IAC
    report_kind: str
    report: str
    tool: str
    tool_version: str
    scope: str
    new: int
    known: int
    gone: int
    open_by_severity: dict[str, int]
    scanned_at: datetime
    report_sha256: str

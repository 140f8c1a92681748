"""Vendors."""

from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class VendorReviewed(LedgerPayload):
    """A vendor's assurance was read. Dates are ISO 8601 days."""

    entry_type: ClassVar[str] = "vendor.reviewed"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.VND
    vendor: str
    tier: str
    report: str
    report_period_start: str
    report_period_end: str
    exceptions_read: bool
    bridge_letter: bool
    subprocessors: list[str]
    conclusion: str

"""Incidents and their reviews."""

from datetime import datetime
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ledger.data.base import EvidenceType, LedgerPayload


class IncidentOpened(LedgerPayload):
    """An incident was declared."""

    entry_type: ClassVar[str] = "incident.opened"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.INC
    incident: str
    title: str
    severity: str
    services: list[str]
    detection_source: str
    detected_at: datetime
    caused_by: str = ""


class IncidentAcknowledged(LedgerPayload):
    """Somebody took an incident."""

    entry_type: ClassVar[str] = "incident.acknowledged"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.INC
    incident: str
    severity: str
    acknowledged_at: datetime
    first_notified_at: datetime | None = None


class SeverityDecided(LedgerPayload):
    """A severity was decided, by whom and why."""

    entry_type: ClassVar[str] = "incident.severity_decided"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.INC
    incident: str
    before: str
    after: str
    reason: str


class TimelineFact(BaseModel):
    """A line of an incident's timeline."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    at: datetime
    kind: str
    text: str


class IncidentResolved(LedgerPayload):
    """An incident has ended: its whole record."""

    entry_type: ClassVar[str] = "incident.resolved"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.INC
    incident: str
    title: str
    severity: str
    services: list[str]
    detection_source: str
    caused_by: str = ""
    impact_started_at: datetime | None = None
    detected_at: datetime
    declared_at: datetime
    first_notified_at: datetime | None = None
    acknowledged_at: datetime | None = None
    mitigated_at: datetime | None = None
    resolved_at: datetime
    resolution: str
    runbook_runs: list[str] = []
    timeline: list[TimelineFact] = []


class NoIncidentsAttested(LedgerPayload):
    """A month had no incidents, said by the site that was there to see them. Silence alone would not prove it."""

    entry_type: ClassVar[str] = "incident.none_attested"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.INC
    window_start: datetime
    window_end: datetime
    services: list[str]
    alerts_received: int
    sources_alive: list[str]
    sources_silent: list[str]


class ReviewApproved(LedgerPayload):
    """A post-incident review was approved by somebody other than its author."""

    entry_type: ClassVar[str] = "incident.review_approved"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.PIR
    incident: str
    severity: str
    author: str
    resolved_at: datetime
    approved_at: datetime
    contributing_factors: list[str]
    follow_ups: list[str]
    document_sha256: str

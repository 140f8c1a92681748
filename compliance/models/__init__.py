"""Frameworks as data, the organization's controls, what their checks found, and the audits that read it."""

from compliance.models.auditing import (
    AuditFinding,
    AuditorAccess,
    AuditRequest,
    Population,
    RequestMessage,
    Sample,
    SampleItem,
)
from compliance.models.audits import AuditorGrant, Engagement, PackExport
from compliance.models.collecting import (
    AccessCampaign,
    AccessEntry,
    ChangeRecord,
    ChangeSource,
    CollectorKey,
    ScorecardWaiver,
)
from compliance.models.controls import (
    Check,
    Control,
    ControlException,
    ControlRequirement,
    ControlVersion,
    Occurrence,
    OccurrenceDay,
)
from compliance.models.evidence import Evidence
from compliance.models.frameworks import Framework, FrameworkVersion, Requirement, RequirementText
from compliance.models.reading import EntryDay, LogReading, ScorecardMark
from compliance.models.registers import (
    Applicability,
    FindingReport,
    Policy,
    PolicyAcknowledgement,
    PolicyVersion,
    SecurityFinding,
    Vendor,
    VendorReport,
)
from compliance.models.risks import IndicatorPoint, Risk, RiskAcceptance, RiskIndicator, RiskMatrix
from compliance.models.scans import ScanRun

__all__ = [
    "AccessCampaign",
    "AccessEntry",
    "Applicability",
    "AuditFinding",
    "AuditRequest",
    "AuditorAccess",
    "AuditorGrant",
    "ChangeRecord",
    "ChangeSource",
    "Check",
    "CollectorKey",
    "Control",
    "ControlException",
    "ControlRequirement",
    "ControlVersion",
    "Engagement",
    "EntryDay",
    "Evidence",
    "FindingReport",
    "Framework",
    "FrameworkVersion",
    "IndicatorPoint",
    "LogReading",
    "Occurrence",
    "OccurrenceDay",
    "PackExport",
    "Policy",
    "PolicyAcknowledgement",
    "PolicyVersion",
    "Population",
    "RequestMessage",
    "Requirement",
    "RequirementText",
    "Risk",
    "RiskAcceptance",
    "RiskIndicator",
    "RiskMatrix",
    "Sample",
    "SampleItem",
    "ScanRun",
    "ScorecardMark",
    "ScorecardWaiver",
    "SecurityFinding",
    "Vendor",
    "VendorReport",
]

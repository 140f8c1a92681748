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

__all__ = [
    "AuditFinding",
    "AuditRequest",
    "AuditorAccess",
    "AuditorGrant",
    "Check",
    "Control",
    "ControlException",
    "ControlRequirement",
    "ControlVersion",
    "Engagement",
    "Evidence",
    "Framework",
    "FrameworkVersion",
    "Occurrence",
    "OccurrenceDay",
    "PackExport",
    "Population",
    "RequestMessage",
    "Requirement",
    "RequirementText",
    "Sample",
    "SampleItem",
]

"""Reads of compliance. Everything starts from `access_of`: what the viewer may see."""

from compliance.selectors.evidence import EvidenceLine, evidence_of, evidence_proof
from compliance.selectors.reading import (
    access_of,
    controls_matching,
    controls_visible,
    engagements_visible,
    exports_visible,
    frameworks_visible,
    requirements_of,
)
from compliance.selectors.standing import (
    coming_due,
    control_standings,
    months_before,
    requirement_standings,
    requirement_standings_over,
    window_to,
)

__all__ = [
    "EvidenceLine",
    "access_of",
    "coming_due",
    "control_standings",
    "controls_matching",
    "controls_visible",
    "engagements_visible",
    "evidence_of",
    "evidence_proof",
    "exports_visible",
    "frameworks_visible",
    "months_before",
    "requirement_standings",
    "requirement_standings_over",
    "requirements_of",
    "window_to",
]

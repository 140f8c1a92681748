"""Reads of compliance. Everything starts from `access_of`: what the viewer may see."""

from compliance.selectors.evidence import EvidenceLine, evidence_of, evidence_proof
from compliance.selectors.readiness import coming_due, served_requirements
from compliance.selectors.reading import (
    access_of,
    controls_matching,
    controls_visible,
    engagements_visible,
    exports_visible,
    frameworks_visible,
    open_requests,
    requirements_of,
)
from compliance.selectors.standing import (
    control_standings,
    controls_judged,
    months_before,
    requirement_standings,
    requirement_standings_over,
    window_to,
)
from compliance.selectors.submitted import evidence_visible, exceptions_visible, may_open_reviews

__all__ = [
    "EvidenceLine",
    "access_of",
    "coming_due",
    "control_standings",
    "controls_judged",
    "controls_matching",
    "controls_visible",
    "engagements_visible",
    "evidence_of",
    "evidence_proof",
    "evidence_visible",
    "exceptions_visible",
    "exports_visible",
    "frameworks_visible",
    "may_open_reviews",
    "months_before",
    "open_requests",
    "requirement_standings",
    "requirement_standings_over",
    "requirements_of",
    "served_requirements",
    "window_to",
]

"""Changes in compliance: load content, run checks, accept deviations, hold audits, export packs."""

from compliance.services.audits import create_engagement, grant_auditor, request_export, revoke_auditor, run_export
from compliance.services.checking import run_checks
from compliance.services.content import Loaded, apply_documents, load_packaged, load_packaged_if_changed
from compliance.services.evidence import Submission, accept_evidence, reject_evidence, submit_evidence
from compliance.services.exceptions import approve_exception, reject_exception, request_exception
from compliance.services.importing import import_oscal, load_overlay
from compliance.services.scanning import ScanResult, scan_archive, scan_git, scan_path

__all__ = [
    "Loaded",
    "ScanResult",
    "Submission",
    "accept_evidence",
    "apply_documents",
    "approve_exception",
    "create_engagement",
    "grant_auditor",
    "import_oscal",
    "load_overlay",
    "load_packaged",
    "load_packaged_if_changed",
    "reject_evidence",
    "reject_exception",
    "request_exception",
    "request_export",
    "revoke_auditor",
    "run_checks",
    "run_export",
    "scan_archive",
    "scan_git",
    "scan_path",
    "submit_evidence",
]

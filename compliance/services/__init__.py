"""Changes in compliance: load content, run checks, accept deviations, hold audits, export packs."""

from compliance.services.auditing import (
    answer_finding,
    ask_for,
    close_finding,
    draw_sample,
    freeze_population,
    judge_item,
    move_request,
    raise_finding,
)
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
    "answer_finding",
    "apply_documents",
    "approve_exception",
    "ask_for",
    "close_finding",
    "create_engagement",
    "draw_sample",
    "freeze_population",
    "grant_auditor",
    "import_oscal",
    "judge_item",
    "load_overlay",
    "load_packaged",
    "load_packaged_if_changed",
    "move_request",
    "raise_finding",
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

"""Scan infrastructure code with Checkov, in a process and an environment of its own.

Its exit code says nothing: a parse error, an empty and a missing folder all return 0. A scan is valid only when it
saw resources, parsed everything, and its output could be read.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.parsing import refuse
from ledger.data.scans import InfrastructureScanned, ScanSkip
from ledger.services import record, store_artifact

FRAMEWORKS = ("terraform", "kubernetes", "dockerfile", "github_actions")
TIMEOUT_SECONDS = 600
# What is kept of a finding. Checkov's own report repeats secrets that it finds.
KEPT = ("check_id", "check_name", "resource", "file_path", "file_line_range", "check_class")


@dataclass(frozen=True)
class ScanResult:
    """What a scan came to. Without `valid` it proves nothing, for the stated reason."""

    root: str
    tool_version: str
    resources: int
    passed: int
    failed: int
    parsing_errors: int
    skipped: tuple[ScanSkip, ...]
    failed_checks: tuple[str, ...]
    valid: bool
    reason: str
    report: bytes


def checkov_path() -> Path:
    """Return where the tool is expected."""
    return Path(settings.BASE_DIR) / ".venv-checkov" / "bin" / "checkov"


def scan_path(*, principal: Principal, path: Path, commit: str = "") -> ScanResult:
    """Scan a folder and record the result as evidence. Raises InputRefusedError when path or tool is missing."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    if not path.is_dir():
        raise refuse(str(path), found="no such folder", allowed="a folder with infrastructure code is allowed")
    tool = checkov_path()
    if not tool.is_file():
        raise refuse(
            str(tool), found="nothing: Checkov is not installed", allowed="install it with `make checkov`, then scan"
        )
    found = _scan(tool, path.resolve())
    digest = store_artifact(found.report, media_type="application/json", name="checkov-scrubbed.json")
    record(
        InfrastructureScanned(
            root=found.root,
            tool="checkov",
            tool_version=found.tool_version,
            commit=commit,
            resources=found.resources,
            passed=found.passed,
            failed=found.failed,
            parsing_errors=found.parsing_errors,
            skipped=list(found.skipped),
            failed_checks=list(found.failed_checks),
            valid=found.valid,
            reason=found.reason,
            scanned_at=database_now(),
            report_sha256=digest,
        ),
        actor=principal.reference,
        subject=f"iac:{path.name}"[:200],
        artifacts=(digest,),
    )
    return found


def _scan(tool: Path, root: Path) -> ScanResult:
    command = [str(tool), "-d", str(root), "--framework", *FRAMEWORKS, "-o", "json", "--soft-fail", "--skip-download"]
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/"), "LOG_LEVEL": "ERROR"}
    try:
        run = subprocess.run(  # noqa: S603 a fixed program with a path that was checked
            command, capture_output=True, timeout=TIMEOUT_SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return judge_report(None, root=str(root), trouble=f"the scan took longer than {TIMEOUT_SECONDS} s")
    try:
        report = orjson.loads(run.stdout)
    except orjson.JSONDecodeError:
        return judge_report(None, root=str(root), trouble="the tool's output could not be read")
    return judge_report(report, root=str(root))


def judge_report(report: Any, *, root: str, trouble: str = "") -> ScanResult:
    """Read a report in any of its three shapes; it is valid only when it proves that everything was looked at."""
    parts = [part for part in (report if isinstance(report, list) else [report]) if isinstance(part, Mapping)]
    summaries = [part.get("summary", part) for part in parts]
    passed, failed, errors, resources = (
        sum(_number(summary, name) for summary in summaries)
        for name in ("passed", "failed", "parsing_errors", "resource_count")
    )
    results = [part.get("results", {}) for part in parts]
    failures = [one for result in results for one in result.get("failed_checks", [])]
    skips = [one for result in results for one in result.get("skipped_checks", [])]
    reason = trouble
    if not reason and errors:
        reason = f"{errors} files could not be parsed"
    if not reason and not resources:
        reason = "no resource was found"
    kept = {
        "root": root,
        "passed": passed,
        "failed": failed,
        "parsing_errors": errors,
        "resources": resources,
        "failed_checks": [_scrubbed(one) for one in failures],
        "skipped_checks": [_scrubbed(one) for one in skips],
    }
    return ScanResult(
        root=root,
        tool_version=str(next((s.get("checkov_version") for s in summaries if s.get("checkov_version")), "")),
        resources=resources,
        passed=passed,
        failed=failed,
        parsing_errors=errors,
        skipped=tuple(_skip(one) for one in skips),
        failed_checks=tuple(_named(failures)),
        valid=not reason,
        reason=reason or "everything was parsed",
        report=orjson.dumps(kept, option=orjson.OPT_INDENT_2),
    )


def _number(summary: Mapping[str, Any], name: str) -> int:
    value = summary.get(name)
    return value if isinstance(value, int) else 0


def _scrubbed(finding: Mapping[str, Any]) -> dict[str, Any]:
    return {key: finding.get(key) for key in KEPT}


def _skip(finding: Mapping[str, Any]) -> ScanSkip:
    reason = (finding.get("check_result") or {}).get("suppress_comment") or ""
    return ScanSkip(
        check=str(finding.get("check_id", "")), resource=str(finding.get("resource", "")), reason=str(reason)
    )


def _named(findings: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({f"{one.get('check_id', '')} {one.get('resource', '')}".strip() for one in findings})

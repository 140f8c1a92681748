"""Scan infrastructure code with Checkov, in a process and an environment of its own.

A scan is valid only when it saw resources, parsed everything, and its output could be read. A skip in the code counts
as a deviation unless an approved exception covers it.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from django.conf import settings
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.domain.scans import JudgedReport, covered, judge_report
from compliance.domain.unpacking import UnpackRefusedError, unpack
from compliance.models import ControlException
from core.clock import database_now
from core.http import OutboundPolicy, OutboundRefusedError
from core.parsing import refuse
from core.uploads import scanner_objects
from ledger.data.scans import CategoryCount, InfrastructureScanned, ScanSkip
from ledger.services import record, store_artifact

FRAMEWORKS = ("terraform", "kubernetes", "dockerfile", "github_actions")
TIMEOUT_SECONDS = 600
CLONE_SECONDS = 120
CATEGORIES = Path(__file__).resolve().parent.parent / "data_files" / "checkov_categories.json"


@dataclass(frozen=True)
class ScanResult:
    """A judged scan of a place."""

    root: str
    source: str
    commit: str
    judged: JudgedReport
    entry: int = 0

    @property
    def valid(self) -> bool:
        """Say whether it proves anything."""
        return self.judged.valid

    @property
    def reason(self) -> str:
        """Why it does, or does not."""
        return self.judged.reason


def checkov_path() -> Path:
    """Return where the tool is expected."""
    return Path(settings.BASE_DIR) / ".venv-checkov" / "bin" / "checkov"


def scan_path(
    *, principal: Principal, path: Path, commit: str = "", source: str = "path", name: str = ""
) -> ScanResult:
    """Scan a folder and record the result as evidence, valid or not. Raises InputRefusedError without the tool."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    return look_at_path(actor=principal.reference, path=path, commit=commit, source=source, name=name)


def look_at_path(*, actor: str, path: Path, commit: str = "", source: str = "path", name: str = "") -> ScanResult:
    """Scan a folder for somebody whose right was checked when they asked; see `scan_path`."""
    tool = checkov_path()
    if not tool.is_file():
        raise refuse(
            str(tool), found="nothing: Checkov is not installed", allowed="install it with `make checkov`, then scan"
        )
    return _recorded(actor, ScanResult(name or str(path), source, commit, _scan(tool, path.resolve())))


def scan_git(*, principal: Principal, url: str, ref: str = "", allow: tuple[str, ...] = ()) -> ScanResult:
    """Scan a repository at `https://…`; what cannot be fetched is recorded as a scan that proves nothing."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    address_of_repository(url=url, ref=ref, allow=allow)
    return look_at_git(actor=principal.reference, url=url, ref=ref, allow=allow)


def address_of_repository(*, url: str, ref: str, allow: tuple[str, ...] = ()) -> tuple[str, int, str]:
    """Return host, port and the address that was allowed for it. Raises InputRefusedError."""
    parts = urlsplit(url)
    try:
        port = parts.port or 443
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or parts.username or not port or ref.startswith("-"):
        raise refuse("url", found=url, allowed="https://host/path without a user name is allowed")
    try:
        return parts.hostname, port, OutboundPolicy(allow=allow).address_for(parts.hostname, port)
    except OutboundRefusedError as error:
        raise refuse("url", found=str(error), allowed="a public host is allowed") from None


def look_at_git(*, actor: str, url: str, ref: str = "", allow: tuple[str, ...] = ()) -> ScanResult:
    """Fetch and scan a repository for somebody whose right was checked when they asked; see `scan_git`."""
    host, port, address = address_of_repository(url=url, ref=ref, allow=allow)
    with tempfile.TemporaryDirectory(prefix="assay-scan-") as folder:
        place = Path(folder) / "source"
        branch = ["--branch", ref] if ref else []
        # Git connects to the address that was judged, whatever the name resolves to a moment later.
        pinned = f"http.curloptResolve={host}:{port}:{address}"
        trouble = _git("-c", pinned, "clone", "--depth", "1", *branch, "--", url, str(place))
        if trouble:
            judged = judge_report(None, trouble=f"the repository was not fetched: {trouble}")
            return _recorded(actor, ScanResult(url, "git", "", judged))
        head = subprocess.run(  # noqa: S603 a fixed command
            ["git", "-C", str(place), "rev-parse", "HEAD"],  # noqa: S607 git is on the PATH of a site
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return look_at_path(actor=actor, path=place, commit=head.stdout.strip(), source="git", name=url)


def scan_archive(*, principal: Principal, content: bytes, name: str, commit: str = "") -> ScanResult:
    """Scan an uploaded ZIP or tar archive. Raises InputRefusedError for a bomb or a path that leads out of it."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    return look_at_archive(actor=principal.reference, content=content, name=name, commit=commit)


def look_at_archive(*, actor: str, content: bytes, name: str, commit: str = "") -> ScanResult:
    """Scan an archive for somebody whose right was checked when they asked; see `scan_archive`."""
    if objection := scanner_objects(content):
        raise refuse("archive", found=objection, allowed="a ZIP or tar archive of plain files is allowed")
    with tempfile.TemporaryDirectory(prefix="assay-scan-") as folder:
        try:
            unpack(content, Path(folder))
        except UnpackRefusedError as error:
            raise refuse(
                "archive", found=str(error), allowed="a ZIP or tar archive of plain files is allowed"
            ) from None
        return look_at_path(actor=actor, path=Path(folder), commit=commit, source="archive", name=name)


def _git(*arguments: str) -> str:
    """Run git without prompts, hooks or other protocols; return its trouble, or nothing."""
    tool = shutil.which("git")
    if tool is None:
        return "git is not installed"
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": "/nonexistent",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    command = [tool, "-c", "http.followRedirects=false", "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        run = subprocess.run(  # noqa: S603 a fixed program; what follows `--` is data
            command, capture_output=True, text=True, timeout=CLONE_SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {CLONE_SECONDS} s"
    return "" if run.returncode == 0 else (run.stderr.strip().splitlines() or ["no reason given"])[-1][:300]


def _scan(tool: Path, root: Path) -> JudgedReport:
    # The tool answers 0 to a missing folder, as to a clean one.
    if not root.is_dir():
        return judge_report(None, trouble="the folder does not exist")
    command = [str(tool), "-d", str(root), "--framework", *FRAMEWORKS, "-o", "json", "--soft-fail", "--skip-download"]
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/"), "LOG_LEVEL": "ERROR"}
    try:
        run = subprocess.run(  # noqa: S603 a fixed program with a path that was checked
            command, capture_output=True, timeout=TIMEOUT_SECONDS, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return judge_report(None, trouble=f"the scan took longer than {TIMEOUT_SECONDS} s")
    try:
        report = orjson.loads(run.stdout)
    except orjson.JSONDecodeError:
        return judge_report(None, trouble="the tool's output could not be read")
    return judge_report(report, category_of=categories(), excused_by=_excuse)


@cache
def categories() -> dict[str, str]:
    """Return the category of each check of the pinned version."""
    table: dict[str, str] = orjson.loads(CATEGORIES.read_bytes())["categories"]
    return table


def _excuse(check: str, resource: str) -> str:
    """Return the approved, unexpired exception that covers a skipped check, or nothing."""
    now = database_now()
    live = ControlException.objects.filter(
        approved_at__isnull=False, starts_at__lte=now, expires_at__gt=now, covers__startswith=check
    )
    found = next((one for one in live if covered(one.covers, check=check, resource=resource)), None)
    return f"exception:{found.pk}" if found else ""


@transaction.atomic
def _recorded(actor: str, result: ScanResult) -> ScanResult:
    """Record a scan as evidence, valid or not, and return it with its entry."""
    judged = result.judged
    digest = store_artifact(
        orjson.dumps({"root": result.root, **judged.kept}, option=orjson.OPT_INDENT_2),
        media_type="application/json",
        name="checkov-scrubbed.json",
    )
    entry = record(
        InfrastructureScanned(
            root=result.root,
            source=result.source,
            tool="checkov",
            tool_version=judged.tool_version,
            policy_sha256=hashlib.sha256(CATEGORIES.read_bytes()).hexdigest(),
            commit=result.commit,
            resources=judged.resources,
            passed=judged.passed,
            failed=judged.failed,
            parsing_errors=judged.parsing_errors,
            skipped=[ScanSkip(**vars(one)) for one in judged.skipped],
            unexcused_skips=len(judged.unexcused),
            failed_checks=list(judged.failed_checks),
            categories={name: CategoryCount(**vars(one)) for name, one in judged.categories.items()},
            valid=judged.valid,
            reason=judged.reason,
            scanned_at=database_now(),
            report_sha256=digest,
        ),
        actor=actor,
        subject=f"iac:{result.root}"[:200],
        artifacts=(digest,),
    )
    return replace(result, entry=entry.pk)

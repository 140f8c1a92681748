"""Scans that somebody asks for on a page or by REST, run by a worker."""

from pathlib import Path
from typing import Any

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.domain.scans import JudgedReport
from compliance.domain.uploads import MAX_BYTES
from compliance.models import ScanRun
from compliance.services.scanning import (
    ScanResult,
    address_of_repository,
    categories,
    look_at_archive,
    look_at_git,
    look_at_path,
)
from core.clock import database_now
from core.identifiers import new_id
from core.leases import give_up, settle
from core.parsing import InputRefusedError, refuse
from core.uploads import scanner_objects
from core.work import wake
from ledger.data.access import AuditedAction
from ledger.services import read_artifact, record, store_artifact

SCAN_QUEUE = "compliance.scans"
STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
# A tar archive that is not packed says so here.
TAR_MARK = slice(257, 262)
MOST_FINDINGS = 5_000


@transaction.atomic
def request_scan(
    *,
    principal: Principal,
    archive: bytes | None = None,
    name: str = "",
    url: str = "",
    ref: str = "",
    path: str = "",
) -> ScanRun:
    """Ask for a scan of an uploaded archive, a repository, or (administrators alone) a folder of this machine.

    Raises InputRefusedError unless exactly one is given, for a file that is no archive, an address that may not be
    reached, or a folder that is not absolute.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    given = [one for one in (archive is not None, bool(url), bool(path)) if one]
    if len(given) != 1:
        raise refuse("source", found=f"{len(given)} sources", allowed="one archive, address or folder is allowed")
    digest = ""
    if archive is not None:
        source, place = ScanRun.Source.ARCHIVE, name or "archive"
        if len(archive) > MAX_BYTES:
            raise refuse("archive", found=f"{len(archive)} bytes", allowed=f"at most {MAX_BYTES} bytes are allowed")
        if not archive.startswith(STARTS) and archive[TAR_MARK] != b"ustar":
            raise refuse("archive", found="another kind of file", allowed="a ZIP or tar archive is allowed")
        if objection := scanner_objects(archive):
            raise refuse("archive", found=objection, allowed="a ZIP or tar archive of plain files is allowed")
        digest = store_artifact(archive, media_type="application/octet-stream", name=place)
    elif url:
        source, place = ScanRun.Source.GIT, url
        address_of_repository(url=url, ref=ref)
    else:
        ensure_may(principal, Capability.SITE_ADMIN)
        source, place = ScanRun.Source.PATH, path
        if not Path(path).is_absolute():
            raise refuse("path", found=path, allowed="a folder from the root on (/srv/infra) is allowed")
    now = database_now()
    run = ScanRun.objects.create(
        reference=new_id("scan"),
        source=source,
        place=place[:500],
        ref=ref[:120],
        sha256=digest,
        requested_by=principal.reference,
        requested_by_label=principal.label[:160],
        requested_at=now,
        due_at=now,
    )
    record(
        AuditedAction(
            action="scan.requested", target=place[:200], after={"source": str(source), "scan": run.reference}
        ),
        actor=principal.reference,
        subject=f"iac:{place}"[:200],
    )
    wake(SCAN_QUEUE)
    return run


def run_scan(run: ScanRun) -> None:
    """Run a scan that was asked for. What cannot succeed by trying again is settled as failed with its reason."""
    _say(run, "Fetching the repository and scanning" if run.source == ScanRun.Source.GIT else "Scanning")
    try:
        result = _scanned(run)
    except InputRefusedError as error:
        problem = error.problems[0]
        says = f"{problem.where}: found {problem.found}; {problem.allowed}."[:500]
        give_up(run, error=says, state=ScanRun.State.FAILED, reason=says, step="")
        return
    judged = result.judged
    with transaction.atomic():
        settle(
            run,
            state=ScanRun.State.COMPLETED,
            step="",
            valid=judged.valid,
            reason=judged.reason[:500],
            commit=result.commit[:64],
            resources=judged.resources,
            passed=judged.passed,
            failed=judged.failed,
            unexcused_skips=len(judged.unexcused),
            findings=_findings(judged),
            entry=result.entry,
            finished_at=database_now(),
            last_error="",
        )


def _say(run: ScanRun, step: str) -> None:
    rows = ScanRun.objects.filter(pk=run.pk, fence=run.fence)
    rows.update(state=ScanRun.State.RUNNING, step=step)


def _scanned(run: ScanRun) -> ScanResult:
    if run.source == ScanRun.Source.GIT:
        return look_at_git(actor=run.requested_by, url=run.place, ref=run.ref)
    if run.source == ScanRun.Source.PATH:
        return look_at_path(actor=run.requested_by, path=Path(run.place))
    content = read_artifact(run.sha256)
    if content is None:
        raise refuse("archive", found="nothing: it is gone from the store", allowed="upload it again")
    return look_at_archive(actor=run.requested_by, content=content, name=run.place)


def _findings(judged: JudgedReport) -> list[dict[str, Any]]:
    """Return what failed or was skipped, with its category; the whole list is in the artifact of the entry."""
    skips = {(one.check, one.resource): one for one in judged.skipped}
    category_of = categories()
    found = []
    for kind in ("failed_checks", "skipped_checks"):
        for one in judged.kept.get(kind, []):
            check, resource = str(one.get("check_id", "")), str(one.get("resource", ""))
            skip = skips.get((check, resource)) if kind == "skipped_checks" else None
            lines = one.get("file_line_range") or []
            found.append(
                {
                    "check": check,
                    "name": str(one.get("check_name") or "")[:200],
                    "resource": resource[:200],
                    "file": str(one.get("file_path") or "")[:300],
                    "line": lines[0] if lines and isinstance(lines[0], int) else None,
                    "category": category_of.get(check, "OTHER"),
                    "skipped": skip is not None,
                    "why": skip.reason[:300] if skip else "",
                    "excused_by": skip.excused_by if skip else "",
                }
            )
    return found[:MOST_FINDINGS]

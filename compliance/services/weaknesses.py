"""Findings of other scanners and of penetration testers: taken in by report, gone when a later one lacks them."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.domain.sarif import NotSarifError, Report, Weakness, read_sarif
from compliance.models import FindingReport, SecurityFinding
from compliance.services.tables import read_csv
from core.clock import database_now
from core.identifiers import new_id
from core.parsing import load_json, refuse
from ledger.data.scans import FindingsImported
from ledger.services import record, store_artifact

MAX_BYTES = 50 * 1024 * 1024
COLUMNS = ("id", "title", "severity")


def import_sarif(
    *, principal: Principal, raw: bytes, scope: str, source: str = "report", scanned_at: datetime | None = None
) -> list[FindingReport]:
    """Take in a SARIF report of one scope (a repository, an image). Raises InputRefusedError."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    document = load_json(raw, source=source, max_bytes=MAX_BYTES)
    try:
        reports = read_sarif(document)
    except NotSarifError as error:
        raise refuse(source, found=str(error), allowed="SARIF 2.1.0 of a run that succeeded is allowed") from None
    with transaction.atomic():
        digest = store_artifact(raw, media_type="application/sarif+json", name=f"{source}"[:255])
        kind = FindingReport.Kind.SARIF
        return [_take(principal, one, kind=kind, scope=scope, at=scanned_at, digest=digest) for one in reports]


def import_penetration_test(
    *, principal: Principal, raw: bytes, tester: str, scope: str, ended_at: datetime, source: str = "findings.csv"
) -> FindingReport:
    """Take in the findings of a penetration test: CSV with id, title, severity and, if there is one, location."""
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    rows = read_csv(raw, source=source, columns=COLUMNS, optional=("location",))
    allowed = SecurityFinding.Severity.values
    weaknesses = []
    for number, row in enumerate(rows, start=2):
        severity = row["severity"].lower()
        if severity not in allowed:
            raise refuse(f"{source}:{number}", found=row["severity"], allowed=f"{', '.join(allowed)} are allowed")
        weaknesses.append(
            Weakness(row["id"][:64], row["id"][:160], severity, row["title"][:300], row.get("location", "")[:300])
        )
    if len({one.fingerprint for one in weaknesses}) != len(weaknesses):
        raise refuse(source, found="an id twice", allowed="each id once is allowed")
    with transaction.atomic():
        digest = store_artifact(raw, media_type="text/csv", name=source[:255])
        report = Report(tester[:120], "", tuple(weaknesses))
        kind = FindingReport.Kind.PENETRATION_TEST
        return _take(principal, report, kind=kind, scope=scope, at=ended_at, digest=digest)


def _take(
    principal: Principal, report: Report, *, kind: str, scope: str, at: datetime | None, digest: str
) -> FindingReport:
    now = database_now()
    if at is not None and at > now + timedelta(minutes=5):
        raise refuse("scanned_at", found=at.isoformat(), allowed="a time that has passed is allowed")
    made = FindingReport.objects.create(
        reference=new_id("report"),
        kind=kind,
        tool=report.tool,
        tool_version=report.tool_version,
        scope=scope[:200],
        scanned_at=at or now,
        received_at=now,
        received_by=principal.reference,
        sha256=digest,
        results=len(report.weaknesses),
    )
    new, known, gone = _settle(made, report.weaknesses)
    still = SecurityFinding.objects.filter(tool=made.tool, scope=made.scope, gone_at__isnull=True)
    # Nought is said too: a check asks whether none is open, and what is not said is not known.
    counted = Counter(still.values_list("severity", flat=True))
    record(
        FindingsImported(
            report_kind=made.kind,
            report=made.reference,
            tool=made.tool,
            tool_version=made.tool_version,
            scope=made.scope,
            new=new,
            known=known,
            gone=gone,
            open_by_severity={one: counted[one] for one in sorted(SecurityFinding.Severity.values)},
            scanned_at=made.scanned_at,
            report_sha256=digest,
        ),
        actor=principal.reference,
        subject=f"scan:{made.scope}"[:200],
        occurred_at=made.scanned_at,
        artifacts=(digest,),
    )
    return made


def _settle(report: FindingReport, weaknesses: Sequence[Weakness]) -> tuple[int, int, int]:
    """Note what is new, what is still there and what has gone; an older report than the last changes nothing."""
    mine = SecurityFinding.objects.filter(tool=report.tool, scope=report.scope)
    latest = FindingReport.objects.filter(tool=report.tool, scope=report.scope).exclude(pk=report.pk)
    if latest.filter(scanned_at__gt=report.scanned_at).exists():
        return 0, 0, 0
    rows = {one.fingerprint: one for one in mine}
    seen = {one.fingerprint for one in weaknesses}
    new = [one for one in weaknesses if one.fingerprint not in rows]
    SecurityFinding.objects.bulk_create(
        [
            SecurityFinding(
                tool=report.tool,
                scope=report.scope,
                **vars(one),
                first_report=report,
                last_report=report,
                first_seen_at=report.scanned_at,
            )
            for one in new
        ],
        batch_size=500,
    )
    mine.filter(fingerprint__in=[key for key in rows if key in seen]).update(last_report=report, gone_at=None)
    left = mine.filter(gone_at__isnull=True, fingerprint__in=[key for key in rows if key not in seen])
    gone = left.update(gone_at=report.scanned_at)
    return len(new), len(seen) - len(new), gone

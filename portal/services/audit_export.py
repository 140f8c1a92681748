"""What the pages across the rooms write: the export of the audit log, which is itself recorded."""

import csv
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import orjson
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.lists import csv_text
from core.replicas import ReadFrom, streamed_report
from ledger.data.access import AuditedAction
from ledger.selectors import whole_trail
from ledger.services import ensure_may_leave, record
from portal.data import AuditFilters, AuditLine
from portal.selectors.audit import question_of, streamed_lines

COLUMNS = (
    "seq", "recorded_at", "occurred_at", "actor", "actor_name", "entry_type", "did", "subject", "details", "outcome",
    "address", "evidence_type", "payload_sha256",
)  # fmt: skip


class TrailFormat(StrEnum):
    """How an exported audit log is written."""

    CSV = "csv"
    JSON_LINES = "jsonl"


def export_audit_log(
    *, principal: Principal, asked: AuditFilters, written: TrailFormat, region: str = "", region_reason: str = ""
) -> Iterator[str]:
    """Return the lines of an audit log, newest first, made while they are read; that it was exported is recorded.

    Raises PermissionDenied, ExportRefusedError when it would leave the region without a reason.
    Entries that are recorded meanwhile are not part of it; those that were recorded before are, wherever it is read.
    """
    ensure_may(principal, Capability.LEDGER_EXPORT)
    leaving = ensure_may_leave(region=region, reason=region_reason)
    narrowed = {name: str(value) for name, value in vars(asked).items() if value}
    with transaction.atomic():
        record(
            AuditedAction(
                action="audit_log.exported", target=written.value, after={**narrowed, **leaving}, reason=region_reason
            ),
            actor=principal.reference,
            subject="ledger:audit-log",
        )
    question = question_of(asked)

    def lines(_: ReadFrom) -> Iterator[str]:
        found = streamed_lines(whole_trail(question))
        return _csv(found) if written is TrailFormat.CSV else _json_lines(found)

    return streamed_report(lines)


def _row(line: AuditLine) -> dict[str, Any]:
    entry = line.entry
    return {
        "seq": entry.seq,
        "recorded_at": entry.recorded_at.isoformat(),
        "occurred_at": entry.occurred_at.isoformat(),
        "actor": entry.actor,
        "actor_name": line.who,
        "entry_type": entry.entry_type,
        "did": line.did,
        "subject": entry.subject,
        "details": line.details,
        "outcome": line.outcome,
        "address": line.origin,
        "evidence_type": entry.evidence_type,
        "payload_sha256": entry.payload_sha256,
    }


class _Echo:
    def write(self, text: str) -> str:
        return text


def _csv(lines: Iterator[AuditLine]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for line in lines:
        yield writer.writerow([csv_text(value) if value is not None else "" for value in _row(line).values()])


def _json_lines(lines: Iterator[AuditLine]) -> Iterator[str]:
    for line in lines:
        entry = line.entry
        whole = {**_row(line), "version": entry.version, "artifacts": entry.artifacts, "payload": entry.payload}
        if entry.content_gone:
            whole["payload_gone"] = entry.content_gone
        yield orjson.dumps(whole).decode() + "\n"

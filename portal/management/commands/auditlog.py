"""`manage.py auditlog`: who did what to whom, when, from where."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import command

from accounts.data import Capability, Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from accounts.services import ensure_may
from core.cli import FormatOption, OutputFormat, RoomCommand, answering, fail, print_rows
from core.parsing import refuse
from ledger.selectors import trail
from ledger.services import ExportRefusedError
from portal.data import AuditFilters
from portal.selectors.audit import audit_lines, question_of
from portal.services import TrailFormat, export_audit_log

AsOption = Annotated[str, typer.Option("--as", help="User name of the person who acts.")]
WhoOption = Annotated[str, typer.Option(help="User name, or a reference such as system:escalation.")]
KindOption = Annotated[str, typer.Option("--type", help="Type of entry, as audit.action.")]
AboutOption = Annotated[str, typer.Option(help="What it is about, as incident:INC-3.")]
DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
SinceOption = Annotated[datetime | None, typer.Option(formats=DATES, help="Recorded from here on (UTC).")]
UntilOption = Annotated[datetime | None, typer.Option(formats=DATES, help="Recorded before this (UTC).")]
WordsOption = Annotated[str, typer.Option(help="Each of these words is in it.")]


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        raise refuse("--as", found=username, allowed="the user name of a person is allowed")
    return principal_for_user(user=user)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


class Command(RoomCommand):
    help = "The audit log: who did what to whom, when, from where."

    @command(name="list")
    @answering
    def list_entries(
        self,
        *,
        who: WhoOption = "",
        kind: KindOption = "",
        about: AboutOption = "",
        since: SinceOption = None,
        until: UntilOption = None,
        words: WordsOption = "",
        limit: Annotated[int, typer.Option(min=1, max=5000)] = 50,
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """List what was done, newest first."""
        ensure_may(_principal(as_user), Capability.LEDGER_VIEW)
        asked = AuditFilters(who, kind, about, words, _utc(since), _utc(until))
        found = trail(question_of(asked), limit=limit)
        rows = [
            {
                "no": line.entry.seq,
                "when": line.entry.recorded_at.isoformat(timespec="seconds"),
                "who": line.who,
                "did": line.did,
                "to": line.whom,
                "from": line.origin,
                "details": line.details,
            }
            for line in audit_lines(found.entries)
        ]
        print_rows(
            rows, columns=("no", "when", "who", "did", "to", "from", "details"), output=output, empty="Nothing matches."
        )
        if not found.full and found.older:
            sys.stderr.write(f"Looked back to {found.older.recorded_at.isoformat()}; narrow with --until.\n")

    @command()
    @answering
    def export(
        self,
        file: Annotated[Path, typer.Argument(help="Ends in .csv or .jsonl.")],
        *,
        who: WhoOption = "",
        kind: KindOption = "",
        about: AboutOption = "",
        since: SinceOption = None,
        until: UntilOption = None,
        words: WordsOption = "",
        region: Annotated[str, typer.Option(help="Region that the file goes to; empty: it stays.")] = "",
        region_reason: Annotated[str, typer.Option(help="Why it may leave the region.")] = "",
        as_user: AsOption = "",
    ) -> None:
        """Write the audit log to a file; that it was exported is recorded."""
        written = file.suffix.removeprefix(".")
        if written not in set(TrailFormat):
            raise refuse("FILE", found=file.name, allowed="a name that ends in .csv or .jsonl is allowed")
        asked = AuditFilters(who, kind, about, words, _utc(since), _utc(until))
        try:
            lines = export_audit_log(
                principal=_principal(as_user),
                asked=asked,
                written=TrailFormat(written),
                region=region,
                region_reason=region_reason,
            )
        except ExportRefusedError as error:
            fail(str(error))
        count = 0
        with file.open("w", encoding="utf-8", newline="") as target:
            for line in lines:
                target.write(line)
                count += 1
        typer.echo(f"{count - (written == 'csv')} entries are in {file}.")

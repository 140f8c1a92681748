"""`manage.py ledger`: verify, checkpoint, prove, export, list."""

import base64
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from django_typer.management import command

from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from ledger.data import EvidenceType
from ledger.data.packs import Selection
from ledger.selectors import entries, entry_by_seq, latest_checkpoint
from ledger.services import (
    NothingSealedError,
    NotInLogError,
    PackTooLargeError,
    export_pack,
    make_checkpoint,
    prove_inclusion,
    public_verifier_key,
    verify_log,
)

DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


@dataclass(frozen=True)
class _CommandLine:
    """Whoever may run commands on this machine may read its database, and so may everything here."""

    reference: str = "system:cli"

    def may(self, capability: Any, *, team_id: int | None = None) -> bool:  # noqa: ARG002 the protocol's signature
        return True


CLI = _CommandLine()


class Command(RoomCommand):
    help = "The tamper-evident ledger: what happened, and whether anything was changed."

    @command()
    @answering
    def verify(
        self,
        processes: Annotated[int, typer.Option(min=1, max=64, help="Processes to share the work.")] = 1,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Verify payloads, entries, chain, tree, checkpoints and artifacts. Exit code 1: something was changed."""
        found = verify_log(processes=processes)
        if output is OutputFormat.JSON:
            print_json({**vars(found), "holds": found.holds})
        else:
            typer.echo(
                f"{found.entries} entries ({found.erased} erased, {found.pending} not sealed yet), "
                f"{found.checkpoints} checkpoints, {found.artifacts} artifacts."
            )
            for problem in found.problems:
                typer.echo(f"  {problem}")
            typer.echo("Everything holds." if found.holds else "The log does NOT hold.")
        if not found.holds:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def checkpoint(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Sign the log's size and root, and print the signed note and the key to check it with."""
        try:
            made = make_checkpoint()
        except NothingSealedError as error:
            fail(str(error), ExitCode.NO)
        if output is OutputFormat.JSON:
            print_json(
                {"size": made.size, "root": bytes(made.root).hex(), "note": made.note, "key": public_verifier_key()}
            )
        else:
            typer.echo(made.note)
            typer.echo(f"key: {public_verifier_key()}")

    @command()
    @answering
    def prove(
        self,
        seq: Annotated[int, typer.Argument(min=0, help="The entry's place in the log.")],
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print the proof that an entry is in the log of the newest checkpoint. Exit code 1: it is not."""
        checkpoint = latest_checkpoint()
        if checkpoint is None or checkpoint.size <= seq:
            try:
                checkpoint = make_checkpoint()
            except NothingSealedError as error:
                fail(str(error), ExitCode.NO)
        entry = entry_by_seq(seq)
        try:
            path = prove_inclusion(seq, size=checkpoint.size)
        except NotInLogError as error:
            fail(str(error), ExitCode.NO)
        answer = {
            "seq": seq,
            "entry": str(entry),
            "leaf_hash": bytes(entry.seal.leaf_hash).hex() if entry else "",
            "size": checkpoint.size,
            "path": [base64.b64encode(value).decode() for value in path],
            "checkpoint": checkpoint.note,
        }
        if output is OutputFormat.JSON:
            print_json(answer)
        else:
            for name, value in answer.items():
                typer.echo(f"{name}: {value}")

    @command()
    @answering
    def export(  # noqa: PLR0917 options of a command
        self,
        target: Annotated[Path, typer.Argument(help="The ZIP file to write.")],
        title: Annotated[str, typer.Option(help="What the pack is called.")] = "Evidence",
        entry_type: Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be repeated.")] = None,
        evidence: Annotated[list[EvidenceType] | None, typer.Option(help="Only this kind, as INC.")] = None,
        subject: Annotated[list[str] | None, typer.Option(help="Only about this, as incident:INC-3.")] = None,
        since: Annotated[datetime | None, typer.Option(formats=DATES, help="From this instant, in UTC.")] = None,
        until: Annotated[datetime | None, typer.Option(formats=DATES, help="Before this instant, in UTC.")] = None,
        headers: Annotated[bool, typer.Option(help="Carry the headers of all entries, to prove completeness.")] = True,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Write an evidence pack that anybody can verify offline with the verify.py in it."""
        selection = Selection(
            types=tuple(entry_type or ()),
            evidence_types=tuple(evidence or ()),
            subjects=tuple(subject or ()),
            since=since.replace(tzinfo=UTC) if since else None,
            until=until.replace(tzinfo=UTC) if until else None,
        )
        try:
            pack = export_pack(principal=CLI, title=title, selection=selection, headers=headers)
        except NothingSealedError as error:
            fail(str(error), ExitCode.NO)
        except PackTooLargeError as error:
            fail(str(error))
        try:
            target.write_bytes(pack.content)
        except OSError as error:
            fail(f"{target}: {error.strerror}")
        if output is OutputFormat.JSON:
            print_json(
                {
                    "path": str(target),
                    "entries": pack.entries,
                    "artifacts": pack.artifacts,
                    "size": pack.checkpoint_size,
                    "manifest_sha256": pack.manifest_sha256,
                    "key": pack.key,
                    "omissions": [asdict(omission) for omission in pack.omissions],
                }
            )
            return
        typer.echo(f"{target}: {pack.entries} entries, {pack.artifacts} artifacts, log of {pack.checkpoint_size}.")
        for omission in pack.omissions:
            typer.echo(f"  left out: {omission.what} ({omission.reason})")
        typer.echo(f"Verify it: unzip it and run  python3 verify.py --key '{pack.key}'")

    @command(name="list")
    @answering
    def list_entries(
        self,
        entry_type: Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be repeated.")] = None,
        subject: Annotated[list[str] | None, typer.Option(help="Only about this, as incident:INC-3.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print the newest entries."""
        rows = [
            {
                "seq": entry.seq,
                "occurred_at": entry.occurred_at.isoformat(timespec="seconds"),
                "type": entry.entry_type,
                "evidence": entry.evidence_type,
                "subject": entry.subject,
                "actor": entry.actor,
                **({"payload": entry.payload} if output is OutputFormat.JSON else {}),
            }
            for entry in entries(types=entry_type or (), subjects=subject or ())[:limit]
        ]
        print_rows(
            rows,
            columns=("seq", "occurred_at", "type", "evidence", "subject", "actor"),
            output=output,
            empty="Nothing was recorded yet.",
        )

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
from ledger.selectors import anchors, entries, entry_by_seq, latest_checkpoint
from ledger.services import (
    AnchorRefusedError,
    ExportRefusedError,
    NotErasableError,
    NothingSealedError,
    NotInLogError,
    PackTooLargeError,
    add_anchor,
    compare_checkpoint,
    erase_payload,
    make_checkpoint,
    prove_consistency,
    prove_inclusion,
    public_verifier_key,
    rotate_key,
    verify_log,
    write_pack,
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

    @command(name="rotate-key")
    @answering
    def rotate_key(self, reason: Annotated[str, typer.Option(help="Why the key is replaced.")] = "scheduled") -> None:
        """Replace the key that signs checkpoints; old and new key both sign that it was."""
        try:
            rotation = rotate_key(principal=CLI, reason=reason)
        except NothingSealedError as error:
            fail(str(error), ExitCode.NO)
        typer.echo(f"From {rotation.size} entries on, checkpoints are signed with\n{rotation.new_key}")

    @command()
    @answering
    def erase(
        self,
        seq: Annotated[int, typer.Argument(min=0, help="The entry's place in the log.")],
        reason: Annotated[str, typer.Option(help="Why, for the tombstone.")],
    ) -> None:
        """Erase what an entry says. The entry stays and proves that it was there; a tombstone says why it is empty."""
        entry = entry_by_seq(seq)
        if entry is None:
            fail(f"There is no entry {seq}.", ExitCode.NO)
        try:
            erase_payload(principal=CLI, entry=entry, reason=reason)
        except (NotErasableError, ValueError) as error:
            fail(str(error), ExitCode.NO)
        typer.echo(f"The content of entry {seq} is erased; the log still verifies.")

    @command()
    @answering
    def witness(
        self,
        note: Annotated[Path, typer.Argument(help="A checkpoint that was kept elsewhere.")],
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Compare a checkpoint from elsewhere with the log. Exit code 1: the log is not the one that was signed."""
        try:
            found = compare_checkpoint(note.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{note}: {error}")
        if output is OutputFormat.JSON:
            print_json(vars(found))
        else:
            typer.echo(found.says)
        if not found.holds:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def consistency(
        self,
        old: Annotated[int, typer.Argument(min=1, help="Entries of the earlier log.")],
        new: Annotated[int, typer.Argument(min=1, help="Entries of the later log.")],
    ) -> None:
        """Print the proof that a later log begins with an earlier one (RFC 6962, 2.1.2)."""
        try:
            path = prove_consistency(old, new)
        except NotInLogError as error:
            fail(str(error), ExitCode.NO)
        print_json({"old": old, "new": new, "path": [base64.b64encode(value).decode() for value in path]})

    @command()
    @answering
    def anchor(  # noqa: PLR0917 options of a command
        self,
        name: Annotated[str, typer.Argument(help="Name of an anchor to add; without it the anchors are listed.")] = "",
        kind: Annotated[str, typer.Option(help="rfc3161, git, mail or webhook.")] = "",
        to: Annotated[str, typer.Option(help="Address, folder, mail address, or slug of an endpoint.")] = "",
        root_certificate: Annotated[Path | None, typer.Option(help="PEM that a time stamp must lead to.")] = None,
        allow: Annotated[list[str] | None, typer.Option(help="Private host or network that it may reach.")] = None,
        every_hours: Annotated[int, typer.Option(min=1, max=720)] = 24,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Add a place outside the database that is told checkpoints, or list them with their last receipt."""
        if name:
            try:
                add_anchor(
                    principal=CLI,
                    name=name,
                    kind=kind,
                    target=to,
                    roots=root_certificate.read_text("utf-8") if root_certificate else "",
                    allow=tuple(allow or ()),
                    every_hours=every_hours,
                )
            except (AnchorRefusedError, OSError) as error:
                fail(str(error))
        rows = [
            {
                "anchor": one.name,
                "kind": one.kind,
                "to": one.target,
                "last": (newest := one.receipts.first()) and newest.status,
                "says": newest.says or newest.last_error if newest else "",
            }
            for one in anchors()
        ]
        print_rows(rows, columns=("anchor", "kind", "to", "last", "says"), output=output, empty="There is no anchor.")

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
        region: Annotated[str, typer.Option(help="Region that the pack goes to; empty: it stays in this one.")] = "",
        region_reason: Annotated[str, typer.Option(help="Why it may leave the region.")] = "",
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
            pack = write_pack(
                target,
                principal=CLI,
                title=title,
                selection=selection,
                headers=headers,
                region=region,
                region_reason=region_reason,
            )
        except NothingSealedError as error:
            fail(str(error), ExitCode.NO)
        except (PackTooLargeError, ExportRefusedError) as error:
            fail(str(error))
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

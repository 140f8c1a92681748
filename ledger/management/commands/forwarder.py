"""`manage.py forwarder`: who outside is told every entry of the ledger."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from django.utils import timezone
from django_typer.management import command

from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_rows
from core.work import drain
from ledger.models import Forwarder
from ledger.selectors import forwarders, log_size, sealed_at
from ledger.services import (
    FORWARD_QUEUE,
    ForwarderRefusedError,
    ForwarderSetup,
    add_forwarder,
    pause_forwarder,
    place_forwarder,
    remove_forwarder,
    resume_forwarder,
    rewind_forwarder,
    seal_pending,
)

NameArgument = Annotated[str, typer.Argument(help="The destination's name.")]


class _CommandLine:
    """Whoever may run commands on this machine may read its database."""

    reference = "system:cli"

    def may(self, capability: Any, *, team_id: int | None = None) -> bool:  # noqa: ARG002 the protocol's signature
        return True


CLI = _CommandLine()


def _named(name: str) -> Forwarder:
    row = forwarders().filter(name=name).first()
    if row is None:
        fail(f"There is no destination {name}.", ExitCode.NO)
    return row


def _read(path: Path | None) -> str:
    try:
        return path.read_text("utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {error}")


RegionOption = Annotated[str, typer.Option(help="Region of the catalog that it is in; needed where data must stay.")]
ReasonOption = Annotated[str, typer.Option(help="Why it is told although its region is elsewhere.")]


class Command(RoomCommand):
    help = "Destinations, as a SIEM, that are told every entry of the ledger in order."

    @command(name="list")
    @answering
    def list_destinations(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """List destinations and how far each is behind. Exit code 1: one of them is behind for too long."""
        size, now = log_size(), timezone.now()
        rows = []
        for row in forwarders():
            oldest = sealed_at(row.next_seq)
            rows.append(
                {
                    "name": row.name,
                    "state": row.status,
                    "kind": row.kind,
                    "address": row.address,
                    "next": row.next_seq,
                    "waiting": size - row.next_seq,
                    "behind_seconds": round((now - oldest).total_seconds()) if oldest else 0,
                    "error": row.last_error,
                }
            )
        print_rows(
            rows,
            columns=("name", "state", "kind", "address", "next", "waiting", "behind_seconds", "error"),
            output=output,
            empty="Nobody outside is told.",
        )
        if any(row.status == "failing" for row in forwarders()):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def add(
        self,
        name: NameArgument,
        *,
        kind: Annotated[str, typer.Option(help="syslog, otlp or webhook.")],
        to: Annotated[str, typer.Option(help="tls://host:6514, tcp://127.0.0.1:514, https://host/v1/logs.")],
        secret: Annotated[str, typer.Option(help="- reads it from standard input.")] = "",
        trust: Annotated[Path | None, typer.Option(help="PEM file with the certificates to trust.")] = None,
        client: Annotated[Path | None, typer.Option(help="PEM file with client certificate and key (syslog).")] = None,
        allow: Annotated[list[str] | None, typer.Option(help="Private host or network it may be at.")] = None,
        confirm: Annotated[str, typer.Option(help="Syslog: close-notify, or end.")] = "close-notify",
        alarm_after: Annotated[int, typer.Option(min=1, help="Minutes behind that make an alarm.")] = 15,
        start: Annotated[str, typer.Option("--from", help="The first entry to tell, or now.")] = "0",
        region: RegionOption = "",
        reason: ReasonOption = "",
    ) -> None:
        """Add a destination. A signing secret that was made is printed this once."""
        if start != "now" and not start.isdecimal():
            fail(f"--from: {start}; a number or now is allowed")
        setup = ForwarderSetup(
            name=name,
            kind=kind,
            address=to,
            secret=sys.stdin.read().strip() if secret == "-" else secret or _read(client),  # noqa: S105 a dash
            trust=_read(trust),
            allow=tuple(allow or ()),
            confirmation=confirm,
            alarm_after=timedelta(minutes=alarm_after),
            start=None if start == "now" else int(start),
            region=region,
            region_reason=reason,
        )
        try:
            row, made = add_forwarder(principal=CLI, setup=setup)
        except ForwarderRefusedError as error:
            fail(str(error))
        typer.echo(f"{row.name} is told from entry {row.next_seq} on.")
        if made:
            typer.echo(f"signing secret: {made}")

    @command()
    @answering
    def place(self, name: NameArgument, region: str, reason: ReasonOption = "") -> None:
        """Say in which region a destination is; it goes on at once. Exit code 1: the data must not go there."""
        try:
            place_forwarder(principal=CLI, row=_named(name), region=region, reason=reason)
        except ForwarderRefusedError as error:
            fail(str(error), ExitCode.NO)
        typer.echo(f"{name} is in {region}.")

    @command()
    @answering
    def pause(self, name: NameArgument) -> None:
        """Tell it nothing until it is resumed."""
        pause_forwarder(principal=CLI, row=_named(name))
        typer.echo(f"{name} is paused.")

    @command()
    @answering
    def resume(self, name: NameArgument) -> None:
        """Go on from where it stands, at once."""
        resume_forwarder(principal=CLI, row=_named(name))
        typer.echo(f"{name} goes on.")

    @command()
    @answering
    def rewind(
        self,
        name: NameArgument,
        seq: Annotated[int, typer.Argument(min=0, help="The entry to go on from.")],
        reason: Annotated[str, typer.Option(help="Why; it is recorded.")],
    ) -> None:
        """Tell it again from an earlier entry, or leave some out."""
        try:
            rewind_forwarder(principal=CLI, row=_named(name), seq=seq, reason=reason)
        except ForwarderRefusedError as error:
            fail(str(error))
        typer.echo(f"{name} goes on from entry {seq}.")

    @command()
    @answering
    def remove(self, name: NameArgument) -> None:
        """Forget a destination."""
        remove_forwarder(principal=CLI, row=_named(name))
        typer.echo(f"{name} is removed.")

    @command()
    @answering
    def run(self, name: NameArgument) -> None:
        """Tell it now, in this process, what waits. Exit code 1: it could not be told."""
        seal_pending()
        resume_forwarder(principal=CLI, row=_named(name))
        drain(FORWARD_QUEUE)
        row = _named(name)
        if row.failures_in_row:
            fail(row.last_error, ExitCode.NO)
        typer.echo(f"{name} has every entry up to {row.next_seq - 1}.")

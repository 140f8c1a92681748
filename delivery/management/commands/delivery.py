"""`manage.py delivery`: what left the site, and sending it again."""

import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer
from django_typer.management import command

from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from delivery.data import Channel, ConnectorKind, DeliveryState
from delivery.selectors import attempts_of, deliveries, delivery_by_reference
from delivery.services import redeliver, remove_outside_watch, save_connector, save_outside_watch


@dataclass(frozen=True)
class ShellActor:
    """Whoever may run commands on this machine may do everything with the outbox."""

    label: str = "cli"
    reference: str = "system:cli"
    user_id: int | None = None

    def may(self, capability: Any, *, team_id: int | None = None) -> bool:  # noqa: ARG002 the protocol's signature
        """Say yes."""
        return True


class Command(RoomCommand):
    help = "Everything that leaves the site: mail, signed webhooks, in-app messages."

    @command(name="list")
    @answering
    def list_deliveries(
        self,
        state: Annotated[DeliveryState | None, typer.Option(help="Only those in this state.")] = None,
        channel: Annotated[Channel | None, typer.Option(help="Only this way out.")] = None,
        limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print deliveries, newest first. Exit code 1 when some of those printed are dead."""
        rows = list(deliveries(viewer=ShellActor(), state=state or "", channel=channel or "")[:limit])
        print_rows(
            [
                {
                    "reference": row.reference,
                    "state": row.state,
                    "channel": row.channel,
                    "address": row.address,
                    "subject": row.subject,
                    "tries": row.tries,
                    "created_at": row.created_at.isoformat(timespec="seconds"),
                    "error": row.last_error,
                }
                for row in rows
            ],
            columns=("reference", "state", "channel", "address", "subject", "tries", "created_at", "error"),
            output=output,
            empty="Nothing has left the site.",
        )
        if any(row.state == DeliveryState.DEAD for row in rows):
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def show(self, reference: str, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print the tries of one delivery."""
        row = delivery_by_reference(viewer=ShellActor(), reference=reference)
        if row is None:
            fail(f"There is no delivery {reference}.")
        print_rows(
            [
                {
                    "number": one.number,
                    "outcome": one.outcome,
                    "started_at": one.started_at.isoformat(timespec="seconds"),
                    "status": one.http_status,
                    "error": one.error,
                }
                for one in attempts_of(delivery=row)
            ],
            columns=("number", "outcome", "started_at", "status", "error"),
            output=output,
            empty="It has not been handed over yet.",
        )

    @command(name="connect")
    @answering
    def connect(
        self,
        name: str,
        kind: Annotated[ConnectorKind, typer.Option()],
        setting: Annotated[
            list[str], typer.Option(help="NAME=VALUE, or NAME=- to read the value from standard input.")
        ],
        allow: Annotated[list[str] | None, typer.Option(help="A private host that it may be at.")] = None,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Set up Slack, Teams, a Twilio-compatible account or Apprise as a way out."""
        settings = {}
        for one in setting:
            key, _, value = one.partition("=")
            settings[key] = sys.stdin.readline().strip() if value == "-" else value
        made = save_connector(principal=ShellActor(), slug=name, kind=kind, settings=settings, allow=allow or ())
        if output is OutputFormat.JSON:
            print_json({"connector": made.slug, "kind": made.kind})
        else:
            typer.echo(f"{made.slug} is set up ({made.kind})")

    @command(name="watch")
    @answering
    def watch(  # noqa: PLR0917 options are named where they are called
        self,
        name: str,
        url: Annotated[str, typer.Option(help="Told by GET; - reads it from standard input.")] = "",
        every: Annotated[int, typer.Option(help="How often, in seconds.")] = 60,
        allow: Annotated[list[str] | None, typer.Option(help="A private host that it may be at.")] = None,
        remove: Annotated[bool, typer.Option("--remove", help="Tell it no more.")] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Tell somebody outside, regularly, that this site lives and does its work."""
        if remove:
            if not remove_outside_watch(principal=ShellActor(), slug=name):
                fail(f"Nobody is told under the name {name}.")
            typer.echo(f"{name} is told no more")
            return
        address = sys.stdin.readline().strip() if url == "-" else url
        beat = timedelta(seconds=every)
        made = save_outside_watch(principal=ShellActor(), slug=name, url=address, every=beat, allow=allow or ())
        if output is OutputFormat.JSON:
            print_json({"watch": made.slug, "every_seconds": made.every.total_seconds()})
        else:
            typer.echo(f"{made.slug} is told every {every} s")

    @command(name="redeliver")
    @answering
    def redeliver_one(self, reference: str, output: FormatOption = OutputFormat.TEXT) -> None:
        """Send one delivery again, with the same identity."""
        row = delivery_by_reference(viewer=ShellActor(), reference=reference)
        if row is None:
            fail(f"There is no delivery {reference}.")
        row = redeliver(principal=ShellActor(), delivery=row)
        if output is OutputFormat.JSON:
            print_json({"reference": row.reference, "state": row.state})
        else:
            typer.echo(f"{row.reference} is {row.state}")

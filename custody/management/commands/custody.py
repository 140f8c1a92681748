"""`manage.py custody`: how long data is kept, what is held, what is stored about whom."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from django.contrib.auth import get_user_model
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.clock import database_now
from core.parsing import refuse
from core.work import drain
from custody.models import LegalHold
from custody.selectors import COUNT_UP_TO, erasures, holds, kept_by, standings, stored_about
from custody.services import (
    ERASE_QUEUE,
    decide_hold,
    decide_release,
    export_about,
    remove_old_data,
    request_erasure,
    request_hold,
    request_release,
    set_retention,
)
from ledger.services import ExportRefusedError, seal_pending

AsOption = Annotated[str, typer.Option("--as", help="User name of the person who acts.")]
ReasonOption = Annotated[str, typer.Option(help="Why; it is recorded.")]
HoldArgument = Annotated[str, typer.Argument(help="HOLD-3")]


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        raise refuse("--as", found=username, allowed="the user name of a person is allowed")
    return principal_for_user(user=user)


def _user(username: str) -> Any:
    user = get_user_model().objects.filter(username=username).first()
    if user is None:
        fail(f"There is nobody called {username}.", ExitCode.NO)
    return user


def _hold(reference: str) -> LegalHold:
    number = reference.upper().removeprefix("HOLD-")
    found = holds().filter(pk=int(number)).first() if number.isdecimal() and len(number) < 18 else None
    if found is None:
        fail(f"There is no hold {reference}.", ExitCode.NO)
    return found


class Command(RoomCommand):
    help = "The life of data: retention, legal holds, erasure, what is stored about whom."

    @command()
    @answering
    def preview(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Show what would go now, and remove nothing. Counts end at 10000."""
        rows = [
            {
                "class": one.data_class.key,
                "keep_days": one.keep.days if one.keep else "for ever",
                "would_go": one.would_go,
                "held_back": "all" if one.kept_whole else one.held_back,
                "floor_days": one.data_class.floor.days,
                "error": one.rule.error if one.rule else "",
            }
            for one in standings(now=database_now())
        ]
        print_rows(
            rows,
            columns=("class", "keep_days", "would_go", "held_back", "floor_days", "error"),
            output=output,
            empty=f"Nothing is registered (up to {COUNT_UP_TO}).",
        )

    @command()
    @answering
    def keep(
        self,
        key: Annotated[str, typer.Argument(help="The class of data, as incidents.inbound.")],
        days: Annotated[str, typer.Argument(help="Days, or ever.")],
        *,
        reason: ReasonOption,
        as_user: AsOption = "",
    ) -> None:
        """Keep a class of data for so many days, or for ever."""
        if days != "ever" and not days.isdecimal():
            raise refuse("days", found=days, allowed="a number or ever is allowed")
        number = None if days == "ever" else int(days[:9])
        set_retention(principal=_principal(as_user), key=key, keep_days=number, reason=reason)
        typer.echo(f"{key} is kept {'for ever' if number is None else f'for {number} days'}.")

    @command()
    @answering
    def remove(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Remove now what is older than its rule says; a worker does the same every hour."""
        rows = [asdict(one) for one in remove_old_data()]
        print_rows(
            rows, columns=("key", "count", "oldest", "newest", "complete"), output=output, empty="Nothing may go."
        )

    @command()
    @answering
    def hold(
        self,
        kind: Annotated[str, typer.Argument(help=", ".join(LegalHold.Kind.values))],
        target: Annotated[
            str, typer.Argument(help="Key, slug, reference, user name, kind:name, or 2026-01-01..2026-03-31.")
        ],
        *,
        reason: ReasonOption,
        as_user: AsOption,
    ) -> None:
        """Hold data from now on; another person confirms it."""
        made = request_hold(principal=_principal(as_user), kind=kind, target=target, reason=reason)
        typer.echo(f"{made.reference} holds.")

    @command()
    @answering
    def confirm(self, reference: HoldArgument, *, as_user: AsOption, no: bool = False) -> None:
        """Confirm a hold that somebody else asked for, or agree to its release; with --no, refuse."""
        found, principal = _hold(reference), _principal(as_user)
        if found.status == LegalHold.Status.RELEASE_REQUESTED:
            decide_release(principal=principal, hold=found, approve=not no)
        else:
            decide_hold(principal=principal, hold=found, approve=not no)
        found.refresh_from_db()
        typer.echo(f"{found.reference} is {found.status}.")

    @command()
    @answering
    def release(self, reference: HoldArgument, *, reason: ReasonOption, as_user: AsOption) -> None:
        """Ask that a hold ends; another person agrees with confirm."""
        request_release(principal=_principal(as_user), hold=_hold(reference), reason=reason)
        typer.echo(f"{reference} still holds until somebody else agrees.")

    @command()
    @answering
    def kept(self, reference: HoldArgument, output: FormatOption = OutputFormat.TEXT) -> None:
        """Count what a hold keeps, now; a worker does the same every hour for the hold's page."""
        print_rows(
            kept_by(_hold(reference)),
            columns=("class", "rows", "bytes", "whole"),
            output=output,
            empty=f"{reference} keeps nothing yet.",
        )

    @command(name="holds")
    @answering
    def list_holds(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """List legal holds."""
        rows = [
            {"hold": one.reference, "state": one.status, "kind": one.kind, "target": one.target, "reason": one.reason}
            for one in holds()
        ]
        print_rows(rows, columns=("hold", "state", "kind", "target", "reason"), output=output, empty="Nothing is held.")

    @command()
    @answering
    def about(
        self,
        username: Annotated[str, typer.Argument(help="The person.")],
        *,
        to: Annotated[Path | None, typer.Option(help="Write everything to this JSON file.")] = None,
        region: Annotated[str, typer.Option(help="Where the file goes; empty: it stays.")] = "",
        reason: Annotated[str, typer.Option(help="Needed when it leaves the region.")] = "",
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Show what is stored about a person; with --to, hand it out."""
        principal, user = _principal(as_user), _user(username)
        if to is not None:
            try:
                found = export_about(principal=principal, user=user, region=region, reason=reason)
            except ExportRefusedError as error:
                fail(str(error))
            to.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2, default=str))
        rows = [asdict(part) for part in stored_about(viewer=principal, user=user, in_records=True)]
        print_rows(rows, columns=("key", "name", "count", "erased", "because"), output=output, empty="Nothing.")

    @command()
    @answering
    def erase(
        self,
        username: Annotated[str, typer.Argument(help="The person.")],
        *,
        reason: ReasonOption,
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Erase a person as far as may be now, in this process, and say what stays and why."""
        made = request_erasure(principal=_principal(as_user), username=username, reason=reason)
        seal_pending()
        drain(ERASE_QUEUE)
        made = erasures().get(pk=made.pk)
        answer = {
            "state": made.status,
            "payloads_erased": made.payloads_erased,
            "payloads_kept": made.payloads_kept,
            "again_at": None if made.finished_at else made.due_at,
            "parts": made.outcome,
        }
        if output is OutputFormat.JSON:
            print_json(answer)
            return
        typer.echo(f"{made.status}: {made.payloads_erased} payloads are erased, {made.payloads_kept} are kept for now.")
        for part in made.outcome:
            typer.echo(f"  {part['name']}: {part['erased']} erased, {part['kept']} kept. {part['because']}".rstrip())

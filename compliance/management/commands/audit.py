"""`manage.py audit`: audits, who may read them, and evidence packs."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from compliance.models import Engagement, PackExport
from compliance.selectors import access_of, engagements_visible
from compliance.services import create_engagement, draw_sample, freeze_population, grant_auditor, request_export
from compliance.services.audits import EXPORT_QUEUE, note_download
from core.cli import (
    ExitCode,
    FormatOption,
    OutputFormat,
    RoomCommand,
    answering,
    fail,
    print_answer,
    print_json,
    print_rows,
)
from core.parsing import refuse
from core.work import drain
from ledger.services import artifact_path, seal_pending

AsOption = Annotated[str, typer.Option("--as", help="User name of the person who acts.")]
DATES = ["%Y-%m-%d"]


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        raise refuse("--as", found=username, allowed="the user name of a person is allowed")
    return principal_for_user(user=user)


def _engagement(principal: Principal, name: str) -> Engagement:
    found = engagements_visible(access=access_of(principal)).filter(slug=name).first()
    if found is None:
        fail(f"There is no engagement {name} that {principal.label} may read.")
    return found


class Command(RoomCommand):
    help = "Audits and evidence packs."

    @command(name="list")
    @answering
    def list_engagements(self, as_user: AsOption = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """List the audits."""
        rows = [
            {
                "name": one.slug,
                "title": one.name,
                "kind": one.kind,
                "frameworks": " ".join(framework.slug for framework in one.frameworks.all()),
                "from": f"{one.window_start:%Y-%m-%d}",
                "to": f"{one.window_end:%Y-%m-%d}",
            }
            for one in engagements_visible(access=access_of(_principal(as_user)))
        ]
        columns = ("name", "title", "kind", "frameworks", "from", "to")
        print_rows(rows, columns=columns, output=output, empty="No audit has been created; see `audit create --help`.")

    @command()
    @answering
    def create(  # noqa: PLR0917 the command line names them
        self,
        name: Annotated[str, typer.Argument(help="Slug of the audit.")],
        framework: Annotated[list[str], typer.Option(help="Slug of a framework; may stand several times.")],
        since: Annotated[datetime, typer.Option("--from", formats=DATES)],
        until: Annotated[datetime, typer.Option("--to", formats=DATES)],
        title: str = "",
        auditor: Annotated[list[str] | None, typer.Option(help="User name of a person with the role auditor.")] = None,
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Create an audit and let auditors read it until its window has been over for 90 days."""
        principal = _principal(as_user)
        start, end = since.replace(tzinfo=UTC), until.replace(tzinfo=UTC)
        made = create_engagement(
            principal=principal,
            slug=name,
            name=title or name,
            frameworks=framework,
            window_start=start,
            window_end=end,
        )
        for username in auditor or []:
            user = user_by_username(username=username)
            if user is None:
                raise refuse("--auditor", found=username, allowed="the user name of a person is allowed")
            grant_auditor(principal=principal, engagement=made, user_id=user.pk, expires_at=made.default_expiry())
        print_answer(
            {"audit": made.slug, "frameworks": framework, "from": start, "to": end, "auditors": auditor or []},
            output=output,
            text=f"{made.slug}: {', '.join(framework)}, {start:%Y-%m-%d} to {end:%Y-%m-%d}.",
        )

    @command()
    @answering
    def freeze(  # noqa: PLR0917 the command line names them
        self,
        name: Annotated[str, typer.Argument(help="Slug of the audit.")],
        population: Annotated[str, typer.Argument(help="Short name of the population.")],
        entry_type: Annotated[list[str], typer.Option("--type", help="Kind of entry; may stand several times.")],
        title: str = "",
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Freeze everything of these kinds in the audit's window so far, with its digest."""
        principal = _principal(as_user)
        seal_pending()
        made = freeze_population(
            principal=principal,
            engagement=_engagement(principal, name),
            slug=population,
            title=title or population,
            entry_types=entry_type,
        )
        answer = {"population": made.slug, "count": made.count, "digest": made.digest, "frozen_at": made.frozen_at}
        if output is OutputFormat.JSON:
            print_json(answer)
        else:
            typer.echo(f"{made.slug}: {made.count} entries, SHA-256 {made.digest}.")

    @command()
    @answering
    def sample(  # noqa: PLR0917 the command line names them
        self,
        name: Annotated[str, typer.Argument(help="Slug of the audit.")],
        population: Annotated[str, typer.Argument(help="Short name of the population.")],
        size: Annotated[int, typer.Option(min=1, help="How many to draw.")] = 25,
        seed: Annotated[str, typer.Option(help="Type your own; random without one.")] = "",
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Draw a sample from a frozen population; the same seed draws the same items."""
        principal = _principal(as_user)
        found = _engagement(principal, name).populations.filter(slug=population).first()
        if found is None:
            fail(f"There is no population {population} in {name}; freeze it first.")
        drawn = draw_sample(principal=principal, population=found, size=size, seed=seed)
        items = list(drawn.items.values_list("seq", flat=True))
        if output is OutputFormat.JSON:
            print_json({"population": population, "digest": found.digest, "seed": drawn.seed, "items": items})
        else:
            typer.echo(f"Seed {drawn.seed}: entries {', '.join(map(str, items))}.")

    @command()
    @answering
    def export(
        self,
        name: Annotated[str, typer.Argument(help="Slug of the audit.")],
        file: Annotated[Path, typer.Option("--output", "-o", help="Where to write the pack.")] = Path("pack.zip"),
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Make an evidence pack and write it to a file. Exit code 1: it could not be made, with the reason."""
        principal = _principal(as_user)
        export = request_export(principal=principal, engagement=_engagement(principal, name))
        seal_pending()
        drain(EXPORT_QUEUE)
        export.refresh_from_db()
        place = artifact_path(export.sha256) if export.state == PackExport.State.COMPLETED else None
        if place is None or not place.is_file():
            code = ExitCode.UNKNOWN if export.state == PackExport.State.WAITING else ExitCode.NO
            fail(f"The pack was not made: {export.last_error or export.step or export.state}", code)
        shutil.copyfile(place, file)
        note_download(principal=principal, export=export)
        answer = {
            "file": str(file),
            "entries": export.entries,
            "omissions": len(export.omissions),
            "sha256": export.sha256,
            "key": export.key,
        }
        if output is OutputFormat.JSON:
            print_json(answer)
        else:
            typer.echo(f"{file}: {export.entries} entries, {len(export.omissions)} omissions listed with reasons.")
            typer.echo(f"Verify with the key from outside the pack: python verify.py {file} --key '{export.key}'")

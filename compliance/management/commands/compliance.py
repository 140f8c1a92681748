"""`manage.py compliance`: how controls stand, running checks, loading content, scanning infrastructure code."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from django.utils.text import slugify
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from compliance.data import Access, Standing, Window
from compliance.models import Framework
from compliance.selectors import controls_visible, frameworks_visible, requirement_standings, window_to
from compliance.services import (
    Loaded,
    apply_documents,
    import_oscal,
    load_overlay,
    load_packaged,
    run_checks,
    scan_archive,
    scan_git,
    scan_path,
)
from compliance.services.retiring import retire_control
from compliance.services.tables import read_csv
from compliance.services.weaknesses import import_sarif
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.clock import database_now
from core.parsing import load_json, load_yaml_documents, refuse

AsOption = Annotated[str, typer.Option("--as", help="User name of the person who acts.")]
DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
COLUMNS = ("framework", "ref", "title", "standing", "passed_of_due", "controls")


def principal_named(username: str) -> Principal:
    """Return the person that `--as` names, or the command line itself."""
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        raise refuse("--as", found=username, allowed="the user name of a person is allowed")
    return principal_for_user(user=user)


def _framework(slug: str) -> Framework:
    found = Framework.objects.filter(slug=slug).first()
    if found is None:
        known = ", ".join(Framework.objects.values_list("slug", flat=True)) or "none; run `compliance load`"
        fail(f"There is no framework {slug}; there are: {known}.")
    return found


class Command(RoomCommand):
    help = "Frameworks, controls and what operations prove of them."

    @command()
    @answering
    def frameworks(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """List the frameworks with their requirements per category."""
        rows: list[dict[str, Any]] = []
        for one in frameworks_visible(access=Access(everything=True)):
            counts: dict[str, int] = {}
            for category in one.requirements.filter(retired_at__isnull=True).values_list("category", flat=True):
                counts[category] = counts.get(category, 0) + 1
            rows.append(
                {
                    "framework": one.slug,
                    "name": one.name,
                    "edition": one.edition,
                    "version": one.version,
                    "requirements": sum(counts.values()),
                    "categories": counts
                    if output is OutputFormat.JSON
                    else " ".join(f"{key}:{count}" for key, count in counts.items()),
                }
            )
        columns = ("framework", "edition", "version", "requirements", "categories")
        print_rows(rows, columns=columns, output=output, empty="No framework is loaded; run `compliance load`.")

    @command()
    @answering
    def status(
        self,
        framework: Annotated[str, typer.Option(help="Slug of one framework; all of them without it.")] = "",
        since: Annotated[datetime | None, typer.Option("--from", formats=DATES, help="Start, UTC.")] = None,
        until: Annotated[datetime | None, typer.Option("--to", formats=DATES, help="End, UTC, exclusive.")] = None,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Say how requirements that have controls stand. Exit code 1: at least one control does not operate."""
        _print_standings(framework, since=since, until=until, output=output)

    @command()
    @answering
    def evaluate(
        self,
        framework: Annotated[str, typer.Option(help="Slug of a framework.")],
        since: Annotated[datetime, typer.Option("--from", formats=DATES, help="Start, UTC.")],
        until: Annotated[datetime, typer.Option("--to", formats=DATES, help="End, UTC, exclusive.")],
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Run the checks, then judge a framework over a window. Exit code 1: at least one control does not operate."""
        _framework(framework)
        run_checks()
        _print_standings(framework, since=since, until=until, output=output)

    @command(name="check")
    @answering
    def run(
        self,
        control: Annotated[str, typer.Argument(help="Slug of a control; all of them without it.")] = "",
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Run the checks now."""
        if control and not controls_visible(access=Access(everything=True)).filter(slug=control).exists():
            fail(f"There is no control {control}.")
        changed = run_checks(principal=principal_named(as_user), control=control)
        if output is OutputFormat.JSON:
            print_json({"occurrences_changed": changed})
        else:
            typer.echo(f"{changed} occurrences are new or changed.")

    @command()
    @answering
    def load(
        self,
        paths: Annotated[list[Path] | None, typer.Argument(help="Files with `kind: Control`.")] = None,
        as_user: AsOption = "",
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Load the frameworks and controls that come with the site, or controls from files."""
        principal = principal_named(as_user)
        loaded: list[Loaded] = []
        if paths:
            documents = [one for path in paths for one in load_yaml_documents(_read(path), source=str(path))]
            source = ", ".join(map(str, paths))
            loaded.append(apply_documents(principal=principal, documents=documents, source=source, dry_run=dry_run))
        elif dry_run:
            fail("--dry-run works on files; name at least one.")
        else:
            loaded.append(load_packaged(principal=principal))
        answer = {
            "created": [name for one in loaded for name in one.created],
            "changed": [name for one in loaded for name in one.changed],
            "unchanged": [name for one in loaded for name in one.unchanged],
        }
        if output is OutputFormat.JSON:
            print_json(answer)
            return
        for word, names in answer.items():
            typer.echo(f"{len(names)} {word}" + (f": {', '.join(names)}" if names and word != "unchanged" else ""))

    @command()
    @answering
    def retire(
        self,
        control: Annotated[str, typer.Argument(help="Slug of a control in force.")],
        reason: Annotated[str, typer.Option(help="Why it no longer applies; the ledger keeps it.")],
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Take a control out of force. What had fallen due before still counts in windows that reach back to it."""
        found = controls_visible(access=Access(everything=True)).filter(slug=control).first()
        if found is None:
            fail(f"There is no control {control} in force.")
        row = retire_control(principal=principal_named(as_user), control=found, reason=reason)
        if output is OutputFormat.JSON:
            print_json({"control": row.slug, "retired_at": row.retired_at, "reason": row.retired_reason})
        else:
            typer.echo(f"{row.slug} is out of force. Declaring it from a file brings it back.")

    @command(name="import-oscal")
    @answering
    def import_oscal(  # noqa: PLR0917 the command line names them
        self,
        path: Annotated[Path, typer.Argument(help="OSCAL catalog or profile, JSON.")],
        slug: Annotated[str, typer.Option(help="Short name of the framework; by default from its title.")] = "",
        catalog: Annotated[list[Path] | None, typer.Option(help="Catalog that a profile imports.")] = None,
        name: Annotated[str, typer.Option(help="Name to show; by default the document's title.")] = "",
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Load a framework from OSCAL; the same slug again is an upgrade. Texts stay private to this site."""
        raw = _read(path)
        made = import_oscal(
            principal=principal_named(as_user),
            raw=raw,
            slug=slug or _slug_of(raw, path),
            source=str(path),
            catalogs={one.name: _read(one) for one in catalog or []},
            name=name,
        )
        answer = {
            "framework": made.framework.slug if made else slug or _slug_of(raw, path),
            "version": made.number if made else None,
            "requirements": made.requirements if made else None,
            "added": len(made.added) if made else 0,
            "retired": len(made.retired) if made else 0,
            "changed": len(made.changed) if made else 0,
        }
        if output is OutputFormat.JSON:
            print_json(answer)
        elif made is None:
            typer.echo(f"{answer['framework']}: this content is loaded already.")
        else:
            typer.echo(
                f"{made.framework.slug} version {made.number}: {made.requirements} requirements, "
                f"{answer['added']} new, {answer['retired']} retired, {answer['changed']} with another title."
            )

    @command()
    @answering
    def overlay(
        self,
        framework: Annotated[str, typer.Argument(help="Slug of a framework.")],
        path: Annotated[Path, typer.Argument(help="CSV with the columns ref and text.")],
        as_user: AsOption = "",
    ) -> None:
        """Keep licensed texts of a standard for this site's readers. Exports never include them."""
        rows = read_csv(_read(path), source=str(path), columns=("ref", "text"))
        texts = {row["ref"]: row["text"] for row in rows}
        count = load_overlay(
            principal=principal_named(as_user), framework=_framework(framework), texts=texts, source=str(path)
        )
        typer.echo(f"{count} texts are kept; they stay on this site.")

    @command()
    @answering
    def scan(
        self,
        path: Annotated[str, typer.Argument(help="Folder, ZIP or tar archive, or https:// address of a repository.")],
        commit: Annotated[str, typer.Option(help="Commit that the folder or archive holds.")] = "",
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Scan infrastructure code with Checkov. Exit code 1: failed checks; 3: the scan proves nothing."""
        principal, place = principal_named(as_user), Path(path)
        if path.startswith("https://"):
            found = scan_git(principal=principal, url=path, ref=commit)
        elif place.is_file():
            found = scan_archive(principal=principal, content=_read(place), name=path, commit=commit)
        else:
            found = scan_path(principal=principal, path=place, commit=commit)
        judged = found.judged
        if output is OutputFormat.JSON:
            counts = {name: vars(one) for name, one in judged.categories.items()}
            shown = {key: value for key, value in vars(judged).items() if key not in {"kept", "skipped", "categories"}}
            skipped = [vars(one) for one in judged.skipped]
            print_json({"root": found.root, **shown, "categories": counts, "skipped": skipped})
        else:
            typer.echo(
                f"{judged.passed} passed, {judged.failed} failed, {len(judged.skipped)} skipped "
                f"({len(judged.unexcused)} without an approved exception) in {judged.resources} resources: "
                f"{'valid' if found.valid else 'NOT VALID'}, {found.reason}."
            )
        if not found.valid:
            raise typer.Exit(ExitCode.UNKNOWN)
        if judged.failed or judged.unexcused:
            raise typer.Exit(ExitCode.NO)

    @command()
    @answering
    def sarif(
        self,
        path: Annotated[Path, typer.Argument(help="SARIF 2.1.0 report of a scanner.")],
        scope: Annotated[str, typer.Option(help="What was scanned, as repo:gateway.")],
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Take in what another scanner found. Exit code 1: it found something."""
        made = import_sarif(principal=principal_named(as_user), raw=_read(path), scope=scope, source=str(path))
        rows = [{"report": one.reference, "tool": one.tool, "findings": one.results} for one in made]
        print_rows(rows, columns=("report", "tool", "findings"), output=output, empty="No run is in the report.")
        if any(one.results for one in made):
            raise typer.Exit(ExitCode.NO)


def _print_standings(framework: str, *, since: datetime | None, until: datetime | None, output: OutputFormat) -> None:
    now = database_now()
    window = window_to(now)
    if since or until:
        start = since.replace(tzinfo=UTC) if since else window.start
        window = Window(start, until.replace(tzinfo=UTC) if until else now)
    if window.end <= window.start:
        raise refuse("--to", found=window.end.isoformat(), allowed="an instant after --from is allowed")
    chosen = [_framework(framework)] if framework else list(frameworks_visible(access=Access(everything=True)))
    rows = [
        {
            "framework": one.slug,
            "ref": found.ref,
            "title": found.label,
            "standing": found.judgement.standing.value,
            "passed_of_due": found.judgement.counted,
            "reason": found.judgement.reason,
            "controls": [control.slug for control in found.controls]
            if output is OutputFormat.JSON
            else " ".join(control.slug for control in found.controls),
        }
        for one in chosen
        for found in requirement_standings(one, window=window, now=now)
        if found.controls or output is OutputFormat.JSON
    ]
    print_rows(rows, columns=COLUMNS, output=output, empty="No control is declared; run `compliance load`.")
    if any(row["standing"] == Standing.NOT_OPERATING.value for row in rows):
        raise typer.Exit(ExitCode.NO)


def _slug_of(raw: bytes, path: Path) -> str:
    data = load_json(raw, source=str(path), max_bytes=len(raw) + 1)
    document: Any = next(iter(data.values()), {}) if isinstance(data, dict) else {}
    metadata = document.get("metadata", {}) if isinstance(document, dict) else {}
    return slugify(str(metadata.get("title", "")) or path.stem)[:63].strip("-")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise refuse(str(path), found=error.strerror or "an error", allowed="a readable file is allowed") from None

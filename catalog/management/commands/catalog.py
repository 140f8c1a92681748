"""`manage.py catalog`: what the organization runs, from YAML."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import command

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_username
from catalog.selectors import dependencies, service_by_slug, services_visible
from catalog.services import apply_documents
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_json, print_rows
from core.parsing import load_yaml_documents, refuse

AsOption = Annotated[str, typer.Option("--as", help="User name of the person who acts.")]


def _principal(username: str) -> Principal:
    if not username:
        return system_principal("cli")
    user = user_by_username(username=username)
    if user is None:
        raise refuse("--as", found=username, allowed="the user name of a person is allowed")
    return principal_for_user(user=user)


class Command(RoomCommand):
    help = "Services, teams, environments and what needs what."

    @command(name="list")
    @answering
    def list_services(self, as_user: AsOption = "", output: FormatOption = OutputFormat.TEXT) -> None:
        """List the services."""
        rows = [
            {
                "slug": one.slug,
                "name": one.name,
                "tier": one.tier,
                "team": one.team.slug if one.team else "",
                "environment": one.environment.slug,
                "region": one.region.slug if one.region else "",
                "lifecycle": one.lifecycle,
            }
            for one in services_visible(viewer=_principal(as_user))
        ]
        columns = ("slug", "name", "tier", "team", "environment", "region", "lifecycle")
        print_rows(rows, columns=columns, output=output, empty="No service is known; apply one with `catalog apply`.")

    @command()
    @answering
    def show(
        self,
        slug: Annotated[str, typer.Argument(help="Slug of a service.")],
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Show one service. Exit code 1: there is none."""
        one = service_by_slug(slug=slug)
        if one is None:
            fail(f"There is no service {slug}.", ExitCode.NO)
        edges = dependencies()
        answer = {
            "slug": one.slug,
            "name": one.name,
            "description": one.description,
            "team": one.team.slug if one.team else "",
            "environment": one.environment.slug,
            "region": one.region.slug if one.region else "",
            "tier": one.tier,
            "lifecycle": one.lifecycle,
            "rto": None if one.rto is None else str(one.rto),
            "rpo": None if one.rpo is None else str(one.rpo),
            "needs": [provider for consumer, provider in edges if consumer == slug],
            "needed_by": [consumer for consumer, provider in edges if provider == slug],
        }
        if output is OutputFormat.JSON:
            print_json(answer)
            return
        for key, value in answer.items():
            typer.echo(f"{key:12} {', '.join(value) if isinstance(value, list) else value or '—'}")

    @command()
    @answering
    def graph(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """List which service needs which."""
        rows = [{"consumer": consumer, "provider": provider} for consumer, provider in sorted(dependencies())]
        columns = ("consumer", "provider")
        print_rows(rows, columns=columns, output=output, empty="No service needs another.")

    @command()
    @answering
    def apply(
        self,
        paths: Annotated[list[Path], typer.Argument(help="YAML files, applied together or not at all.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
        as_user: AsOption = "",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Create or update teams, regions, environments and services.

        Reads Assay's own kinds and Backstage's catalog-info.yaml (Component, Resource, Group).
        """
        documents = [one for path in paths for one in load_yaml_documents(_read(path), source=str(path))]
        source = ", ".join(map(str, paths))
        done = apply_documents(principal=_principal(as_user), documents=documents, source=source, dry_run=dry_run)
        if output is OutputFormat.JSON:
            print_json(asdict(done))
            return
        for word, names in (("created", done.created), ("changed", done.changed), ("unchanged", done.unchanged)):
            typer.echo(f"{len(names)} {word}" + (f": {', '.join(names)}" if names and word != "unchanged" else ""))
        for one in done.differences:
            typer.echo(f"  {one.name} {one.field}: {one.before} -> {one.after}")
        for note in done.notes:
            typer.echo(f"  note: {note}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise refuse(str(path), found=error.strerror or "an error", allowed="a readable file is allowed") from None

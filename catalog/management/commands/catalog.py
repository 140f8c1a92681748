"""`manage.py catalog`: services, teams, environments and regions."""

from pathlib import Path
from typing import Annotated

import typer
from django_typer.management import TyperCommand, command

from accounts.data import system_principal
from catalog.selectors import services_visible
from catalog.services import apply_documents
from core.cli import FormatOption, OutputFormat, answering, print_json, print_rows
from core.parsing import load_yaml_documents


class Command(TyperCommand):
    help = "What the organization runs and who owns it."

    @command(name="list")
    @answering
    def list_services(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print all services."""
        rows = [
            {
                "slug": service.slug,
                "name": service.name,
                "tier": service.tier,
                "team": service.team.slug if service.team else None,
                "environment": service.environment.slug,
            }
            for service in services_visible(viewer=system_principal("cli"))
        ]
        print_rows(
            rows,
            columns=("slug", "name", "tier", "team", "environment"),
            output=output,
            empty="No services yet. Apply a file: manage.py catalog apply catalog.yaml",
        )

    @command()
    @answering
    def apply(
        self,
        path: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A YAML file, one or more documents.")],
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Create or update what a file says, all or nothing."""
        documents = load_yaml_documents(path.read_bytes(), source=path.name)
        applied = apply_documents(
            principal=system_principal("cli"), documents=documents, source=path.name, dry_run=dry_run
        )
        if output is OutputFormat.JSON:
            print_json(vars(applied))
        else:
            for word, names in vars(applied).items():
                typer.echo(f"{word}: {', '.join(names) or '—'}")

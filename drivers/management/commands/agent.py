"""`manage.py agent`: agents on other hosts."""

import json
from pathlib import Path
from typing import Annotated

import typer
from django.conf import settings
from django_typer.management import command

from accounts.data import system_principal
from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, fail, print_rows
from drivers.agent.bundle import build_agent, platform_of_bundle
from drivers.models import Agent
from drivers.services.agents import add_agent, revoke_agent

Slug = Annotated[str, typer.Argument(help="The agent's name; actions name it as on_host.")]


class Command(RoomCommand):
    help = "Agents: the same actions on other hosts."

    @command(name="list")
    @answering
    def list_agents(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print agents and when each was heard."""
        rows = [
            {
                "agent": one.slug,
                "host": one.host.get("hostname"),
                "heard_at": one.heard_at.isoformat(timespec="seconds") if one.heard_at else None,
                "state": "revoked" if one.revoked_at else "added" if one.heard_at is None else "known",
                "faults": len(one.faults),
            }
            for one in Agent.objects.all()
        ]
        columns = ("agent", "host", "heard_at", "state", "faults")
        print_rows(rows, columns=columns, output=output, empty="No agents yet: manage.py agent add NAME")

    @command()
    @answering
    def build(self, path: Annotated[Path, typer.Argument(help="Where the file is written.")]) -> None:
        """Write the agent as one executable file, for hosts with this platform and version of Python."""
        size = build_agent(path)
        typer.echo(f"{path}: {size / 1_000_000:.1f} MB, for {platform_of_bundle()}")

    @command()
    @answering
    def add(
        self, name: Slug, site: Annotated[str, typer.Option(help="Address that the host reaches this site by.")] = ""
    ) -> None:
        """Add an agent and print its configuration file, once; for one that is known, new secrets."""
        _, secrets = add_agent(principal=system_principal("cli"), slug=name)
        typer.echo(json.dumps({"site": site or settings.SITE_URL, **secrets}, indent=2))

    @command()
    @answering
    def revoke(self, name: Slug) -> None:
        """Refuse an agent from now on. Exit code 1: it was not accepted."""
        if not revoke_agent(principal=system_principal("cli"), slug=name):
            fail("There is no such agent that is accepted.", ExitCode.NO)

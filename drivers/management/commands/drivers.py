"""`manage.py drivers`: typed actions, and what one would do."""

from typing import Annotated

import typer
from django_typer.management import command

from core.cli import ExitCode, FormatOption, OutputFormat, RoomCommand, answering, print_json, print_rows
from core.parsing import load_json
from drivers.services import actions, described_action, plan_action, plan_as_json, probe_action, risk_of_action


class Command(RoomCommand):
    help = "Typed actions on real systems."

    @command(name="list")
    @answering
    def list_actions(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Print every action; as JSON with the schema of its arguments."""
        rows = [described_action(action) for action in actions().values()]
        columns = ("action", "risk", "reversible", "description")
        print_rows(rows, columns=columns, output=output, empty="No actions.")

    @command()
    @answering
    def plan(
        self,
        name: Annotated[str, typer.Argument(help="The action.")],
        arguments: Annotated[str, typer.Argument(help="Its arguments as JSON.")] = "{}",
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Print the real targets and what would be done to them. Exit code 1: not possible here, or no target."""
        parsed = load_json(arguments.encode(), source="arguments")
        plan, support = plan_action(name, parsed), probe_action(name, parsed)
        if output is OutputFormat.JSON:
            print_json(
                {
                    "action": name,
                    "risk": risk_of_action(name, parsed),
                    **plan_as_json(plan),
                    "supported": support.supported,
                    "reason": support.reason,
                }
            )
        else:
            typer.echo(plan.summary)
            for line in plan.commands:
                typer.echo(f"  {line}")
            typer.echo(f"  undo: {plan.undo or 'none, one way'}")
            if not support.supported:
                typer.echo(f"  not possible here: {support.reason}")
        if not support.supported or not plan.targets:
            raise typer.Exit(ExitCode.NO)

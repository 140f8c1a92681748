"""`manage.py demo`: the demo organization and its stack."""

from typing import Annotated

import typer
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django_typer.management import command

from core.cli import (
    ExitCode,
    FormatOption,
    OutputFormat,
    RoomCommand,
    answering,
    expecting_errors,
    fail,
    print_json,
    print_rows,
)
from core.supervisor import AlreadyRunningError, PortTakenError, Supervisor
from demo.services import (
    LOADER,
    PASSWORD,
    PEOPLE,
    Practice,
    PracticeError,
    Story,
    StoryError,
    collector_token,
    demo_processes,
    load_organization,
    load_prometheus,
)
from demo.services.serving import PROMETHEUS_PORT_OFFSET


class Command(RoomCommand):
    help = "The demo: an organization, and a stack of real services that it runs."

    @command()
    @answering
    def load(self, output: FormatOption = OutputFormat.TEXT) -> None:
        """Create or update the demo organization; again changes nothing."""
        call_command("migrate", verbosity=0)
        said: list[str] = []
        load_organization(
            port=settings.ENVIRONMENT.port, say=said.append if output is OutputFormat.JSON else typer.echo
        )
        if output is OutputFormat.JSON:
            print_json({"loaded": [line.strip() for line in said]})

    @command()
    @expecting_errors
    def serve(
        self,
        port: Annotated[int, typer.Option(help="Port of the web server; the stack uses those 90 to 105 above.")] = (
            settings.ENVIRONMENT.port
        ),
    ) -> None:
        """Load the organization and run the site, the stack and Prometheus (where installed) until Ctrl-C."""
        typer.echo("Preparing the database and the demo organization …")
        call_command("migrate", verbosity=0)
        load_organization(port=port, say=typer.echo)
        token = collector_token(principal=LOADER)
        processes = demo_processes(port=port, token=token, state_dir=settings.STATE_DIR)
        if any(process.name == "prometheus" for process in processes):
            load_prometheus(port=port + PROMETHEUS_PORT_OFFSET)
        typer.echo(f"Starting {len(processes)} processes; their logs are in {settings.STATE_DIR / 'log'} …")
        supervisor = Supervisor(processes, log_dir=settings.STATE_DIR / "log", say=typer.echo)
        try:
            supervisor.run(on_ready=lambda: typer.echo(_welcome(port)))
        except (AlreadyRunningError, PortTakenError) as error:
            fail(str(error), ExitCode.WRONG_USE)

    @command()
    @answering
    def story(
        self,
        times: Annotated[int, typer.Option(min=1, max=20, help="How often, one after the other.")] = 1,
        watch: Annotated[bool, typer.Option(help="Act for nobody: say who has to do what, and watch.")] = False,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Tell the story on the running site, from a chaos run to the auditor's pack. Exit code 1: it broke off."""
        stories: list[dict[str, object]] = []
        broke_off = ""
        for number in range(times):
            steps: list[str] = []
            if output is OutputFormat.TEXT:
                typer.echo(f"Story {number + 1} of {times}")
            try:
                Story(say=steps.append if output is OutputFormat.JSON else typer.echo, watch=watch).tell()
            except (StoryError, PermissionDenied) as error:
                broke_off = str(error)
            stories.append({"passed": not broke_off, "broke_off": broke_off, "steps": [step.strip() for step in steps]})
            if broke_off:
                break
        if output is OutputFormat.JSON:
            print_json(stories)
        if broke_off:
            fail(broke_off, ExitCode.NO)

    @command()
    @answering
    def practise(
        self,
        port: Annotated[int, typer.Option(help="Port of the running site.")] = settings.ENVIRONMENT.port,
        output: FormatOption = OutputFormat.TEXT,
    ) -> None:
        """Let the organization do to Assay itself what its controls ask: sign-in, review, scan, restore. Exit code 1:
        something could not be done.
        """
        said: list[str] = []
        say = said.append if output is OutputFormat.JSON else typer.echo
        try:
            rows = Practice(site=f"http://127.0.0.1:{port}", say=say).go()
        except (PracticeError, PermissionDenied) as error:
            fail(str(error), ExitCode.NO)
        columns = ("framework", "ref", "standing", "counted", "reason")
        if output is OutputFormat.JSON:
            print_json({"done": said, "requirements": rows})
        else:
            print_rows(rows, columns=columns, output=output, empty="No framework is loaded.")


def _welcome(port: int) -> str:
    width = max(len(person.username) for person in PEOPLE)
    people = "\n".join(f"    {person.username.ljust(width)}  {person.does}" for person in PEOPLE)
    return (
        f"\n  Assay is at http://127.0.0.1:{port}/\n\n"
        f"  Sign in as one of these, password {PASSWORD}:\n{people}\n\n"
        "  Look first at /slos/: the numbers come from the running stack.\n"
        "  manage.py demo practise lets the organization do to Assay itself what its controls ask.\n"
        "  Ctrl-C stops everything. What was recorded stays; make run FRESH=1 starts over.\n"
    )

"""`manage.py serve`: the whole site on this machine."""

from typing import Annotated

import typer
from django.conf import settings
from django.core.management import call_command

from core.cli import ExitCode, RoomCommand, fail
from core.serving import prometheus_process, site_processes
from core.supervisor import AlreadyRunningError, PortTakenError, Supervisor


class Command(RoomCommand):
    help = "Run web server, worker and scheduler (and Prometheus, where it is installed) until Ctrl-C."

    def handle(
        self,
        port: Annotated[int, typer.Option(help="Port of the web server.")] = settings.ENVIRONMENT.port,
        prometheus_port: Annotated[int, typer.Option(help="Port of Prometheus; 0: without.")] = 0,
    ) -> None:
        call_command("migrate", verbosity=0)
        processes = site_processes(port=port)
        if prometheus_port:
            prometheus = prometheus_process(port=prometheus_port, scrape={"assay": port}, state_dir=settings.STATE_DIR)
            processes += [prometheus] if prometheus else []
        supervisor = Supervisor(processes, log_dir=settings.STATE_DIR / "log", say=typer.echo)
        try:
            supervisor.run(on_ready=lambda: typer.echo(f"Assay is at http://127.0.0.1:{port}/"))
        except (AlreadyRunningError, PortTakenError) as error:
            fail(str(error), ExitCode.WRONG_USE)

"""`manage.py chaos_runner RUN`: run one run to its end. Started by the worker, not by hand."""

from typing import Annotated

import typer

from chaos.engine import run_to_the_end
from core.cli import RoomCommand


class Command(RoomCommand):
    help = "Run one chaos run to its end (the worker starts this)."

    def handle(self, reference: Annotated[str, typer.Argument(help="The run.")]) -> None:
        run_to_the_end(reference)

"""`manage.py prober`: run the probes of one location."""

import signal
import threading
from types import FrameType
from typing import Annotated

import typer

from core.cli import RoomCommand, fail
from reliability.services import Prober, is_location


class Command(RoomCommand):
    help = "Run the probes of a location as they fall due. Any number may run; those of one location share the work."

    def handle(
        self,
        location: Annotated[
            str, typer.Option(help="Where this prober is, as SLOs name it; without it, help the site's workers.")
        ] = "",
    ) -> None:
        if location and not is_location(location):
            fail(f"{location} is no name of a location: small letters, digits and hyphens, at most 40, as eu-west.")
        stop = threading.Event()

        def on_signal(_signal: int, _frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        Prober(location, stop).run()

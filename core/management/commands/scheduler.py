"""`manage.py scheduler`: wake workers for due rows, every second."""

import signal
import threading
from types import FrameType

from core.cli import RoomCommand
from core.scheduling import Scheduler


class Command(RoomCommand):
    help = "Look for due rows every second and wake workers. Any number may run; one is enough."

    def handle(self) -> None:
        stop = threading.Event()

        def on_signal(_signal: int, _frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        Scheduler(stop).run()

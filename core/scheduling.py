"""Look for due rows every second and wake workers; where wake-ups are not heard, do the work here."""

import logging
import threading
import time
from datetime import timedelta

from django.db import DatabaseError, close_old_connections

from core.beats import beat
from core.context import site_version
from core.holding import site_is_held
from core.periodic import ensure_jobs
from core.releases import enter_release
from core.tasks import send_wake_up
from core.work import drain, oldest_overdue, queue_formats, runs_while_held

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 1.0
# A row this long overdue says that nobody hears the wake-ups: the broker or the workers are gone.
UNHEARD_AFTER = timedelta(seconds=8)
# A wake-up is repeated only after this long, so that a busy worker does not find a heap of them.
REPEAT_AFTER_SECONDS = 2.0


class Scheduler:
    """One sweep after the other until `stop` is set. Two schedulers at once are harmless."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._woken: dict[str, float] = {}

    def run(self) -> None:
        """Sweep until told to stop; a database that does not answer is asked again."""
        ready = False
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                if not ready:
                    ensure_jobs()
                    enter_release(version=site_version(), formats=queue_formats(), by="system:scheduler")
                    ready = True
                self.sweep()
                beat("scheduler")
            except DatabaseError as error:
                logger.warning("the database did not answer: %s", error)
                close_old_connections()
            self._stop.wait(max(SWEEP_SECONDS - (time.monotonic() - started), 0.05))

    def sweep(self) -> None:
        """Wake a worker for each queue that has due rows; help with those that nobody seems to hear of.

        A worker is woken for these too: a backlog is overdue while all is well, and takes more than one to work off.
        """
        now = time.monotonic()
        held = site_is_held()
        for queue, age in oldest_overdue().items():
            if held and not runs_while_held(queue):
                continue
            if age > UNHEARD_AFTER:
                logger.warning("%s: the oldest row is %.0f s overdue; draining it here", queue, age.total_seconds())
                drain(queue, limit=50)
            if now - self._woken.get(queue, 0.0) >= REPEAT_AFTER_SECONDS:
                self._woken[queue] = now
                send_wake_up(queue)

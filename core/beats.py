"""Signs of life of web processes, schedulers and workers: their releases, and how their clocks stand."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, close_old_connections, connection, models
from django.utils import timezone

from core.clock import database_now
from core.context import site_version

EVERY_SECONDS = 15.0
FORGOTTEN_AFTER = timedelta(days=1)
SILENT_AFTER = timedelta(seconds=90)

logger = logging.getLogger(__name__)

_last: dict[str, float] = {}


class ProcessBeat(models.Model):
    """A process that works for the site, when it was last heard of, and its clock against the database's."""

    name = models.CharField(max_length=120, unique=True, help_text="Kind, host and process number.")
    kind = models.CharField(max_length=20)
    host = models.CharField(max_length=80)
    location = models.CharField(max_length=40, blank=True, default="", help_text="Of a prober: where it probes from.")
    release = models.CharField(max_length=40)
    seen_at = models.DateTimeField()
    clock_offset = models.DurationField(help_text="Its own clock less the database's.")

    class Meta:
        app_label = "core"
        ordering = ("kind", "name")

    def __str__(self) -> str:
        return self.name


def beat(kind: str, *, location: str = "") -> None:
    """Say that this process lives: at most once in fifteen seconds, whoever asks for it."""
    now = time.monotonic()
    if now - _last.get(kind, float("-inf")) < EVERY_SECONDS:
        return
    _last[kind] = now
    host = socket.gethostname()[:80]
    there = database_now()
    ProcessBeat.objects.update_or_create(
        name=f"{kind}:{host}:{os.getpid()}"[:120],
        defaults={
            "kind": kind,
            "host": host,
            "location": location,
            "release": site_version(),
            "seen_at": there,
            "clock_offset": timezone.now() - there,
        },
    )
    ProcessBeat.objects.filter(seen_at__lt=there - FORGOTTEN_AFTER).delete()


_expected: list[Callable[[], Iterable[str]]] = []


def expect_probers(locations: Callable[[], Iterable[str]]) -> None:
    """Register who knows from which locations something is to be probed."""
    _expected.append(locations)


def expected_locations() -> set[str]:
    """Return the locations in which a prober has something to do."""
    return {one for locations in _expected for one in locations()}


def beat_beside(kind: str) -> threading.Thread:
    """Beat beside what this process does until it ends; for one that does nothing by itself, as a web process."""
    thread = threading.Thread(target=_go_on, args=(kind,), name=f"beat-{kind}", daemon=True)
    thread.start()
    return thread


def _go_on(kind: str) -> None:
    while True:
        try:
            close_old_connections()
            beat(kind)
        except (DatabaseError, InterfaceError) as error:
            logger.info("no sign of life could be stored: %s", error)
        finally:
            connection.close()
        time.sleep(EVERY_SECONDS)

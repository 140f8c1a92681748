"""Figures about the site itself, for a monitoring system that scrapes `/metrics`.

A room registers what it can say of itself in its own `figures.py`. Figures are counts and ages, never names of people,
services or destinations: `/metrics` needs no sign-in.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from django.db import DatabaseError
from prometheus_client import CollectorRegistry, Gauge

from core.health import Readiness, readiness

# Whoever asks more often gets the same figures: the page is open to anybody.
KEPT_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Figure:
    """One number, its name without the prefix, and what it says."""

    name: str
    says: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """What a room can say of itself; `of_database` is not asked while the database does not answer."""

    name: str
    read: Callable[[], Iterable[Figure]]
    of_database: bool


_parts: dict[str, Part] = {}
_kept: list[tuple[float, CollectorRegistry]] = []
_asking = threading.Lock()


def figures(
    name: str, *, of_database: bool = True
) -> Callable[[Callable[[], Iterable[Figure]]], Callable[[], Iterable[Figure]]]:
    """Register the decorated function as a part. Raises ValueError when the name is taken."""

    def register(read: Callable[[], Iterable[Figure]]) -> Callable[[], Iterable[Figure]]:
        if name in _parts:
            raise ValueError(f"figures {name!r} are registered twice")
        _parts[name] = Part(name, read, of_database)
        return read

    return register


def measured() -> CollectorRegistry:
    """Return all figures, at most five seconds old. A part that fails is named by `assay_part_unanswered`."""
    with _asking:
        if not _kept or time.monotonic() - _kept[0][0] > KEPT_SECONDS:
            _kept[:] = [(time.monotonic(), _measure())]
        return _kept[0][1]


def forget_figures() -> None:
    """Make the next look measure again (for tests)."""
    _kept.clear()


def _measure() -> CollectorRegistry:
    found = readiness()
    gauges = _Gauges()
    gauges.put(Figure("ready", "1 when the site can serve.", float(found.ready)))
    for one in _of_queues(found):
        gauges.put(one)
    unanswered = "1 when this part of the figures could not be asked."
    for part in _parts.values():
        if part.of_database and not found.ready:
            gauges.put(Figure("part_unanswered", unanswered, 1.0, {"part": part.name}))
            continue
        failed = 0.0
        try:
            for one in part.read():
                gauges.put(one)
        except (DatabaseError, OSError) as error:
            logger.warning("figures of %s: %s", part.name, error)
            failed = 1.0
        gauges.put(Figure("part_unanswered", unanswered, failed, {"part": part.name}))
    return gauges.registry


def _of_queues(found: Readiness) -> Iterable[Figure]:
    waited = "How long the oldest due row has waited."
    for queue, seconds in found.overdue_seconds.items():
        yield Figure("queue_oldest_overdue_seconds", waited, seconds, {"queue": queue})
    for queue, count in found.dead.items():
        yield Figure("queue_dead_rows", "Rows given up, waiting for a person.", count, {"queue": queue})


class _Gauges:
    """Gauges by name, made when their first number comes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Gauge] = {}

    def put(self, one: Figure) -> None:
        gauge = self._made.get(one.name)
        if gauge is None:
            gauge = Gauge(f"assay_{one.name}", one.says, list(one.labels), registry=self.registry)
            self._made[one.name] = gauge
        (gauge.labels(**one.labels) if one.labels else gauge).set(one.value)

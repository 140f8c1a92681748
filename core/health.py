"""Whether this process lives, whether the site can serve, and how it does in figures."""

import time
from dataclasses import dataclass
from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from core.migrating import pending_and_unknown
from core.work import dead_counts, oldest_overdue

OVERDUE_LIMIT = timedelta(minutes=5)
DEAD_FOR_SECONDS = 30.0

_dead_at: list[tuple[float, dict[str, int]]] = []


@dataclass(frozen=True)
class Readiness:
    """What readiness depends on; `problems` names what does not hold."""

    problems: tuple[str, ...]
    overdue_seconds: dict[str, float]
    dead: dict[str, int]

    @property
    def ready(self) -> bool:
        """Say whether the site can serve."""
        return not self.problems


def readiness() -> Readiness:
    """Ask the database, its migrations and the queues. A queue that is late is shown; it does not stop serving."""
    try:
        missing, _ = pending_and_unknown(connections[DEFAULT_DB_ALIAS])
        if missing:
            return Readiness((f"{len(missing)} migrations are not applied; run manage.py site upgrade",), {}, {})
        overdue = {name: age.total_seconds() for name, age in oldest_overdue().items()}
        return Readiness((), overdue, _given_up())
    except DatabaseError as error:
        return Readiness((f"the database did not answer: {type(error).__name__}",), {}, {})


def forget_readiness() -> None:
    """Make the next look ask everything again (for tests)."""
    _dead_at.clear()


def _given_up() -> dict[str, int]:
    """Count rows given up, at most twice a minute: large queues are counted whole, and probes come every second."""
    now = time.monotonic()
    if not _dead_at or now - _dead_at[0][0] > DEAD_FOR_SECONDS:
        _dead_at[:] = [(now, dead_counts())]
    return _dead_at[0][1]

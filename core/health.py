"""Whether this process lives, whether the site can serve, and how it does in figures."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections

from core.migrating import pending_and_unknown
from core.work import dead_counts, oldest_overdue

OVERDUE_LIMIT = timedelta(minutes=5)


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
            return Readiness((f"{len(missing)} migrations are not applied; run manage.py migrate",), {}, {})
        overdue = {name: age.total_seconds() for name, age in oldest_overdue().items()}
        return Readiness((), overdue, dead_counts())
    except DatabaseError as error:
        return Readiness((f"the database did not answer: {type(error).__name__}",), {}, {})

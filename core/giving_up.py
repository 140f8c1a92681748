"""Rows that were given up: which, why, and what a person does with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from core.clock import database_now
from core.leases import revive
from core.work import GIVEN_UP, queue_named, wake


@dataclass(frozen=True)
class GivenUp:
    """A row that is not tried any more. `what` is its own name."""

    queue: str
    key: int
    what: str
    since: datetime
    attempts: int
    error: str


def given_up_rows(queue: str, *, most: int = 200) -> list[GivenUp]:
    """Return the rows of a queue that wait for a person, the latest first."""
    rows = queue_named(queue).queryset().filter(GIVEN_UP).order_by("-dead_at", "-pk")[:most]
    return [GivenUp(queue, row.pk, str(row), row.dead_at, row.attempts, row.last_error) for row in rows if row.dead_at]


def try_again(queue: str, *, keys: Sequence[int]) -> int:
    """Make rows due again at once, with all their attempts; returns how many."""
    with transaction.atomic():
        count = revive(queue_named(queue).queryset().filter(GIVEN_UP), keys=keys)
        wake(queue)
    return count


def set_aside(queue: str, *, keys: Sequence[int]) -> int:
    """Leave rows undone for good: they are kept, and nobody is told of them any more; returns how many."""
    rows = queue_named(queue).queryset().filter(GIVEN_UP, pk__in=keys)
    return rows.update(finished_at=database_now())

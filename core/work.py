"""Queues of due rows and the loop that drains them.

An app registers a queue in its `tasks.py`. A commit wakes a Celery worker, which drains the queue; the scheduler
looks for due rows every second and wakes again, so a lost message costs a second, never the work.
"""

import contextlib
import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from django.db import models, transaction
from django.db.models import Q, QuerySet

from core.clock import database_now
from core.counting import counts_of, counts_since
from core.database_trouble import trouble_of
from core.holding import site_is_held
from core.leases import LeasedModel, StaleFenceError, claim_due, due_q, finish, give_up, retry_later
from core.releases import newer_format

logger = logging.getLogger(__name__)

Row = TypeVar("Row", bound=LeasedModel)

BACKOFF = (1, 5, 15, 60, 300, 900, 3600)
CUT_OFF_DELAY = timedelta(seconds=5)
# What a person has set aside is finished besides.
GIVEN_UP = Q(dead_at__isnull=False, finished_at__isnull=True)


@dataclass(frozen=True)
class WorkQueue(Generic[Row]):
    """One kind of due rows and what to do with each.

    `handle` gets a claimed row. With `transactional` it runs in one transaction with the settling of the row, so its
    effects in the database happen exactly once; without it, `handle` acts on the outside world between two commits.
    When `handle` returns without settling the row itself, the row is finished; when it raises, the row is retried by
    `BACKOFF` seconds and given up after `max_attempts` claims. A held site drains only queues with `while_held`.

    A transactional queue may have `handle_many`, which gets all rows of a claim and settles each of them, in one
    transaction; when it raises, nothing of it is kept and the rows are handled one by one.

    Raise `format` when rows are written that the release before cannot handle: its workers then leave the queue alone.
    `known` is the condition of rows that this code can handle; others wait for a worker whose code can.

    `parallel` is how many threads of one process may drain it at once: what waits for one lock, or must leave threads
    to others, says so.

    `again_by` says where a row that was given up is tried again, where it takes more than to make it due.
    """

    name: str
    model: type[Row]
    handle: Callable[[Row], None]
    transactional: bool = False
    lease_for: timedelta = timedelta(seconds=60)
    batch: int = 20
    max_attempts: int = 10
    select_related: tuple[str, ...] = ()
    rows: Callable[[], QuerySet[Row]] | None = field(default=None)
    while_held: bool = False
    handle_many: Callable[[Sequence[Row]], None] | None = None
    format: int = 1
    known: Callable[[], Q] | None = None
    parallel: int | None = None
    again_by: str = ""

    def queryset(self) -> QuerySet[Row]:
        """Return the rows this queue looks at."""
        rows = self.rows() if self.rows else self.model._base_manager.all()  # noqa: SLF001
        return rows.select_related(*self.select_related) if self.select_related else rows

    def claimable(self) -> QuerySet[Row]:
        """Return the rows that this release may take; asked in the statement that claims them."""
        rows = self.queryset().exclude(newer_format(self.name, self.format))
        return rows.filter(self.known()) if self.known else rows


_queues: dict[str, WorkQueue[Any]] = {}
_other_formats: dict[str, int] = {}


def register_queue(queue: WorkQueue[Row]) -> WorkQueue[Row]:
    """Add a queue. Raises ValueError when the name is taken."""
    if queue.name in _queues:
        raise ValueError(f"work queue {queue.name!r} is registered twice")
    _queues[queue.name] = queue
    return queue


def queue_named(name: str) -> WorkQueue[Any]:
    """Return a queue. Raises KeyError."""
    return _queues[name]


def queue_names() -> tuple[str, ...]:
    """Return the registered names in order of registration."""
    return tuple(_queues)


def declare_format(name: str, number: int) -> None:
    """Say in which format this code knows rows that no worker drains: of processes with a loop of their own."""
    if name in _queues or name in _other_formats:
        raise ValueError(f"work {name!r} is registered twice")
    _other_formats[name] = number


def queue_formats() -> dict[str, int]:
    """Return the format that this code knows of each queue, and of work that has no queue."""
    return {queue.name: queue.format for queue in _queues.values()} | _other_formats


def unfinished_count(name: str) -> int:
    """Return how many rows of a queue are neither done nor given up; of work without a queue, none can be told."""
    if name not in _queues:
        return 0
    return _queues[name].queryset().filter(finished_at__isnull=True, dead_at__isnull=True).count()


def not_known_here() -> dict[str, int]:
    """Return, for each queue that has any, the number of due rows that only other code can handle."""
    now = database_now()
    counts = {
        queue.name: queue.queryset().filter(due_q(now)).exclude(queue.known()).count()
        for queue in _queues.values()
        if queue.known
    }
    return {name: count for name, count in counts.items() if count}


def runs_while_held(name: str) -> bool:
    """Say whether a queue goes on while the site is held."""
    return _queues[name].while_held


def drain(name: str, *, limit: int = 1000) -> int:
    """Do all that is due in a queue, up to `limit` rows, and return how many rows were handled.

    Where as many threads of this process drain it as may, one of them is told to look once more, and this returns 0.
    At the limit a worker is asked to go on: whoever was turned away meanwhile will not ask again.
    """
    queue = _queues[name]
    if not queue.while_held and site_is_held():
        return 0
    done = 0
    while _turns.begin(queue):
        try:
            done += _drain(queue, limit=limit - done)
        finally:
            again = _turns.end(queue)
        if done >= limit:
            _send_wake_up(name)
            break
        if not again:
            break
    return done


def _drain(queue: WorkQueue[Any], *, limit: int) -> int:
    done = 0
    most = queue.batch if queue.transactional else 1
    while done < limit:
        claimed = claim_due(queue.claimable(), lease_for=queue.lease_for, limit=most)
        if not claimed:
            break
        with _gathered_wake_ups():
            for row in _together(queue, claimed) if queue.handle_many is not None else claimed:
                _handle(queue, row)
        done += len(claimed)
        if len(claimed) < most and all(row.finished_at for row in claimed):
            # Nothing more was due, and nothing of this falls due again; whoever adds a row wakes.
            break
    return done


class _Turns:
    """How many threads of this process drain each queue, and which queue somebody was turned away from meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._turned_away: set[str] = set()

    def begin(self, queue: WorkQueue[Any]) -> bool:
        with self._lock:
            if queue.parallel is not None and self._running[queue.name] >= queue.parallel:
                self._turned_away.add(queue.name)
                return False
            self._running[queue.name] += 1
            return True

    def end(self, queue: WorkQueue[Any]) -> bool:
        """Give the turn back; True when somebody was turned away, who may have known of rows not seen here."""
        with self._lock:
            self._running[queue.name] -= 1
            again = queue.name in self._turned_away
            self._turned_away.discard(queue.name)
            return again


_turns = _Turns()
_gathering = threading.local()


@contextlib.contextmanager
def _gathered_wake_ups() -> Iterator[None]:
    """Hold the wake-ups that the handling of a claim asks for until its end; then each leaves once."""
    before = getattr(_gathering, "names", None)
    _gathering.names = names = dict[str, None]()
    try:
        yield
    finally:
        _gathering.names = before
        for name in names:
            _send_wake_up(name)


def drain_all(*, rounds: int = 20) -> int:
    """Drain every queue until nothing is due, for tests and for `manage.py work --once`."""
    total = 0
    for _ in range(rounds):
        done = sum(drain(name) for name in _queues)
        total += done
        if not done:
            break
    return total


def wake(name: str) -> None:
    """Ask a worker to drain a queue once the current transaction has committed. Losing the message is harmless."""
    transaction.on_commit(lambda: _wake_up(name), robust=True)


def oldest_overdue() -> dict[str, timedelta]:
    """Return, for each queue with due rows, how long the oldest has been due."""
    now = database_now()
    due = {queue.name: _bare(queue).filter(due_q(now)) for queue in _queues.values()}
    found = counts_since(due, column="due_at", up_to=1)
    return {name: now - one.earliest for name, one in found.items() if one.earliest is not None}


COUNT_UP_TO = 10_000


@dataclass(frozen=True)
class QueueStanding:
    """How a queue stands. `due` ends at 10 000; `claimed` are rows that a worker holds."""

    name: str
    due: int
    oldest_due: timedelta | None
    claimed: int
    dead: int
    last_error: str


def queue_standings() -> list[QueueStanding]:
    """Return how every queue stands, in order of their names."""
    now = database_now()
    queues = [_queues[name] for name in sorted(_queues)]
    due = counts_since(
        {queue.name: _bare(queue).filter(due_q(now)) for queue in queues}, column="due_at", up_to=COUNT_UP_TO
    )
    held = {queue.name: _bare(queue).filter(lease_until__gte=now, finished_at__isnull=True) for queue in queues}
    claimed = counts_of(held)
    dead = dead_counts()
    return [
        QueueStanding(
            name=queue.name,
            due=due[queue.name].count,
            oldest_due=now - earliest if (earliest := due[queue.name].earliest) is not None else None,
            claimed=claimed[queue.name],
            dead=dead.get(queue.name, 0),
            last_error=_last_error(queue) if queue.name in dead else "",
        )
        for queue in queues
    ]


def dead_counts() -> dict[str, int]:
    """Return, for each queue that has any, the number of rows given up."""
    counts = counts_of({queue.name: _dead(queue) for queue in _queues.values()})
    return {name: count for name, count in counts.items() if count}


def _bare(queue: WorkQueue[Row]) -> QuerySet[Row]:
    return queue.queryset().select_related(None)


def _dead(queue: WorkQueue[Row]) -> QuerySet[Row]:
    return _bare(queue).filter(GIVEN_UP)


def _last_error(queue: WorkQueue[Any]) -> str:
    return _dead(queue).order_by("-dead_at").values_list("last_error", flat=True).first() or ""


def _wake_up(name: str) -> None:
    gathered: dict[str, None] | None = getattr(_gathering, "names", None)
    if gathered is None:
        _send_wake_up(name)
    else:
        gathered[name] = None


def _send_wake_up(name: str) -> None:
    from core.tasks import send_wake_up  # noqa: PLC0415 core.tasks registers queues and imports this module

    send_wake_up(name)


def _together(queue: WorkQueue[Any], claimed: Sequence[LeasedModel]) -> Sequence[LeasedModel]:
    """Handle the rows of a claim at once and return none; or, when that fails, return them as they were claimed."""
    if len(claimed) < 2 or queue.handle_many is None:
        return claimed
    owner = claimed[0].lease_owner
    keys = [row.pk for row in claimed]
    try:
        with transaction.atomic():
            queue.handle_many(claimed)
    except Exception as error:  # noqa: BLE001 each row is tried alone, and its own failure recorded
        logger.info("%s: %d rows are handled one by one: %s", queue.name, len(claimed), error)
        still = queue.queryset().filter(pk__in=keys, lease_owner=owner, finished_at__isnull=True)
        return list(still.order_by("due_at", "pk"))
    return ()


def _handle(queue: WorkQueue[Any], row: LeasedModel) -> None:
    try:
        if queue.transactional:
            with transaction.atomic():
                queue.handle(row)
                _finish_if_held(row)
        else:
            queue.handle(row)
            _finish_if_held(row)
    except StaleFenceError:
        logger.info("%s %s: lost the claim; another worker has it", queue.name, row.pk)
    except Exception as error:  # noqa: BLE001 a handler's failure is recorded on its row and retried
        _record_failure(queue, row, error)


def _finish_if_held(row: LeasedModel) -> None:
    if row.lease_owner:
        finish(row)


def _record_failure(queue: WorkQueue[Any], row: LeasedModel, error: Exception) -> None:
    text = "".join(traceback.format_exception_only(error)).strip()
    logger.warning("%s %s failed (attempt %d): %s", queue.name, row.pk, row.attempts, text, exc_info=error)
    try:
        if trouble_of(error):
            # The connection was cut, the server restarts, takes no writes or is full: nothing is wrong with the row,
            # and it must not wait an hour for it, or be given up. What is wrong for longer is retried at this pace.
            retry_later(row, delay=CUT_OFF_DELAY, error=text)
        elif row.attempts >= queue.max_attempts:
            give_up(row, error=text)
        else:
            # A handler that has settled its row before it failed has set `attempts` to 0.
            seconds = BACKOFF[min(max(row.attempts - 1, 0), len(BACKOFF) - 1)]
            retry_later(row, delay=timedelta(seconds=seconds), error=text)
    except StaleFenceError:
        logger.info("%s %s: lost the claim while failing", queue.name, row.pk)


class PeriodicJob(LeasedModel):
    """The next turn of something that recurs; one row for each registered job."""

    name = models.CharField(max_length=120, unique=True)
    last_started_at = models.DateTimeField(null=True, blank=True)
    last_succeeded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "core"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

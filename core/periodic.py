"""Things that recur: registered in an app's `tasks.py`, run by whichever worker claims the turn."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db import DatabaseError, connection
from django.db.models import Q

from core.clock import database_now
from core.holding import site_is_held
from core.leases import StaleFenceError, extend, settle
from core.work import PeriodicJob, WorkQueue, register_queue

logger = logging.getLogger(__name__)

# A held site looks this often whether it was released, for jobs that seldom come.
HELD_TURN = timedelta(seconds=30)
# Kept alive while a turn goes on: a worker that is killed in it keeps the job from the others for a minute only.
LEASE = timedelta(seconds=60)
GONE_AFTER = timedelta(days=1)
CUT_OFF_TURN = timedelta(seconds=15)


@dataclass(frozen=True)
class Periodic:
    """A job that runs every `every`; a missed turn runs once, late, and is not made up for."""

    name: str
    every: timedelta
    run: Callable[[], None]
    while_held: bool = False
    lease_for: timedelta = LEASE


_jobs: dict[str, Periodic] = {}


def periodic(
    name: str, *, every: timedelta, while_held: bool = False, lease_for: timedelta = LEASE
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register the decorated function to run every `every`; on a site that is held, only with `while_held`.

    A worker that is killed in a turn keeps the job from everybody for `lease_for`: shorter for what must not pause.
    """

    def register(run: Callable[[], None]) -> Callable[[], None]:
        if name in _jobs:
            raise ValueError(f"periodic job {name!r} is registered twice")
        _jobs[name] = Periodic(name=name, every=every, run=run, while_held=while_held, lease_for=lease_for)
        return run

    return register


def ensure_jobs() -> None:
    """Create the rows of registered jobs that have none yet and drop those of jobs that are gone for a day.

    Not at once: while a release is rolled out, what this code does not know may be a job of the newer one.
    """
    known = set(PeriodicJob.objects.values_list("name", flat=True))
    now = database_now()
    PeriodicJob.objects.bulk_create(
        [PeriodicJob(name=name, due_at=now) for name in _jobs if name not in known], ignore_conflicts=True
    )
    if stale := known - set(_jobs):
        PeriodicJob.objects.filter(name__in=stale, due_at__lt=now - GONE_AFTER).delete()


def run_now(name: str) -> None:
    """Run a job once, at once, in this process (for a command or a test)."""
    _jobs[name].run()


def _run_turn(row: PeriodicJob) -> None:
    job = _jobs[row.name]
    started = database_now()
    if not job.while_held and site_is_held():
        settle(row, due_at=started + min(job.every, HELD_TURN), attempts=0)
        return
    error, again_after = "", job.every
    if job.lease_for != LEASE:
        extend(row, lease_for=job.lease_for)
    try:
        with _kept_alive(row, job.lease_for):
            job.run()
    except DatabaseError as failure:
        # The connection was cut or the server restarted: what comes once an hour must not lose an hour by that.
        logger.warning("periodic job %s failed: %s", row.name, failure)
        error, again_after = f"{type(failure).__name__}: {failure}", min(job.every, CUT_OFF_TURN)
    except Exception as failure:
        logger.exception("periodic job %s failed", row.name)
        error = f"{type(failure).__name__}: {failure}"
    # A job that fails takes its next turn as usual; the error stays on the row until a turn succeeds.
    now = database_now()
    settle(
        row,
        due_at=max(started + again_after, now),
        attempts=0,
        last_started_at=started,
        last_error=error[:4000],
        **({} if error else {"last_succeeded_at": now}),
    )


@contextmanager
def _kept_alive(row: PeriodicJob, lease_for: timedelta) -> Iterator[None]:
    """Extend the lease from a thread of its own for as long as the block goes on; a short turn never comes to it."""
    over = threading.Event()

    def extend_again() -> None:
        while not over.wait(lease_for.total_seconds() / 3):
            try:
                extend(row, lease_for=lease_for)
            except (DatabaseError, StaleFenceError) as error:
                logger.warning("the lease of %s was not extended: %s", row.name, error)
            finally:
                connection.close()

    thread = threading.Thread(target=extend_again, name=f"lease-{row.name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(5)


PERIODIC_QUEUE = register_queue(
    WorkQueue(
        name="core.periodic",
        model=PeriodicJob,
        handle=_run_turn,
        lease_for=LEASE,
        while_held=True,
        known=lambda: Q(name__in=list(_jobs)),
    )
)

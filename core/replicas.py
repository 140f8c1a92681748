"""A read replica for reports: used by whoever asks for it, while it follows closely enough.

Analytics read much and may be some seconds old: they ask within `reading_from_replica()`. What is handed out must be
whole: `read_as_report` and `streamed_report` read one snapshot of a replica that has replayed everything that the
primary had committed when they began. A replica that is not configured, does not answer, or lags more than
`ASSAY_REPLICA_MAX_LAG` is not used, and the primary answers instead. Who may have a report is asked before, of the
primary.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import (
    DEFAULT_DB_ALIAS,
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    connections,
    transaction,
)
from django.db.models import Model

logger = logging.getLogger(__name__)
T = TypeVar("T")

REPLICA = "replica"
ASKED_AGAIN_AFTER_SECONDS = 2.0
# So long a report waits for the replica to have what the primary had; then it reads the primary.
CATCH_UP_SECONDS = 2.0
LOOK_EVERY_SECONDS = 0.02
# What a server that goes away, or must not hold a snapshot any longer, answers.
TROUBLE = (OperationalError, InterfaceError, InternalError)


@dataclass(frozen=True)
class ReadFrom:
    """Where a report was read: the primary, or the replica in one snapshot that has at least a position of it."""

    database: str
    position: str = ""

    @property
    def says(self) -> str:
        """The same in words."""
        if self.database == REPLICA:
            return f"a replica that had everything up to {self.position}, in one snapshot"
        return "the primary"


class ReportBrokenOffError(RuntimeError):
    """The replica went away in the middle of what was being handed out. Asked for again, it is read elsewhere."""


PRIMARY = ReadFrom("primary")
_reading: ContextVar[bool] = ContextVar("reading_from_replica", default=False)
_source: ContextVar[ReadFrom | None] = ContextVar("source_of_report", default=None)
_last_answer: list[tuple[float, timedelta | None]] = []


class ReplicaRouter:
    """Sends the reads of `reading_from_replica()` to the replica. It takes no writes, and no migrations."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:  # noqa: ARG002 Django's names
        return REPLICA if _reading.get() else None

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:  # noqa: ARG002 Django's names
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool | None:  # noqa: ARG002 Django's names
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:  # noqa: ARG002 Django's names
        return False if db == REPLICA else None


@contextmanager
def reading_from_replica() -> Iterator[bool]:
    """Read from the replica in this block, if there is one that follows; yields whether it does.

    Not within a transaction that has written: what it wrote is not there yet. Inside one, the primary is read.
    """
    use = not connections[DEFAULT_DB_ALIAS].in_atomic_block and replica_is_close()
    before = _reading.get()
    _reading.set(use)
    try:
        yield use
    finally:
        # Not by a token: an export that is streamed may be ended elsewhere than where it began.
        _reading.set(before)


def report_source() -> ReadFrom | None:
    """Return what the report at hand is read from, if that is a replica."""
    return _source.get()


@contextmanager
def reading_from_primary() -> Iterator[None]:
    """Read where everything is written in this block: for what a report writes down about itself."""
    before = _reading.get()
    _reading.set(False)
    try:
        yield
    finally:
        _reading.set(before)


def read_as_report(work: Callable[[ReadFrom], T]) -> T:
    """Return what `work` reads, from one snapshot of the replica where it has all that the primary has by now.

    `work` may be called twice: anew on the primary, when the replica goes away in the middle. Within another report it
    reads what that one reads.
    """
    outer = _source.get()
    if outer is not None:
        return work(outer)
    try:
        with _snapshot() as source:
            if source is not None:
                with _reading_as(source):
                    return work(source)
    except TROUBLE as error:
        _distrust(error)
    return work(PRIMARY)


def streamed_report(make: Callable[[ReadFrom], Iterator[T]]) -> Iterator[T]:
    """Yield what `make` yields, as `read_as_report` reads it.

    What has been handed out cannot be begun anew: raises ReportBrokenOffError when the replica goes away after that.
    """
    begun = False
    try:
        with _snapshot() as source:
            if source is not None:
                with _reading_as(source):
                    items = make(source)
                while True:
                    # Whoever takes the items may read and write in between, and not from here.
                    with _reading_as(source):
                        try:
                            item = next(items)
                        except StopIteration:
                            return
                    begun = True
                    yield item
    except TROUBLE as error:
        _distrust(error)
        if begun:
            raise ReportBrokenOffError("The read replica went away; ask for it again.") from error
    yield from make(PRIMARY)


@contextmanager
def _reading_as(source: ReadFrom) -> Iterator[None]:
    before = _reading.get(), _source.get()
    _reading.set(True)
    _source.set(source)
    try:
        yield
    finally:
        _reading.set(before[0])
        _source.set(before[1])


@contextmanager
def _snapshot() -> Iterator[ReadFrom | None]:
    """Hold one snapshot of the replica that has what the primary has by now; None where that is not to be had."""
    primary = connections[DEFAULT_DB_ALIAS]
    if primary.in_atomic_block or primary.vendor != "postgresql" or not replica_is_close():
        yield None
        return
    with primary.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn()")
        needed = cursor.fetchone()[0]
    # Looked at before the snapshot is taken, which then has at least that much.
    position = _replayed(needed)
    if position is None:
        yield None
        return
    with transaction.atomic(using=REPLICA):
        with connections[REPLICA].cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield ReadFrom(REPLICA, position)


def _replayed(needed: str) -> str | None:
    """Wait until the replica has replayed a position; returns where it is then, None when it is not there in time."""
    deadline = time.monotonic() + min(CATCH_UP_SECONDS, settings.REPLICA_MAX_LAG.total_seconds())
    while True:
        with connections[REPLICA].cursor() as cursor:
            cursor.execute(
                "SELECT pg_is_in_recovery() AND pg_last_wal_replay_lsn() >= %s::pg_lsn, pg_last_wal_replay_lsn()",
                [needed],
            )
            there, position = cursor.fetchone()
        if there:
            return str(position)
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK_EVERY_SECONDS)


def _distrust(error: Exception) -> None:
    """Read the primary for a while, and come back to the replica over a new connection."""
    logger.warning("a report leaves the read replica: %s", error)
    connections[REPLICA].close()
    _last_answer[:] = [(time.monotonic(), None)]


def replica_is_close() -> bool:
    """Say whether the replica may be read; asked of it every two seconds at most."""
    if REPLICA not in settings.DATABASES:
        return False
    now = time.monotonic()
    if not _last_answer or now - _last_answer[0][0] > ASKED_AGAIN_AFTER_SECONDS:
        _last_answer[:] = [(now, replica_lag())]
    lag = _last_answer[0][1]
    return lag is not None and lag <= settings.REPLICA_MAX_LAG


def forget_the_lag() -> None:
    """Make the next look ask again (for tests)."""
    _last_answer.clear()


def replica_lag() -> timedelta | None:
    """Return how far the replica is behind; None when it does not answer or does not follow.

    On an idle primary nothing is replayed, so that the age of the last transaction says nothing: a replica that has
    replayed all it received, and receives, is not behind. One that receives nothing is as old as its last transaction.
    """
    try:
        with connections[REPLICA].cursor() as cursor:
            cursor.execute(
                "SELECT pg_is_in_recovery(), EXISTS(SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'), "
                "pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn(), "
                "clock_timestamp() - pg_last_xact_replay_timestamp()"
            )
            follows, streams, all_replayed, age = cursor.fetchone()
    except Error:
        connections[REPLICA].close()
        return None
    if not follows:
        return None
    if streams and all_replayed:
        return timedelta(0)
    lag: timedelta | None = age
    return lag

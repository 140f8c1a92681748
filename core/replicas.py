"""A read replica for reports: used by whoever asks for it, while it follows closely enough.

Reports, exports and analytics read much and may be some seconds old; everything else reads where it writes. They ask
within `reading_from_replica()`; a replica that is not configured, does not answer, or lags more than
`ASSAY_REPLICA_MAX_LAG` is not used, and the primary answers instead.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.models import Model

REPLICA = "replica"
ASKED_AGAIN_AFTER_SECONDS = 2.0

_reading: ContextVar[bool] = ContextVar("reading_from_replica", default=False)
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

"""How processes, recurring jobs, the hold and the replica stand."""

from collections.abc import Iterator

from django.conf import settings
from django.db import connection

from core.beats import SILENT_AFTER, ProcessBeat
from core.clock import database_now
from core.context import site_version
from core.holding import current_hold
from core.measuring import Figure, figures
from core.partitions import partitioned_tables, problems
from core.replicas import REPLICA, replica_lag
from core.work import PeriodicJob

KINDS = ("web", "worker", "scheduler")


@figures("release", of_database=False)
def release() -> Iterator[Figure]:
    """Say which release answers."""
    yield Figure("info", "The release that answers.", 1.0, {"release": site_version()})


@figures("database")
def database() -> Iterator[Figure]:
    """Say whether the database takes writes."""
    read_only = False
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('transaction_read_only') = 'on'")
            read_only = bool(cursor.fetchone()[0])
    yield Figure("database_writable", "0 when the database takes no writes.", float(not read_only))
    if connection.vendor == "postgresql":
        missing = sum(len(problems(table, now=database_now())) for table in partitioned_tables())
        yield Figure("partition_problems", "Months that are missing or hold what they should not.", missing)


@figures("processes")
def processes() -> Iterator[Figure]:
    """Say how many processes of each kind live, how far their clocks are off, and of how many releases they are."""
    now = database_now()
    running = [one for one in ProcessBeat.objects.all() if now - one.seen_at <= SILENT_AFTER]
    for kind in KINDS:
        count = sum(one.kind == kind for one in running)
        yield Figure("processes", "Processes heard of in the last 90 s.", count, {"kind": kind})
    apart = max((abs(one.clock_offset.total_seconds()) for one in running), default=0.0)
    yield Figure("clock_offset_seconds", "The clock that is furthest from the database's.", apart)
    yield Figure("releases_running", "Releases that processes run.", len({one.release for one in running}))


@figures("jobs")
def jobs() -> Iterator[Figure]:
    """Say whether recurring jobs fail or stay out."""
    rows = list(PeriodicJob.objects.values_list("due_at", "last_error", "lease_owner"))
    yield Figure("jobs_failing", "Recurring jobs that failed in their last turn.", sum(bool(row[1]) for row in rows))
    now = database_now()
    late = max(((now - due).total_seconds() for due, _, owner in rows if not owner), default=0.0)
    yield Figure("jobs_oldest_overdue_seconds", "How late the latest recurring job is.", max(late, 0.0))


@figures("hold")
def hold() -> Iterator[Figure]:
    """Say whether the site is held after a restore."""
    yield Figure("held", "1 while nothing leaves the site after a restore.", float(current_hold() is not None))


@figures("replica")
def replica() -> Iterator[Figure]:
    """Say whether the read replica answers, and how far it is behind; nothing where none is configured."""
    if REPLICA not in settings.DATABASES:
        return
    lag = replica_lag()
    yield Figure("replica_up", "1 when the read replica answers and follows.", float(lag is not None))
    if lag is not None:
        yield Figure("replica_lag_seconds", "How far the read replica is behind.", lag.total_seconds())

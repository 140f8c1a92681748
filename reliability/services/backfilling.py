"""Read a source's history: counts from before an SLO was declared, in chunks that a restart goes on from.

Rows that stand at the same instant of the same source are read together, at a bounded rate of queries.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models import F, Q

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.clock import database_now
from core.leases import due_q, lease_owner_name, retry_later, settle
from core.partitions import open_between
from core.work import wake
from reliability.models import Backfill, Collection, DataSource, SLOVersion
from reliability.services.approximating import approximate_counts, is_expression
from reliability.services.collecting import (
    BACKFILL_QUEUE,
    Counted,
    find_out_flavour,
    packed_tails,
    unpacked_tails,
    write_counts,
)
from reliability.services.outliving import MINUTES
from reliability.services.prometheus import PrometheusReader, SourceError, TooLargeError
from reliability.services.reading import read_in_parts, wanted_of

CHUNK = timedelta(days=1)
SHORTEST_CHUNK = timedelta(hours=1)
LEASE = timedelta(minutes=10)
TOGETHER = 500
LONGEST_RETRY_SECONDS = 300


def request_backfill(
    *, principal: Principal, version: SLOVersion, since: datetime, until: datetime | None = None
) -> Backfill | None:
    """Ask for the events from `since` on that are not counted yet; None when there are none.

    What was counted is never read again: the backfill ends where counting began.
    """
    ensure_may(principal, Capability.SLO_EDIT, team_id=version.slo.service.team_id)
    with transaction.atomic():
        collection = Collection.objects.select_for_update().filter(version_id=version.tally_id).first()
        if collection is None:
            return None
        running = (
            Backfill.objects.filter(version_id=version.tally_id, finished_at__isnull=True).order_by("since").first()
        )
        begins_at = min(collection.begins_at, running.since) if running else collection.begins_at
        end = min(until, begins_at) if until else begins_at
        if since >= end or (until is not None and until < begins_at):
            return running
        row = Backfill.objects.create(
            version_id=version.tally_id, since=since, until=end, position=since, due_at=database_now()
        )
        wake(BACKFILL_QUEUE)
    return row


def backfill(row: Backfill) -> None:
    """Read the next chunk for a row and all that stand where it stands."""
    source = DataSource.objects.filter(versions__backfills=row).first()
    if source is None:
        settle(row, finished_at=database_now())
        return
    rows = [row, *_join_siblings(row, source)]
    started = database_now()
    try:
        with PrometheusReader(source) as reader:
            find_out_flavour(reader, source)
            counted, until = _chunk(reader, rows)
            pause = timedelta(seconds=reader.queries / source.settings.queries_per_second)
    except SourceError as error:
        for one in rows:
            _fail(one, error)
        return
    # Where a lock is not to be had, what is counted waits with what lies in no month.
    with suppress(DatabaseError):
        open_between(MINUTES, rows[0].position, until)
    with transaction.atomic():
        write_counts([one for one in counted if isinstance(one, Counted)])
        for one, result in zip(rows, counted, strict=True):
            if isinstance(result, Counted):
                _move(one, result, until=until, due_at=started + pause)
    for one, result in zip(rows, counted, strict=True):
        if isinstance(result, SourceError):
            _fail(one, result)


def run_backfills(
    rows: Sequence[Backfill], *, say: Callable[[float], None], sleep: Callable[[float], None]
) -> list[str]:
    """Work on rows until they are done, telling how far they are; returns what went wrong, by SLO."""
    keys = [row.pk for row in rows]
    while True:
        pending = Backfill.objects.filter(pk__in=keys, finished_at__isnull=True)
        failing = pending.filter(failures__gt=2)
        if failing.exists() and failing.count() == pending.count():
            return [f"{one.version.slo.slug}: {one.last_error}" for one in failing.select_related("version__slo")]
        nearest = pending.order_by("due_at").first()
        done = Backfill.objects.filter(pk__in=keys)
        say(sum(one.done_ratio for one in done) / max(len(keys), 1))
        if nearest is None:
            return []
        wait = (nearest.due_at - database_now()).total_seconds()
        if wait > 0:
            sleep(min(wait, 5.0))
            continue
        owner = lease_owner_name()
        now = database_now()
        claimed = Backfill.objects.filter(due_q(now), pk=nearest.pk).update(
            lease_owner=owner, lease_until=now + LEASE, fence=F("fence") + 1, attempts=F("attempts") + 1
        )
        if claimed:
            backfill(Backfill.objects.get(pk=nearest.pk))
        else:
            sleep(0.2)


def _chunk(reader: PrometheusReader, rows: Sequence[Backfill]) -> tuple[list[Counted | SourceError], datetime]:
    """Read the rows' next chunk, shorter where the answer is too large."""
    length = CHUNK
    while True:
        until = min(rows[0].position + length, *(row.until for row in rows))
        try:
            return _counted(reader, rows, until=until), until
        except TooLargeError:
            if length <= SHORTEST_CHUNK:
                raise
            length /= 4


def _counted(reader: PrometheusReader, rows: Sequence[Backfill], *, until: datetime) -> list[Counted | SourceError]:
    begin = rows[0].position
    results: dict[int, Counted | SourceError] = {}
    exact = []
    for row in rows:
        indicator = row.version.indicator
        try:
            if is_expression(indicator):
                found = approximate_counts(reader, indicator, begin=begin, until=until)
                results[row.pk] = Counted(row.version, found)
            else:
                exact.append((row, wanted_of(indicator)))
        except SourceError as error:
            results[row.pk] = error
    if exact:
        first = begin == rows[0].since
        answers, numbers = read_in_parts(reader, [wanted for _, wanted in exact], begin=begin, until=until, first=first)
        for (row, wanted), number in zip(exact, numbers, strict=True):
            try:
                found = answers[number].count(wanted, unpacked_tails(row.carried))
                results[row.pk] = Counted(row.version, found)
            except SourceError as error:
                results[row.pk] = error
    return [results[row.pk] for row in rows]


def _move(row: Backfill, counted: Counted, *, until: datetime, due_at: datetime) -> None:
    """Go on from a chunk's end; at the end of all, counting has begun where the backfill began."""
    done = until >= row.until
    settle(
        row,
        position=until,
        carried=b"" if done else packed_tails(counted.found.tails, now=until),
        failures=0,
        attempts=0,
        last_error="",
        due_at=due_at,
        finished_at=database_now() if done else None,
    )
    if done:
        earlier = Q(backfilled_from__isnull=True) | Q(backfilled_from__gt=row.since)
        SLOVersion.objects.filter(earlier, pk=row.version_id).update(backfilled_from=row.since)
        Collection.objects.filter(version_id=row.version_id, begins_at__gt=row.since).update(begins_at=row.since)


def _fail(row: Backfill, error: SourceError) -> None:
    delay = timedelta(seconds=min(5 * 2 ** min(row.failures, 10), LONGEST_RETRY_SECONDS))
    retry_later(row, delay=delay, error=str(error), failures=row.failures + 1, attempts=0, state=error.state.value)


def _join_siblings(row: Backfill, source: DataSource) -> list[Backfill]:
    now, owner = database_now(), lease_owner_name()
    alike = {
        "version__data_source": source,
        "position": row.position,
        "until": row.until,
        "since": row.since,
        "failures": row.failures,
    }
    keys = Backfill.objects.filter(due_q(now), **alike).exclude(pk=row.pk).order_by().values("pk")[:TOGETHER]
    Backfill.objects.filter(due_q(now), pk__in=keys).update(
        lease_owner=owner, lease_until=now + LEASE, fence=F("fence") + 1, attempts=F("attempts") + 1
    )
    return list(Backfill.objects.filter(lease_owner=owner).select_related("version").order_by("pk"))

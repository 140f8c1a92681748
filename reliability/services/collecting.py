"""Count events from Prometheus, chunk after chunk up to a watermark that moves with the counts in one transaction.

Rows that stand at the same instant of the same source are read together. Instants lie on a grid, so that rows that are
up to date stay together.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection, transaction
from django.db.models import F

from core.clock import database_now
from core.leases import StaleFenceError, due_q, lease_owner_name, retry_later, settle
from core.work import wake
from reliability.data import DataState
from reliability.domain.counting import WHOLE, Found
from reliability.domain.scrapes import Oddities, Tail
from reliability.models import Backfill, Collection, DataSource, SLOVersion
from reliability.services.approximating import approximate_counts, is_expression
from reliability.services.prometheus import PrometheusReader, SourceError, TooLargeError
from reliability.services.reading import Answer, Wanted, read_in_parts, wanted_of
from reliability.services.tallying import Increments, add_to_tallies, group_tally, lock_tallies, merge

QUEUE = "reliability.collect"
BACKFILL_QUEUE = "reliability.backfill"
CHUNK = timedelta(hours=1)
LEASE = timedelta(minutes=3)
TOGETHER = 2000
REMEMBER_SERIES = timedelta(days=7)
LONGEST_BACKFILL = timedelta(days=90)
LONGEST_RETRY_SECONDS = 300
NO_SERIES = "The total selector matches no series."
UNKNOWN_METRIC = "The source has no series of this metric."
_TAIL = struct.Struct("<8sddddIQ")


@dataclass
class Counted:
    """What a read adds for one version."""

    version: SLOVersion
    found: Found
    state: DataState = DataState.OK
    note: str = ""


def start_collecting(version: SLOVersion) -> None:
    """Begin to read a version's events from its source, from now on and, in the background, over its window back."""
    now = version.effective_from
    Collection.objects.create(version=version, watermark=now, begins_at=now, due_at=now)
    since = now - min(timedelta(days=version.window_days), LONGEST_BACKFILL)
    Backfill.objects.create(version=version, since=since, until=now, position=since, due_at=now)
    wake(QUEUE)
    wake(BACKFILL_QUEUE)


def collect(row: Collection) -> None:
    """Read the next chunk for a row and all rows that stand where it stands; on failure keep what was counted."""
    source = DataSource.objects.filter(versions__collection=row).first()
    if source is None:
        settle(row, due_at=database_now() + CHUNK)
        return
    rows = [row, *_join_siblings(row, source)]
    every = timedelta(seconds=source.settings.read_every_seconds)
    try:
        with PrometheusReader(source) as reader:
            find_out_flavour(reader, source)
            now = database_now()
            latest = _floor(now - reader.lag, every)
            until = min(row.watermark + CHUNK, latest)
            if until <= row.watermark:
                _settle_all(rows, due_at=latest + every + reader.lag)
                return
            due_at = now if until < latest else latest + every + reader.lag
            advance(reader, source, rows, until=until, due_at=due_at)
    except SourceError as error:
        fail_all(rows, source, error)


def advance(
    reader: PrometheusReader, source: DataSource, rows: Sequence[Collection], *, until: datetime, due_at: datetime
) -> None:
    """Count rows that stand at one instant up to another. Raises SourceError when nothing can be read at all."""
    counted = _counted(reader, rows, begin=rows[0].watermark, until=until)
    failed: list[tuple[Collection, SourceError]] = []
    good: list[tuple[Collection, Counted]] = []
    for row, one in zip(rows, counted, strict=True):
        if isinstance(one, SourceError):
            failed.append((row, one))
        else:
            good.append((row, one))
    if good:
        with transaction.atomic():
            write_counts([one for _, one in good])
            _move(good, until=until, due_at=due_at)
            DataSource.objects.filter(pk=source.pk).update(last_success_at=database_now())
    for row, error in failed:
        fail_all([row], source, error)


def write_counts(counted: Iterable[Counted]) -> None:
    """Add what was found to the tallies, groups beside the whole, in the caller's transaction."""
    added: Increments = {}
    for one in counted:
        tally_id = one.version.pk
        labels = one.version.indicator.get("group_by", ())
        groups = one.found.counts
        for group, minutes in groups.items():
            if group != WHOLE:
                part = group_tally(version_id=tally_id, labels=dict(zip(labels, group, strict=True)))
                added.update({(part, minute): counts for minute, counts in minutes.items()})
            if len(groups) == 1:
                # One group is the whole; a month of minutes is not looked up one by one.
                added.update({(tally_id, minute): counts for minute, counts in minutes.items()})
                continue
            for minute, counts in minutes.items():
                merge(added, tally_id=tally_id, minute=minute, counts=counts)
    add_to_tallies(added, held=lock_tallies({tally_id for tally_id, _ in added}))


def packed_tails(tails: Mapping[bytes, Tail], *, now: datetime) -> bytes:
    """Return where counters stand, in few bytes; series that ended days ago are forgotten."""
    horizon = (now - REMEMBER_SERIES).timestamp()
    return b"".join(_TAIL.pack(digest, *tail) for digest, tail in tails.items() if tail.time >= horizon)


def unpacked_tails(body: bytes | memoryview) -> dict[bytes, Tail]:
    """Read what `packed_tails` wrote."""
    return {digest: Tail(*tail) for digest, *tail in _TAIL.iter_unpack(bytes(body))}


def _counted(
    reader: PrometheusReader, rows: Sequence[Collection], *, begin: datetime, until: datetime
) -> list[Counted | SourceError]:
    """Read for rows together and count each; what is wrong with one alone comes back as its error."""
    results: dict[int, Counted | SourceError] = {}
    exact: list[tuple[Collection, Wanted]] = []
    for row in rows:
        if row.approximate or is_expression(row.version.indicator):
            results[row.pk] = _approximated(reader, row, begin=begin, until=until)
            continue
        try:
            exact.append((row, wanted_of(row.version.indicator)))
        except SourceError as error:
            results[row.pk] = error
    first = rows[0].succeeded_at is None
    if exact:
        answers, numbers = _read_or_fall_back(reader, exact, results, begin=begin, until=until, first=first)
        for (row, wanted), number in zip(exact, numbers, strict=True):
            if row.pk not in results:
                results[row.pk] = _count_exactly(reader, answers[number], row, wanted, until=until)
    return [results[row.pk] for row in rows]


def _read_or_fall_back(
    reader: PrometheusReader,
    exact: Sequence[tuple[Collection, Wanted]],
    results: dict[int, Counted | SourceError],
    *,
    begin: datetime,
    until: datetime,
    first: bool,
) -> tuple[list[Answer], list[int]]:
    """Read; an SLO whose series alone are too many is counted approximately from here on."""
    try:
        return read_in_parts(reader, [wanted for _, wanted in exact], begin=begin, until=until, first=first)
    except TooLargeError:
        if len(exact) > 1:
            answers: list[Answer] = []
            numbers: list[int] = []
            for one in exact:
                found, of_it = _read_or_fall_back(reader, [one], results, begin=begin, until=until, first=first)
                numbers += [number + len(answers) for number in of_it] or [-1]
                answers += found
            return answers, numbers
    row = exact[0][0]
    row.approximate = True
    results[row.pk] = _approximated(reader, row, begin=begin, until=until)
    return [], [-1]


def _count_exactly(
    reader: PrometheusReader, answer: Answer, row: Collection, wanted: Wanted, *, until: datetime
) -> Counted | SourceError:
    try:
        found = answer.count(wanted, unpacked_tails(row.carried))
        state, note = _state_of(reader, answer, wanted, found.oddities, until=until)
    except SourceError as error:
        return error
    return Counted(row.version, found, state, note)


def _approximated(
    reader: PrometheusReader, row: Collection, *, begin: datetime, until: datetime
) -> Counted | SourceError:
    try:
        found = approximate_counts(reader, row.version.indicator, begin=begin, until=until)
    except SourceError as error:
        return error
    return Counted(row.version, found, DataState.OK, "Counted by the source's own increase: approximate.")


def _state_of(
    reader: PrometheusReader, answer: Answer, wanted: Wanted, oddities: Oddities, *, until: datetime
) -> tuple[DataState, str]:
    if answer.is_empty(wanted):
        if reader.knows_metric(wanted.total.name, until=until):
            return DataState.NO_SERIES, NO_SERIES
        return DataState.UNKNOWN_METRIC, UNKNOWN_METRIC
    if oddities.odd_values:
        return DataState.ODD_VALUES, f"{oddities.odd_values} samples are no count (not a number, infinite, negative)."
    return DataState.OK, ""


def _join_siblings(row: Collection, source: DataSource) -> list[Collection]:
    """Claim, in one statement, the due rows that stand where `row` stands, so that one read serves them all."""
    now = database_now()
    alike = {
        "version__data_source": source,
        "watermark": row.watermark,
        "failures": row.failures,
        "succeeded_at__isnull": row.succeeded_at is None,
    }
    owner = lease_owner_name()
    keys = Collection.objects.filter(due_q(now), **alike).exclude(pk=row.pk).order_by().values("pk")[:TOGETHER]
    Collection.objects.filter(due_q(now), pk__in=keys).update(
        lease_owner=owner, lease_until=now + LEASE, fence=F("fence") + 1, attempts=F("attempts") + 1
    )
    found = Collection.objects.filter(lease_owner=owner).select_related("version").order_by("pk")
    return list(found.only(*_NEEDED))


_NEEDED = (
    "fence",
    "lease_owner",
    "watermark",
    "failures",
    "succeeded_at",
    "carried",
    "approximate",
    "version__indicator",
)


def _move(good: Sequence[tuple[Collection, Counted]], *, until: datetime, due_at: datetime) -> None:
    """Move the watermarks, if every claim still holds."""
    now = database_now()
    changes = [
        (
            packed_tails(one.found.tails, now=until),
            one.state.value,
            one.note[:300],
            row.approximate,
            one.found.oddities.resets,
            row.pk,
            row.fence,
        )
        for row, one in good
    ]
    keys = [row.pk for row, _ in good]
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE reliability_collection SET carried = %s, state = %s, note = %s, approximate = %s, "
            "resets = resets + %s WHERE id = %s AND fence = %s",
            changes,
        )
        if cursor.rowcount != len(changes):
            raise StaleFenceError("another worker has claimed some of these rows")
    Collection.objects.filter(pk__in=keys).update(
        watermark=until,
        due_at=due_at,
        failures=0,
        attempts=0,
        last_error="",
        succeeded_at=now,
        lease_owner="",
        lease_until=None,
    )
    for row, _ in good:
        row.watermark, row.succeeded_at, row.lease_owner, row.failures = until, now, "", 0


def _settle_all(rows: Sequence[Collection], *, due_at: datetime) -> None:
    for row in rows:
        settle(row, due_at=due_at, attempts=0)


def fail_all(rows: Sequence[Collection], source: DataSource, error: SourceError) -> None:
    """Put rows off with growing pauses; what was counted stays."""
    for row in rows:
        delay = timedelta(seconds=min(5 * 2 ** min(row.failures, 10), LONGEST_RETRY_SECONDS))
        retry_later(row, delay=delay, error=str(error), failures=row.failures + 1, attempts=0, state=error.state.value)
    DataSource.objects.filter(pk=source.pk).update(last_error=str(error), last_error_at=database_now())


def find_out_flavour(reader: PrometheusReader, source: DataSource) -> None:
    """Find out, once, what kind of store the source is."""
    if not reader.flavour:
        reader.flavour = reader.find_flavour()
        DataSource.objects.filter(pk=source.pk).update(flavour_found=reader.flavour)


def _floor(instant: datetime, every: timedelta) -> datetime:
    return datetime.fromtimestamp(instant.timestamp() // every.total_seconds() * every.total_seconds(), UTC)

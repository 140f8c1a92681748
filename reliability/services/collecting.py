"""Count events from Prometheus, chunk after chunk up to a watermark that moves with the counts in one transaction."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import orjson
from django.db import transaction

from core.clock import database_now
from core.leases import retry_later, settle
from reliability.domain.budgets import Counts
from reliability.domain.scrapes import LONGEST_PAUSE_SECONDS, Increment, Sample, increments, usual_interval
from reliability.models import Collection, DataSource, SeriesState, SLOVersion
from reliability.services.prometheus import PrometheusReader, Series, SourceError
from reliability.services.tallying import Increments, add_to_tallies, lock_tallies, merge

LAG = timedelta(seconds=1)
CHUNK = timedelta(hours=1)
EVERY = timedelta(seconds=10)
OVERLAP = timedelta(seconds=90)
FIRST_LOOKBACK = timedelta(minutes=5)
REMEMBER_SERIES = timedelta(days=7)
LONGEST_RETRY_SECONDS = 300
NO_SERIES = "The total selector matches no series."


@dataclass(frozen=True)
class _Read:
    """What one chunk's queries answered."""

    sides: dict[str, list[Series]]
    scrapes: dict[tuple[str, str], list[float]]


def collect(row: Collection) -> None:
    """Read the next chunk of a version's series and count it; on failure keep what was counted and try again."""
    version = SLOVersion.objects.select_related("data_source").get(pk=row.version_id)
    source = version.data_source
    until = min(row.watermark + CHUNK, database_now() - LAG)
    if source is None or until <= row.watermark:
        settle(row, due_at=database_now() + EVERY)
        return
    try:
        read = _read(source, version, row, until)
        with transaction.atomic():
            note = _count(version, row, read, until)
            now = database_now()
            behind = until < now - LAG - EVERY
            settle(
                row,
                watermark=until,
                due_at=now if behind else now + EVERY,
                failures=0,
                attempts=0,
                last_error="",
                succeeded_at=now,
                note=note,
            )
            DataSource.objects.filter(pk=source.pk).update(last_success_at=now)
    except SourceError as error:
        delay = timedelta(seconds=min(5 * 2 ** min(row.failures, 10), LONGEST_RETRY_SECONDS))
        retry_later(row, delay=delay, error=str(error), failures=row.failures + 1, attempts=0)
        DataSource.objects.filter(pk=source.pk).update(last_error=str(error), last_error_at=database_now())


def forget_old_series() -> None:
    """Drop the carried samples of series that ended days ago."""
    SeriesState.objects.filter(time__lt=(database_now() - REMEMBER_SERIES).timestamp()).delete()


def _read(source: DataSource, version: SLOVersion, row: Collection, until: datetime) -> _Read:
    """Ask for both sides at the same instant, and for the scrapes of their targets.

    The chunk overlaps what was read before: a sample that became visible late is not lost, and one that was counted is
    told by its time. The first chunk reaches back to where the counters stood before.
    """
    first = row.succeeded_at is None
    length = until - row.watermark + (FIRST_LOOKBACK if first else OVERLAP)
    with PrometheusReader(source) as reader:
        sides = {
            side: reader.samples(version.indicator[side], until=until, length=length) for side in ("total", "good")
        }
        everything = [series for found in sides.values() for series in found]
        targets = {series.target for series in everything if series.target[1]}
        ups = reader.scrapes(targets, until=until, length=length + FIRST_LOOKBACK)
    scrapes: dict[tuple[str, str], set[float]] = defaultdict(set)
    for series in ups:
        scrapes[series.target].update(sample.time for sample in series.samples if sample.value == 1)
    for series in everything:
        scrapes[series.target].update(sample.time for sample in series.samples)
    return _Read(sides, {target: sorted(times) for target, times in scrapes.items()})


def _count(version: SLOVersion, row: Collection, read: _Read, until: datetime) -> str:
    """Count a chunk, in the caller's transaction; returns what was odd. Raises SourceError when it makes no sense."""
    lock_tallies([version.pk])
    known = {(state.side, state.digest): Sample(state.time, state.value) for state in version.series.all()}
    first = row.succeeded_at is None
    begin = row.watermark.timestamp()
    good: dict[int, int] = defaultdict(int)
    total: dict[int, int] = defaultdict(int)
    unknown: dict[int, int] = defaultdict(int)
    states = []
    for side, found in read.sides.items():
        for series in found:
            digest = hashlib.sha256(orjson.dumps(sorted(series.labels.items()))).hexdigest()
            times = read.scrapes.get(series.target, [])
            grown, latest = increments(
                series.samples,
                carried=known.get((side, digest)),
                target_scrapes=times,
                interval=usual_interval(times),
            )
            for one in grown:
                # What a counter held before the SLO took effect is not the SLO's.
                if first and one.time <= begin:
                    continue
                _add(one, side, good=good, total=total, unknown=unknown)
            if latest is not None:
                states.append(
                    SeriesState(
                        version=version,
                        side=side,
                        digest=digest,
                        labels=dict(series.labels),
                        time=latest.time,
                        value=latest.value,
                    )
                )
    added: Increments = {}
    for minute in {*good, *total, *unknown, *_measured_minutes(read, begin, until)}:
        if good[minute] > total[minute]:
            when = datetime.fromtimestamp(minute * 60, UTC)
            raise SourceError(
                f"At {when:%Y-%m-%d %H:%M} UTC there are {good[minute]} good events of {total[minute]} in all: "
                "the good selector must match a part of the total."
            )
        counts = Counts(good[minute], total[minute] - good[minute], unknown[minute])
        merge(added, tally_id=version.pk, minute=minute, counts=counts)
    if added:
        add_to_tallies(added)
    SeriesState.objects.bulk_create(
        states,
        batch_size=500,
        update_conflicts=True,
        unique_fields=["version", "side", "digest"],
        update_fields=["time", "value"],
    )
    return "" if read.sides["total"] else NO_SERIES


def _add(one: Increment, side: str, *, good: dict[int, int], total: dict[int, int], unknown: dict[int, int]) -> None:
    minute = int(one.time // 60)
    if side == "good":
        good[minute] += one.events if one.known else 0
    elif one.known:
        total[minute] += one.events
    else:
        unknown[minute] += one.events


def _measured_minutes(read: _Read, begin: float, until: datetime) -> Iterable[int]:
    """Return the minutes from `begin` in which a target was scraped, or that lie in a short pause between scrapes."""
    end = until.timestamp()
    for times in read.scrapes.values():
        for time in times:
            if begin < time <= end:
                yield int(time // 60)
        for earlier, later in pairwise(times):
            if later - earlier <= LONGEST_PAUSE_SECONDS and later > begin:
                yield from range(int(max(earlier, begin) // 60), int(later // 60) + 1)

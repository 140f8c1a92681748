"""Reads of the running sums: any window is one subtraction."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Max, OuterRef, Subquery

from reliability.data import TallyGroup
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import Counts
from reliability.models import SLOVersion, Tally

RECENT = timedelta(minutes=3)
BOUNDARIES_PER_QUERY = 50


def minute_of(instant: datetime) -> int:
    """Return the minute of an instant, counted from 1970 UTC."""
    return int(instant.timestamp() // 60)


def sums_before(tally_ids: Iterable[int], minutes: Iterable[int]) -> dict[tuple[int, int], Counts]:
    """Return the running sums before each of the minutes, for each of the versions: two queries per 50 minutes."""
    ids, wanted = sorted(set(tally_ids)), sorted(set(minutes))
    found = {(tally_id, minute): Counts() for tally_id in ids for minute in wanted}
    for begin in range(0, len(wanted), BOUNDARIES_PER_QUERY):
        chunk = wanted[begin : begin + BOUNDARIES_PER_QUERY]
        lookups = {
            f"before_{minute}": Subquery(
                Tally.objects.filter(version_id=OuterRef("pk"), minute__lt=minute).order_by("-minute").values("pk")[:1]
            )
            for minute in chunk
        }
        rows: list[Any] = list(SLOVersion.objects.filter(pk__in=ids).order_by().values("pk", **lookups))
        tallies = Tally.objects.in_bulk({row[name] for row in rows for name in lookups if row[name]})
        for row in rows:
            for minute in chunk:
                if tally := tallies.get(row[f"before_{minute}"]):
                    found[row["pk"], minute] = _counts(tally)
    return found


def window_counts(
    tally_ids: Iterable[int], windows: Iterable[tuple[int, int]]
) -> dict[tuple[int, tuple[int, int]], Counts]:
    """Return the events of each window (first minute, minute after its last), for each tally, in a few queries."""
    ids, wanted = list(tally_ids), list(windows)
    sums = sums_before(ids, {minute for window in wanted for minute in window})
    return {
        (tally_id, window): sums[tally_id, window[1]] - sums[tally_id, window[0]]
        for tally_id in ids
        for window in wanted
    }


def groups_of(*, version: SLOVersion) -> list[TallyGroup]:  # noqa: ARG001 nothing groups yet
    """Return the groups that a version's events are also counted by; empty when it has no grouping.

    A group's `tally_id` goes wherever a version's does; the groups add up to the version's own tally.
    """
    return []


def counts_between(*, version: SLOVersion, start_minute: int, end_minute: int) -> Counts:
    """Return the events of the minutes `start_minute` to `end_minute - 1`."""
    sums = sums_before([version.tally_id], (start_minute, end_minute))
    return sums[version.tally_id, end_minute] - sums[version.tally_id, start_minute]


def counts_in_last(*, version: SLOVersion, minutes: int, now: datetime) -> Counts:
    """Return the events of the last `minutes` minutes, the one that is going on included."""
    end = minute_of(now) + 1
    return counts_between(version=version, start_minute=end - minutes, end_minute=end)


def alert_counts(
    tiers: Sequence[tuple[SLOVersion, BurnTier]], *, now: datetime
) -> dict[tuple[int, str], tuple[Counts, Counts]]:
    """Return the events of the long and the short window by version and tier.

    A window holds its full minutes and the one that is going on: never less than it promises, so that an alert with a
    short window of a minute is not judged by the first second of the next.
    """
    end = minute_of(now) + 1
    lengths = {minutes for _, tier in tiers for minutes in (tier.long_minutes, tier.short_minutes)}
    sums = sums_before((version.tally_id for version, _ in tiers), {end, *(end - minutes - 1 for minutes in lengths)})

    def last(version: SLOVersion, minutes: int) -> Counts:
        return sums[version.tally_id, end] - sums[version.tally_id, end - minutes - 1]

    return {
        (version.pk, tier.name): (last(version, tier.long_minutes), last(version, tier.short_minutes))
        for version, tier in tiers
    }


def last_measured_minutes(versions: Iterable[SLOVersion]) -> dict[int, int]:
    """Return the last minute that was measured, by version; versions without any are left out."""
    by_tally = {version.tally_id: version.pk for version in versions}
    latest = Tally.objects.filter(version_id=OuterRef("pk")).order_by("-minute").values("minute")[:1]
    rows = SLOVersion.objects.filter(pk__in=by_tally).order_by().values_list("pk", Subquery(latest))
    return {by_tally[tally_id]: minute for tally_id, minute in rows if minute is not None}


def was_measured_recently(last_minute: int | None, *, now: datetime) -> bool:
    """Say whether the last measured minute is a recent one."""
    return last_minute is not None and last_minute >= minute_of(now - RECENT)


def minute_series(*, version: SLOVersion, start_minute: int, end_minute: int) -> list[tuple[int, Counts]]:
    """Return the events of each measured minute of an interval, in order."""
    tallies = Tally.objects.filter(version_id=version.tally_id)
    before = tallies.filter(minute__lt=start_minute).order_by("-minute").first()
    previous = _counts(before) if before else Counts()
    series = []
    for row in tallies.filter(minute__gte=start_minute, minute__lt=end_minute).order_by("minute"):
        current = _counts(row)
        series.append((row.minute, current - previous))
        previous = current
    return series


def bucket_sums(
    tally_ids: Iterable[int], *, start_minute: int, end_minute: int, step: int
) -> dict[int, list[Counts | None]]:
    """Return the running sums at the end of each bucket of `step` minutes, by version; None where none was measured.

    One query for all versions. The buckets begin at multiples of `step`.
    """
    first, last = start_minute // step, (end_minute - 1) // step
    series: dict[int, list[Counts | None]] = {tally_id: [None] * (last - first + 1) for tally_id in tally_ids}
    rows = (
        Tally.objects.filter(version_id__in=series, minute__gte=first * step, minute__lt=end_minute)
        .order_by()
        .values(tally=F("version_id"), bucket=F("minute") / step)
        .annotate(good=Max("good_sum"), bad=Max("bad_sum"), unknown=Max("unknown_sum"), measured=Max("minutes_sum"))
    )
    for row in rows:
        series[row["tally"]][row["bucket"] - first] = Counts(row["good"], row["bad"], row["unknown"], row["measured"])
    return series


def _counts(row: Tally) -> Counts:
    return Counts(row.good_sum, row.bad_sum, row.unknown_sum, row.minutes_sum)

"""Keep how the values of latency SLOs are spread, where they ask for it, for thirty days."""

from collections.abc import Mapping
from datetime import timedelta

from core.clock import database_now
from reliability.domain.spreads import Spread, add_to_spread, packed_spreads, unpacked_spreads
from reliability.models import BucketHour
from reliability.selectors.tallies import minute_of

SPREADS_KEPT_FOR = timedelta(days=30)


def add_spreads(spreads: Mapping[tuple[int, int], Spread]) -> None:
    """Add spreads by (tally, minute) to what is kept, in the caller's transaction, the tallies being locked."""
    hours: dict[tuple[int, int], dict[int, Spread]] = {}
    for (tally, minute), spread in spreads.items():
        hours.setdefault((tally, minute // 60), {})[minute] = spread
    for (tally, hour), minutes in hours.items():
        row = BucketHour.objects.filter(version_id=tally, hour=hour).first()
        known = unpacked_spreads(row.body) if row is not None else {}
        for minute, spread in minutes.items():
            add_to_spread(known.setdefault(minute, {}), ((*bounds, count) for bounds, count in spread.items()))
        BucketHour.objects.update_or_create(version_id=tally, hour=hour, defaults={"body": packed_spreads(known)})


def forget_old_spreads() -> int:
    """Drop the spreads beyond the horizon; returns how many hours went."""
    horizon = minute_of(database_now() - SPREADS_KEPT_FOR) // 60
    return BucketHour.objects.filter(hour__lt=horizon).delete()[0]

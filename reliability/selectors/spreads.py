"""How values were spread, where an SLO keeps its buckets."""

import math

from reliability.domain.spreads import Spread, unpacked_spreads
from reliability.models import BucketHour, SLOVersion

RECENT_HOURS = 48


def kept_edges(*, version: SLOVersion) -> list[float]:
    """Return the bounds that lately held between buckets, ascending: the ones that another latency is exact at."""
    recent = BucketHour.objects.filter(version_id=version.tally_id).order_by("-hour")[:RECENT_HOURS]
    found = {
        edge
        for row in recent
        for spread in unpacked_spreads(row.body).values()
        for bounds in spread
        for edge in bounds
        if math.isfinite(edge)
    }
    return sorted(found)


def spreads_between(*, version: SLOVersion, start: int, end: int) -> dict[int, Spread]:
    """Return the spreads of the minutes `start` to before `end` that were kept."""
    rows = BucketHour.objects.filter(version_id=version.tally_id, hour__gte=start // 60, hour__lte=(end - 1) // 60)
    found: dict[int, Spread] = {}
    for row in rows:
        found |= unpacked_spreads(row.body)
    return {minute: spread for minute, spread in found.items() if start <= minute < end}


def kept_since(*, version: SLOVersion) -> int | None:
    """Return the first minute whose spread is kept; None where none is."""
    row = BucketHour.objects.filter(version_id=version.tally_id).order_by("hour").first()
    return min(unpacked_spreads(row.body), default=None) if row is not None else None

"""How reading from sources, probing and evaluating fare."""

from collections.abc import Iterator

from django.db.models import Count, Min, Q

from core.clock import database_now
from core.measuring import Figure, figures
from reliability.data import DataState
from reliability.models import Collection, Probe
from reliability.selectors.data_sources import source_standings

WELL = (DataState.OK, DataState.WAITING, DataState.BACKFILLING)


@figures("reading")
def reading() -> Iterator[Figure]:
    """Say how many sources and probes are in trouble, and how old the oldest counts are that are read."""
    failed = sum(one.state == "failed" for one in source_standings())
    yield Figure("sources_failing", "Metric stores whose last reading failed.", failed)
    at_work = Q(finished_at__isnull=True, dead_at__isnull=True)
    found = (
        Collection.objects.filter(at_work)
        .order_by()
        .aggregate(oldest=Min("watermark"), troubled=Count("pk", filter=~Q(state__in=WELL)))
    )
    lag = (database_now() - found["oldest"]).total_seconds() if found["oldest"] else 0.0
    yield Figure("collections_troubled", "SLOs whose events could not be read.", found["troubled"])
    yield Figure("collection_lag_seconds", "How far the reading that is furthest behind is behind.", max(lag, 0.0))
    troubled = Probe.objects.filter(at_work).exclude(state__in=WELL).count()
    yield Figure("probes_troubled", "Probes that cannot be run, as against those that find a target down.", troubled)

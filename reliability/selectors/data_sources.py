"""Where counts are read from, and how that goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.db.models import Count, Min, Q

from accounts.data import Principal
from core.clock import database_now
from reliability.data import DataState
from reliability.models import Collection, DataSource
from reliability.selectors.budgets import slos_visible


@dataclass(frozen=True)
class SourceStanding:
    """How the reading of a source goes. `behind` is the age of the oldest watermark of the SLOs read from it."""

    source: DataSource
    host: str
    state: str
    slos: int
    troubled: int
    behind: timedelta | None


@dataclass(frozen=True)
class ReadSLO:
    """How the reading of one SLO goes."""

    name: str
    slug: str
    state: str
    detail: str
    watermark: datetime
    succeeded_at: datetime | None
    failures: int


IN_FORCE = Q(versions__retired_at__isnull=True)


def source_standings() -> list[SourceStanding]:
    """Return every source with how its reading goes, in two queries."""
    sources = DataSource.objects.annotate(slos=Count("versions__slo", filter=IN_FORCE, distinct=True))
    readings = {
        row["version__data_source"]: row
        for row in Collection.objects.filter(version__data_source__isnull=False, finished_at__isnull=True)
        .order_by()
        .values("version__data_source")
        .annotate(
            troubled=Count("pk", filter=~Q(state__in=(DataState.OK, DataState.WAITING, DataState.BACKFILLING))),
            oldest=Min("watermark"),
        )
    }
    now = database_now()
    return [_standing(source, source.slos, readings.get(source.pk, {}), now) for source in sources]


def _standing(source: DataSource, slos: int, reading: Mapping[str, object], now: datetime) -> SourceStanding:
    oldest = reading.get("oldest")
    return SourceStanding(
        source=source,
        host=urlsplit(source.url).netloc.rpartition("@")[2],
        state=source_state(source),
        slos=slos,
        troubled=int(str(reading.get("troubled", 0))),
        behind=now - oldest if isinstance(oldest, datetime) else None,
    )


def source_by_slug(*, slug: str) -> DataSource | None:
    """Return a source."""
    return DataSource.objects.filter(slug=slug).first()


def source_state(source: DataSource) -> str:
    """Return what the last asking said: `ok`, `failed`, or `unknown` where nobody has asked yet."""
    good, bad = source.last_success_at, source.last_error_at
    if good is None and bad is None:
        return "unknown"
    return "failed" if good is None or (bad is not None and bad > good) else "ok"


def slos_read_from(*, source: DataSource, viewer: Principal, limit: int = 200) -> list[ReadSLO]:
    """Return how the SLOs that the viewer may see are read from a source, those in trouble first."""
    rows = (
        Collection.objects.filter(
            version__data_source=source, finished_at__isnull=True, version__slo__in=slos_visible(viewer=viewer)
        )
        .select_related("version__slo")
        .defer("carried")
        .order_by("-failures", "watermark", "pk")[:limit]
    )
    return [
        ReadSLO(
            name=row.version.slo.name,
            slug=row.version.slo.slug,
            state=row.state,
            detail=row.last_error or row.note,
            watermark=row.watermark,
            succeeded_at=row.succeeded_at,
            failures=row.failures,
        )
        for row in rows
    ]

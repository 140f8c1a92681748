"""Bring tallies up to an instant at once, for a command or a test, without waiting for the turn of each row."""

from collections.abc import Callable, Iterable
from datetime import datetime

from django.db.models import F, Q, QuerySet

from core.clock import database_now
from core.leases import lease_owner_name
from reliability.models import Collection, DataSource, SLOVersion
from reliability.services.collecting import CHUNK, LEASE, advance, fail_all, find_out_flavour
from reliability.services.prometheus import PrometheusReader, SourceError


def refresh(
    *,
    versions: Iterable[SLOVersion],
    until: datetime | None = None,
    say: Callable[[float], None] = lambda ratio: None,  # noqa: ARG005 says nothing
    sleep: Callable[[float], None],
) -> dict[str, str]:
    """Read until every version's events are counted up to `until`; returns what went wrong, by SLO.

    May be run again and beside the workers without harm: a row that a worker holds is waited for.
    """
    tallies = {version.tally_id for version in versions}
    until = until or database_now()
    failed: dict[int, str] = {}
    start = min(Collection.objects.filter(version__in=tallies).values_list("watermark", flat=True), default=until)
    while True:
        behind = Collection.objects.filter(version__in=tallies, watermark__lt=until).exclude(pk__in=failed)
        nearest = behind.order_by("watermark").select_related("version").first()
        if nearest is None:
            break
        say((nearest.watermark - start) / (until - start))
        rows = _claim(behind, nearest)
        if not rows:
            sleep(0.2)
            continue
        source = DataSource.objects.get(versions=rows[0].version_id)
        _advance(source, rows, until)
        done = Collection.objects.filter(pk__in=[row.pk for row in rows]).exclude(last_error="")
        failed.update(done.values_list("pk", "last_error"))
    say(1.0)
    slugs = Collection.objects.filter(pk__in=failed).values_list("pk", "version__slo__slug")
    return {slug: failed[pk] for pk, slug in slugs}


def _claim(behind: QuerySet[Collection], nearest: Collection) -> list[Collection]:
    """Claim, in one statement, the rows that stand at one instant of one source."""
    now, owner = database_now(), lease_owner_name()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    alike = {
        "version__data_source_id": nearest.version.data_source_id,
        "watermark": nearest.watermark,
        "succeeded_at__isnull": nearest.succeeded_at is None,
    }
    keys = behind.filter(free, **alike).order_by().values("pk")
    Collection.objects.filter(free, pk__in=keys).update(
        lease_owner=owner, lease_until=now + LEASE, fence=F("fence") + 1
    )
    return list(Collection.objects.filter(lease_owner=owner).select_related("version").order_by("pk"))


def _advance(source: DataSource, rows: list[Collection], until: datetime) -> None:
    """Count one chunk; what fails is kept on its row."""
    try:
        with PrometheusReader(source) as reader:
            find_out_flavour(reader, source)
            chunk_end = min(rows[0].watermark + CHUNK, until)
            advance(reader, source, rows, until=chunk_end, due_at=database_now())
    except SourceError as error:
        fail_all(rows, source, error)

"""How events reach SLOs: what became of the last readings."""

from collections.abc import Iterable

from reliability.data import DataState, DataStatus
from reliability.models import Backfill, Collection, SLOVersion


def data_statuses(versions: Iterable[SLOVersion]) -> dict[int, DataStatus]:
    """Return how the events of versions are being read, by primary key, in two queries."""
    by_pk = {version.pk: version for version in versions}
    tallies = {version.tally_id for version in by_pk.values()}
    rows = {row.version_id: row for row in Collection.objects.filter(version__in=tallies).defer("carried")}
    running = Backfill.objects.filter(version__in=tallies, finished_at__isnull=True).defer("carried")
    backfills = {row.version_id: row for row in running}
    return {
        pk: _status(version, rows.get(version.tally_id), backfills.get(version.tally_id))
        for pk, version in by_pk.items()
    }


def _status(version: SLOVersion, row: Collection | None, backfill: Backfill | None) -> DataStatus:
    if row is None:
        return DataStatus(DataState.OK, "", "pushed")
    state, detail = DataState(row.state), row.last_error or row.note
    if backfill is not None and state is DataState.OK:
        state = DataState.BACKFILLING
        detail = backfill.last_error or f"History is read from {backfill.since:%Y-%m-%d %H:%M} UTC on."
    approximate = row.approximate or bool(version.indicator.get("expression"))
    return DataStatus(
        state,
        detail,
        "approximate" if approximate else "exact",
        read_until=row.watermark,
        failures=row.failures,
        backfill_ratio=backfill.done_ratio if backfill else None,
    )

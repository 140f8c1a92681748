"""How events reach SLOs: what became of the last readings."""

from collections.abc import Iterable

from reliability.data import DataState, DataStatus
from reliability.models import Collection, SLOVersion


def data_statuses(versions: Iterable[SLOVersion]) -> dict[int, DataStatus]:
    """Return how the events of versions are being read, by primary key, in one query."""
    by_pk = {version.pk: version for version in versions}
    rows = {row.version_id: row for row in Collection.objects.filter(version__in={v.tally_id for v in by_pk.values()})}
    return {pk: _status(rows.get(version.tally_id)) for pk, version in by_pk.items()}


def _status(row: Collection | None) -> DataStatus:
    if row is None:
        return DataStatus(DataState.OK, "", "pushed")
    return DataStatus(
        DataState(row.state), row.last_error or row.note, "exact", read_until=row.watermark, failures=row.failures
    )

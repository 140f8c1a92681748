"""How events reach SLOs: what became of the last readings."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from core.clock import database_now
from reliability.data import DataState, DataStatus
from reliability.models import Backfill, Collection, IntakeProblem, LocationProbe, Probe, SLOVersion
from reliability.selectors.looking import read_once
from reliability.selectors.tallies import last_measured_minutes

SHOWN_FOR = timedelta(hours=1)


def data_statuses(
    versions: Iterable[SLOVersion], *, measured: Mapping[int, int] | None = None
) -> dict[int, DataStatus]:
    """Return how the events of versions are being read, by primary key, in a fixed number of queries.

    `measured` are the last measured minutes, where they are known already.
    """
    by_pk = {version.pk: version for version in versions}
    return read_once(("read", *sorted(by_pk)), lambda: _data_statuses(by_pk, measured))


def _data_statuses(by_pk: Mapping[int, SLOVersion], measured: Mapping[int, int] | None) -> dict[int, DataStatus]:
    tallies = {version.tally_id for version in by_pk.values()}
    rows = {row.version_id: row for row in Collection.objects.filter(version__in=tallies).defer("carried")}
    running = Backfill.objects.filter(version__in=tallies, finished_at__isnull=True).defer("carried")
    backfills = {row.version_id: row for row in running}
    found = {}
    pushed = []
    for pk, version in by_pk.items():
        if row := rows.get(version.tally_id):
            found[pk] = _read(version, row, backfills.get(version.tally_id))
        else:
            pushed.append(version)
    return found | (_pushed(pushed, measured) if pushed else {})


def _pushed(versions: list[SLOVersion], measured: Mapping[int, int] | None) -> dict[int, DataStatus]:
    """Return how events that arrive by themselves do: what was refused lately, or that nothing ever came."""
    tallies = {version.tally_id for version in versions}
    probed = any(version.source_type == "probe" for version in versions)
    probes: dict[int, list[Probe | LocationProbe]] = {}
    if probed:
        rows: list[Probe | LocationProbe] = [*Probe.objects.filter(version__in=tallies)]
        rows += LocationProbe.objects.filter(version__in=tallies)
        for row in rows:
            probes.setdefault(row.version_id, []).append(row)
    recent = IntakeProblem.objects.filter(last_at__gte=database_now() - SHOWN_FOR)
    problems = {row.version_id: row for row in recent.order_by("last_at")}
    measured = last_measured_minutes(versions) if measured is None else measured
    found = {}
    for version in versions:
        problem = problems.get(version.tally_id) or problems.get(None)
        if turns := probes.get(version.tally_id):
            found[version.pk] = _probed(turns)
        elif version.source_type != "otlp":
            found[version.pk] = DataStatus(DataState.OK, "", "pushed")
        elif problem is not None:
            when = f"last at {problem.last_at:%Y-%m-%d %H:%M} UTC"
            detail = f"{problem.note} ({problem.refused} refused so far, {when})" if problem.refused else problem.note
            found[version.pk] = DataStatus(DataState(problem.state), detail, "pushed")
        elif version.pk not in measured:
            found[version.pk] = DataStatus(DataState.WAITING, NEVER, "pushed")
        else:
            found[version.pk] = DataStatus(DataState.OK, "", "pushed")
    return found


NEVER = "No point or span that this SLO counts has been received: see the name, the resource and the attributes."


def _probed(rows: Sequence[Probe | LocationProbe]) -> DataStatus:
    """Return how probes go: of several locations, the state of the first that is not well, and what each says."""
    states = [DataState(row.state) for row in rows]
    troubled = [one for one in states if one is not DataState.OK]
    said = [(getattr(row, "location", ""), detail) for row in rows if (detail := _said(row))]
    detail = "; ".join(f"{location}: {text}" if location else text for location, text in said)
    return DataStatus(min(troubled, key=WORST.index, default=DataState.OK), detail, "pushed")


WORST = (DataState.NO_PROBER, DataState.NOT_ALLOWED, DataState.WAITING)


def _said(row: Probe | LocationProbe) -> str:
    detail = row.last_error or row.last_problem
    if row.state == DataState.NO_PROBER:
        detail = "no prober runs its turns, which count as unknown"
    if row.missed:
        detail = f"{detail}; " if detail else ""
        detail += f"{row.missed} turns could not be run in time"
    return detail


def probe_locations(version: SLOVersion) -> list[LocationProbe]:
    """Return where a version is probed from and what came of it there; none where the site's workers probe."""
    if version.source_type != "probe":
        return []
    return list(LocationProbe.objects.filter(version_id=version.tally_id).order_by("location"))


def _read(version: SLOVersion, row: Collection, backfill: Backfill | None) -> DataStatus:
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

"""What stands behind a number: one minute of an SLO, by group, with the query that it was counted by."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reliability.domain.budgets import Counts
from reliability.models import SLO, Exemplar, SLOVersion
from reliability.selectors.budgets import versions_at
from reliability.selectors.reckoning import spans_of, subjects_of
from reliability.selectors.tallies import groups_of, tally_minutes


@dataclass(frozen=True)
class Counted:
    """A part of a minute's events; `counts` is None where it was not measured."""

    name: str
    counts: Counts | None


@dataclass(frozen=True)
class MinuteFacts:
    """A minute of an SLO; `version` is the definition that counted then, None where none did."""

    version: SLOVersion | None
    parts: Sequence[Counted]
    excluded: bool
    queries: Sequence[tuple[str, str]]
    thinned: bool
    exemplars: Sequence[Exemplar] = ()


def minute_facts(*, slo: SLO, minute: int) -> MinuteFacts:
    """Return what was counted of an SLO in the minute (since 1970)."""
    moment = datetime.fromtimestamp((minute + 1) * 60, UTC)
    version = next(iter(versions_at([slo], moment)), None)
    if version is None:
        return MinuteFacts(None, (), excluded=False, queries=(), thinned=False)
    subject = subjects_of([version])[version.pk][0]
    parts = [
        Counted(part.slo.name if version.is_composite else "All events", _counts(tally, minute))
        for part, tally in zip(subject.counted_by, subject.tallies, strict=True)
    ]
    for group in groups_of(version=version):
        name = ", ".join(f"{key}={value}" for key, value in group.labels.items())
        parts.append(Counted(name, _counts(group.tally_id, minute)))
    excluded = bool(spans_of([slo], minute, minute + 1).get(slo.pk))
    queries = [pair for one in subject.counted_by for pair in _queries(one)]
    exemplars = Exemplar.objects.filter(version__in=[one.tally_id for one in subject.counted_by], minute=minute)
    return MinuteFacts(
        version, parts, excluded, queries, thinned=_is_thinned(version, minute), exemplars=list(exemplars)
    )


def _counts(tally: int, minute: int) -> Counts | None:
    found = tally_minutes(tally, start_minute=minute, end_minute=minute + 1)
    return found[0][1] if found else None


def _is_thinned(version: SLOVersion, minute: int) -> bool:
    """Say whether the minute is so old that only hours are kept."""
    counted = tally_minutes(version.tally_id, start_minute=minute - 59, end_minute=minute + 60)
    return any(counts.minutes_measured > 1 for _, counts in counted)


def _queries(version: SLOVersion) -> list[tuple[str, str]]:
    words = {"good": "Good", "bad": "Bad", "total": "All", "value": "Value"}
    return [(words[key], _written(version.indicator[key])) for key in words if key in version.indicator]


def _written(query: Any) -> str:
    """Return a query in words: PromQL as it stands, an OTLP one by its attributes."""
    if isinstance(query, str):
        return query
    if "every_seconds" in query:
        within = [f"answered within {query['within_seconds']:g} s"] if query["within_seconds"] is not None else []
        cadence = f"every {query['every_seconds']:g} s, timeout {query['timeout_seconds']:g} s"
        places = [f"from {', '.join(query['locations'])}"] if query.get("locations") else []
        return ", ".join([f"probe {query['target']} ({query['kind']})", cadence, *within, *places])
    name = f"span {query['span']}" if query.get("span") else f"metric {query['metric']}"
    attributes = [f"{key}={value}" for part in ("resource", "where") for key, value in (query.get(part) or {}).items()]
    bound = [f"up to {query['le']:g}"] if query.get("le") is not None else []
    return ", ".join([name, *attributes, *bound])

"""How runbooks stand: exercised, reviewed, how often they went well; and what no runbook covers."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, IntegerField, Min, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from accounts.data import Principal
from catalog.selectors import services_visible
from runbooks.data import ENDED, EXERCISE_DAYS, KnownAlert, RunState, StepRecord, StepState, Uncovered
from runbooks.models import Runbook, RunbookRevision, RunbookRun, RunStep
from runbooks.selectors.reading import latest_revision, runbooks_visible

TIER_ONE = 1
RUNS_LOOKED_AT = 200

AlertSource = Callable[[Principal], Iterable[KnownAlert]]
_alert_sources: list[AlertSource] = []


def add_alert_source(source: AlertSource) -> None:
    """Let a room above say which alerts it knows; coverage is judged over all of them."""
    if source not in _alert_sources:
        _alert_sources.append(source)


def with_standing(runbooks: QuerySet[Runbook]) -> QuerySet[Runbook]:
    """Return the runbooks with `run_count`, `succeeded_count`, `last_exercised_at`, `known_since` and `tier`."""
    ended = RunbookRun.objects.filter(revision__runbook=OuterRef("pk"), state__in=ENDED)
    good = ended.filter(state=RunState.SUCCEEDED)
    first = RunbookRevision.objects.filter(runbook=OuterRef("pk")).order_by("created_at")
    return runbooks.annotate(
        run_count=_count(ended),
        succeeded_count=_count(good),
        last_exercised_at=Subquery(good.order_by("-ended_at").values("ended_at")[:1]),
        known_since=Subquery(first.values("created_at")[:1]),
        tier=Min("services__tier"),
    )


def _count(runs: QuerySet[RunbookRun]) -> Coalesce:
    counted = runs.order_by().values("revision__runbook").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def uncovered(*, viewer: Principal, now: datetime) -> Uncovered:
    """Return the tier-1 services and alerts without a runbook, and the runbooks that nobody exercised or reviewed."""
    runbooks: list[Any] = list(with_standing(runbooks_visible(viewer=viewer)).order_by("title"))
    slugs = {one.slug for one in runbooks}
    triggers = [one for found in Runbook.objects.values_list("triggers", flat=True) for one in found]
    services = services_visible(viewer=viewer).filter(tier=TIER_ONE, runbooks__isnull=True)
    oldest = now - timedelta(days=EXERCISE_DAYS)
    return Uncovered(
        services=tuple(services.order_by("name").values_list("slug", "name")),
        alerts=tuple(
            alert
            for source in _alert_sources
            for alert in source(viewer)
            if alert.runbook not in slugs
            and not any(alert.labels.get(one["label"]) == one["equals"] for one in triggers)
        ),
        never_exercised=tuple(one for one in runbooks if one.last_exercised_at is None),
        exercise_overdue=tuple(
            one
            for one in runbooks
            if one.tier == TIER_ONE and (one.last_exercised_at or one.known_since or now) < oldest
        ),
        stale=tuple(one for one in runbooks if one.review_by is not None and one.review_by < now.date()),
    )


def step_records(*, runbook: Runbook) -> list[StepRecord]:
    """Return how each block of the revision in force fared over the latest runs, in the order of the document."""
    runs = RunbookRun.objects.filter(revision__runbook=runbook, state__in=ENDED).order_by("-started_at")
    steps = RunStep.objects.filter(run__in=list(runs.values_list("pk", flat=True)[:RUNS_LOOKED_AT]))
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    done = (StepState.SUCCEEDED, StepState.FAILED, StepState.TIMED_OUT, StepState.UNKNOWN)
    for row in steps.filter(state__in=done).values("step_id", "state", lasted=F("finished_at") - F("began_at")):
        found[row["step_id"]].append(dict(row))
    return [
        _record(block["id"], block["kind"], found[block["id"]]) for block in latest_revision(runbook=runbook).blocks
    ]


def _record(name: str, kind: str, rows: list[dict[str, Any]]) -> StepRecord:
    lasted = [row["lasted"].total_seconds() for row in rows if row["lasted"] is not None]
    return StepRecord(
        id=name,
        kind=kind,
        runs=len(rows),
        succeeded=sum(row["state"] == StepState.SUCCEEDED for row in rows),
        median_seconds=statistics.median(lasted) if lasted else None,
        longest_seconds=max(lasted, default=None),
    )

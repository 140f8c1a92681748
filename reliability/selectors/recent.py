"""How very many SLOs stand, as of the last time that all were reckoned: what long lists are sorted and filtered by.

A site with few SLOs reckons all of them at each look. With more than `MANY`, `reliability.policies` keeps figures of
each every minute; a page sorts and filters by them, and reckons anew the rows that it shows.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Max, QuerySet

from reliability.data import BudgetState, BudgetStatus
from reliability.models import SLO, BudgetFigures
from reliability.selectors.budgets import WORST_LAST

MANY = 500
# No page speaks of a budget that lasts longer than a year at the present rate.
FAR_DAYS = 365.0


def are_many(slos: QuerySet[SLO]) -> bool:
    """Say whether these are more than are reckoned at each look."""
    return slos.order_by()[: MANY + 1].count() > MANY


def figures_as_of() -> datetime | None:
    """Return when figures were last written; None when they never were."""
    found: datetime | None = BudgetFigures.objects.aggregate(last=Max("reckoned_at"))["last"]
    return found


def worst_states(slos: QuerySet[SLO]) -> dict[int, BudgetState]:
    """Return the worst kept state of each service (by primary key) that any of these SLOs are of.

    What has not been reckoned yet is UNKNOWN.
    """
    wanted = slos.order_by().prefetch_related(None).values_list("service_id", "figures__urgency").distinct()
    # The type checker does not know that a join to what is not there gives None.
    rows: Iterable[tuple[int, int | None]] = wanted
    worst: dict[int, int] = {}
    for service, urgency in rows:
        rank = WORST_LAST.index(BudgetState.UNKNOWN) if urgency is None else urgency
        worst[service] = max(worst.get(service, 0), rank)
    return {service: WORST_LAST[rank] for service, rank in worst.items()}


def running_out(slos: QuerySet[SLO], *, within: timedelta) -> QuerySet[SLO]:
    """Return the SLOs whose budget was spent, or going to be within this time, the most urgent first."""
    found = slos.filter(figures__days_left__lte=within / timedelta(days=1))
    return found.order_by("-figures__urgency", "figures__days_left", "name")


def figures_of(statuses: Iterable[tuple[int, BudgetStatus]]) -> list[BudgetFigures]:
    """Return what is kept of statuses, by the SLO's primary key; rounded, so that what hardly moves is not written."""
    return [
        BudgetFigures(
            slo_id=key,
            state=status.state.value,
            urgency=WORST_LAST.index(status.state),
            remaining_low=None if status.remaining is None else round(status.remaining.low, 4),
            days_left=_days_left(status),
            coverage=round(status.coverage_ratio, 3),
            reckoned_at=status.at,
        )
        for key, status in statuses
    ]


def _days_left(status: BudgetStatus) -> float | None:
    if status.remaining is not None and status.remaining.high <= 0:
        return 0.0
    if status.exhausts_in is None:
        return None
    days = status.exhausts_in / timedelta(days=1)
    return None if days > FAR_DAYS else round(days, 1)

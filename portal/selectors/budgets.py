"""Error budgets as the portal's pages show them."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from core.states import tone_of
from portal.data import BudgetLine
from portal.links import page
from reliability.data import BudgetState, BudgetStatus
from reliability.selectors import are_many, budget_statuses, worst_states
from reliability.selectors import running_out as kept_running_out

SOON = timedelta(days=7)
FAR = timedelta(days=28)


def budget_lines(slos: Iterable[Any], *, now: datetime) -> list[BudgetLine]:
    """Return the SLOs with what is left, the most urgent first."""
    slos = list(slos)
    statuses = budget_statuses(slos, now=now)
    lines = [_line(slo, statuses.get(slo.pk), now) for slo in slos]
    return sorted(
        lines,
        key=lambda line: (-tone_of(line.state).badness, line.exhausts_at or now + FAR, line.name),
    )


def standing_budgets(
    slos: QuerySet[Any], *, now: datetime, shown: int, is_large: bool = False
) -> tuple[dict[int, str], int, list[BudgetLine]]:
    """Return each service's most urgent state, how many budgets run out soon, and the most urgent of those.

    Of very many SLOs, or on a large site, these are as of when all were last reckoned; the lines are of now.
    """
    if is_large or are_many(slos):
        states = {key: state.value for key, state in worst_states(slos).items()}
        if not shown:
            return states, 0, []
        soon = kept_running_out(slos, within=SOON)
        return states, soon.count(), budget_lines(soon[:shown], now=now)
    found = list(slos)
    lines = budget_lines(found, now=now)
    soon_lines = running_out(lines, now=now)
    return worst_by_service(lines), len(soon_lines), soon_lines[:shown]


def running_out(lines: Sequence[BudgetLine], *, now: datetime) -> list[BudgetLine]:
    """Return those that are spent, or will be within a week at the present rate."""
    return [
        line
        for line in lines
        if line.state == BudgetState.BREACHED or (line.exhausts_at is not None and line.exhausts_at <= now + SOON)
    ]


def worst_by_service(lines: Iterable[BudgetLine]) -> dict[int, str]:
    """Return the most urgent state among each service's SLOs, by the service's primary key."""
    states: dict[int, str] = {}
    for line in lines:
        known = states.get(line.service_id)
        if known is None or tone_of(line.state).badness > tone_of(known).badness:
            states[line.service_id] = line.state
    return states


def _line(slo: Any, status: BudgetStatus | None, now: datetime) -> BudgetLine:
    url = page("reliability:slo_detail", slo.slug)
    if status is None:
        return BudgetLine(slo.name, url, slo.service.slug, BudgetState.UNKNOWN, None, None, None, slo.service_id)
    exhausts_in = status.exhausts_in
    return BudgetLine(
        name=slo.name,
        url=url,
        service=status.service_slug,
        state=status.state,
        low=status.remaining.low if status.remaining else None,
        high=status.remaining.high if status.remaining else None,
        target=float(status.target),
        service_id=slo.service_id,
        sli_low=status.sli.low if status.sli else None,
        sli_high=status.sli.high if status.sli else None,
        exhausts_at=now + exhausts_in if exhausts_in and exhausts_in < FAR else None,
        burn_rate=status.burn_1h.high if status.burn_1h else None,
    )

"""Error budgets as the portal's pages show them."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from core.states import tone_of
from portal.data import BudgetLine
from portal.links import page
from reliability.data import BudgetState, BudgetStatus
from reliability.selectors import recent_statuses

SOON = timedelta(days=7)
FAR = timedelta(days=28)


def budget_lines(slos: Iterable[Any], *, now: datetime) -> list[BudgetLine]:
    """Return the SLOs with what is left, the most urgent first."""
    slos = list(slos)
    statuses = recent_statuses(slos, now=now)
    lines = [_line(slo, statuses.get(slo.pk), now) for slo in slos]
    return sorted(
        lines,
        key=lambda line: (-tone_of(line.state).badness, line.exhausts_at or now + FAR, line.name),
    )


def running_out(lines: Sequence[BudgetLine], *, now: datetime) -> list[BudgetLine]:
    """Return those that are spent, or will be within a week at the present rate."""
    return [
        line
        for line in lines
        if line.state == BudgetState.BREACHED or (line.exhausts_at is not None and line.exhausts_at <= now + SOON)
    ]


def worst_by_service(lines: Iterable[BudgetLine]) -> dict[str, str]:
    """Return the most urgent state among each service's SLOs, by the service's slug."""
    states: dict[str, str] = {}
    for line in lines:
        known = states.get(line.service)
        if known is None or tone_of(line.state).badness > tone_of(known).badness:
            states[line.service] = line.state
    return states


def _line(slo: Any, status: BudgetStatus | None, now: datetime) -> BudgetLine:
    url = page("reliability:slo_detail", slo.slug)
    if status is None:
        return BudgetLine(slo.name, url, slo.service.slug, BudgetState.UNKNOWN, None, None, None)
    exhausts_in = status.exhausts_in
    return BudgetLine(
        name=slo.name,
        url=url,
        service=status.service_slug,
        state=status.state,
        low=status.remaining.low if status.remaining else None,
        high=status.remaining.high if status.remaining else None,
        target=float(status.target),
        sli_low=status.sli.low if status.sli else None,
        sli_high=status.sli.high if status.sli else None,
        exhausts_at=now + exhausts_in if exhausts_in and exhausts_in < FAR else None,
        burn_rate=status.burn_1h.high if status.burn_1h else None,
    )

"""Values of reliability that other rooms hold."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from reliability.domain.budgets import Counts, Interval


class BudgetState(StrEnum):
    """How an SLO stands."""

    OK = "OK"
    AT_RISK = "AT RISK"
    BREACHED = "BREACHED"
    NO_TRAFFIC = "NO TRAFFIC"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class BudgetStatus:
    """An SLO's window in figures.

    `sli` and `remaining` are None without events. `coverage_ratio` is of the minutes since counting began, within the
    window. NO TRAFFIC: measured, and nothing happened; UNKNOWN: not measured lately.
    """

    slo_slug: str
    service_slug: str
    target: Decimal
    window: timedelta
    window_start: datetime
    window_end: datetime
    counts: Counts
    sli: Interval | None
    remaining: Interval | None
    burn_1h: Interval | None
    burn_3d: Interval | None
    exhausts_in: timedelta | None
    coverage_ratio: float
    measured_recently: bool
    last_measured_at: datetime | None
    firing: bool
    frozen: bool
    state: BudgetState


__all__ = ["BudgetState", "BudgetStatus", "Counts", "Interval"]

"""Values of reliability that other rooms hold."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from reliability.domain.budgets import Counts, Interval


class BudgetState(StrEnum):
    """How an SLO stands."""

    OK = "OK"
    AT_RISK = "AT RISK"
    BREACHED = "BREACHED"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class BudgetStatus:
    """An SLO's window in figures. `sli` and `remaining` are None without events; `coverage` is of measured minutes."""

    slo_slug: str
    service_slug: str
    target: Decimal
    window: timedelta
    counts: Counts
    sli: Interval | None
    remaining: Interval | None
    burn_1h: Interval | None
    exhausts_in: timedelta | None
    coverage_ratio: float
    measured_recently: bool
    firing: bool
    state: BudgetState


__all__ = ["BudgetState", "BudgetStatus", "Counts", "Interval"]

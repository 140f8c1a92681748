"""How all SLOs of a large site stand, as of some seconds ago: for lists, which ask for all of them at each look.

A site with few SLOs is reckoned anew each time. With many, a process keeps what it has reckoned for ten seconds; while
one reader has it reckoned again, the others get what was there. Alerts, gates and guards never read from here.
"""

import threading
import time
from collections.abc import Iterable
from datetime import datetime

from reliability.data import BudgetStatus
from reliability.models import SLO
from reliability.selectors.budgets import budget_statuses

MANY = 500
KEPT_SECONDS = 10.0

_reckoning = threading.Lock()
_kept: list[dict[int, BudgetStatus | None]] = [{}]
_kept_at = [0.0]


def recent_statuses(slos: Iterable[SLO], *, now: datetime) -> dict[int, BudgetStatus]:
    """Return how SLOs stand, by primary key; of more than five hundred, as of ten seconds ago at most.

    While another reader has them reckoned again, a little older. An SLO that was not there yet is reckoned now.
    """
    slos = list(slos)
    if len(slos) <= MANY:
        return budget_statuses(slos, now=now)
    if time.monotonic() - _kept_at[0] > KEPT_SECONDS and _reckoning.acquire(blocking=not _kept[0]):
        try:
            if time.monotonic() - _kept_at[0] > KEPT_SECONDS:
                _kept[0] = _reckoned(slos, now)
                _kept_at[0] = time.monotonic()
        finally:
            _reckoning.release()
    kept = _kept[0]
    # What only this reader may see, or what has been declared since.
    if missing := [slo for slo in slos if slo.pk not in kept]:
        kept.update(_reckoned(missing, now))
    found = {slo.pk: kept.get(slo.pk) for slo in slos}
    return {key: status for key, status in found.items() if status is not None}


def forget_recent() -> None:
    """Reckon anew at the next look (for tests)."""
    _kept[0] = {}
    _kept_at[0] = 0.0


def _reckoned(slos: list[SLO], now: datetime) -> dict[int, BudgetStatus | None]:
    found = budget_statuses(slos, now=now)
    return {slo.pk: found.get(slo.pk) for slo in slos}

"""How sealing and forwarding stand."""

from collections.abc import Iterator

from core.clock import database_now
from core.measuring import Figure, figures
from ledger.selectors import forwarding_standing, log_size, oldest_pending, pending_count


@figures("ledger")
def sealing() -> Iterator[Figure]:
    """Say how long the log is and how long entries wait for their place in it."""
    oldest = oldest_pending()
    lag = (database_now() - oldest).total_seconds() if oldest else 0.0
    yield Figure("ledger_entries", "Entries that are sealed.", log_size())
    yield Figure("ledger_waiting_entries", "Entries that wait for their seal.", pending_count())
    yield Figure("ledger_sealing_lag_seconds", "How long the oldest of them waits.", max(lag, 0.0))


@figures("forwarding")
def forwarding() -> Iterator[Figure]:
    """Say how far the furthest destination is behind."""
    found = forwarding_standing(now=database_now())
    yield Figure("forwarders", "Destinations that are told the ledger.", found.destinations)
    yield Figure("forwarders_failing", "Destinations whose last try failed.", found.failing)
    behind = max(found.behind.total_seconds(), 0.0)
    yield Figure("forwarding_lag_seconds", "How far the furthest destination is behind.", behind)
    yield Figure("forwarding_waiting_entries", "Entries that the furthest destination lacks.", found.waiting)

"""How sealing and forwarding stand."""

from collections.abc import Iterator

from core.clock import database_now
from core.measuring import Figure, figures
from ledger.selectors import forwarders, log_size, oldest_pending, pending_count, sealed_at


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
    now, size = database_now(), log_size()
    rows = list(forwarders())
    behind = [sealed_at(row.next_seq) for row in rows if row.next_seq < size]
    late = max(((now - at).total_seconds() for at in behind if at), default=0.0)
    yield Figure("forwarders", "Destinations that are told the ledger.", len(rows))
    yield Figure("forwarders_failing", "Destinations whose last try failed.", sum(r.status == "failing" for r in rows))
    yield Figure("forwarding_lag_seconds", "How far the furthest destination is behind.", max(late, 0.0))
    waiting = max((size - row.next_seq for row in rows), default=0)
    yield Figure("forwarding_waiting_entries", "Entries that the furthest destination lacks.", waiting)

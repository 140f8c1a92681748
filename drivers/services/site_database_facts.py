"""What a support engineer asks of PostgreSQL: its settings, large tables, and statements that take long or wait."""

import re
from typing import Any

from django.db import connection

ASKED_SETTINGS = (
    "server_version", "max_connections", "shared_buffers", "work_mem", "maintenance_work_mem", "effective_cache_size",
    "autovacuum", "default_transaction_read_only", "statement_timeout", "synchronous_standby_names", "wal_level",
)  # fmt: skip
TABLES = """
SELECT relname, pg_total_relation_size(relid) AS bytes, n_live_tup, n_dead_tup, seq_scan, idx_scan, last_autovacuum,
       last_autoanalyze
FROM pg_stat_user_tables ORDER BY 2 DESC LIMIT 40
"""
BUSY = """
SELECT pid, application_name, state, wait_event_type, wait_event, pg_blocking_pids(pid),
       EXTRACT(EPOCH FROM clock_timestamp() - xact_start)::float AS transaction_seconds,
       EXTRACT(EPOCH FROM clock_timestamp() - query_start)::float AS statement_seconds, left(query, 4000) AS statement
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start < clock_timestamp() - interval '1 second'
ORDER BY xact_start LIMIT 50
"""
VERB = re.compile(r"\s*([A-Za-z]+)")
TABLE = re.compile(r'\b(?:FROM|JOIN|INTO|UPDATE)\s+"?([a-z_][a-z0-9_]*)"?', re.IGNORECASE)


def database_facts() -> dict[str, Any]:
    """Return them; of a statement its kind and tables alone, for its values are nobody's business. Empty on SQLite."""
    if connection.vendor != "postgresql":
        return {}
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting, unit FROM pg_settings WHERE name = ANY(%s)", [list(ASKED_SETTINGS)])
        found: dict[str, Any] = {"settings": {name: f"{value} {unit or ''}".strip() for name, value, unit in cursor}}
        cursor.execute("SELECT state, count(*) FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1")
        found["connections"] = {state or "other": count for state, count in cursor}
        cursor.execute(TABLES)
        found["largest_tables"] = _rows(cursor)
        cursor.execute(BUSY)
        found["longer_than_a_second"] = [row | {"statement": _kind_of(str(row["statement"]))} for row in _rows(cursor)]
    return found


def _rows(cursor: Any) -> list[dict[str, Any]]:
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _kind_of(statement: str) -> str:
    verb = VERB.match(statement)
    return f"{verb[1].upper() if verb else '?'} {', '.join(dict.fromkeys(TABLE.findall(statement)))}".strip()

"""The parts of the tables that are kept by month, as rows for a page, a command and the support bundle."""

from typing import Any

from core.lifecycle import part_standings
from core.partitions import partitioned_tables


def partition_rows() -> list[dict[str, Any]]:
    """Return every part, table by table; none on SQLite."""
    return [
        {
            "table": table.table,
            "holds": table.name,
            "part": one.part.name,
            "range": one.range,
            "rows": one.part.rows,
            "bytes": one.part.size_bytes,
            "oldest": one.part.oldest,
            "newest": one.part.newest,
            "goes": one.goes,
        }
        for table in partitioned_tables()
        for one in part_standings(table)
    ]

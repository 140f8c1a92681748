"""What a backup says about itself: enough to know, before anything is touched, whether it may be restored here."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableFacts(_Strict):
    """How many rows a table has, and the SHA-256 over them in the order of their keys."""

    rows: int
    sha256: str


class MemberFacts(_Strict):
    """A file of the backup."""

    size: int
    sha256: str


class LedgerFacts(_Strict):
    """Where the log stood: its size, and the newest signed checkpoint."""

    size: int
    checkpoint_size: int
    checkpoint_root: str
    checkpoint_note: str


class Manifest(_Strict):
    """A backup's table of contents, its first file."""

    backup: str
    version: str
    made_at: datetime
    site: str
    engine: Literal["sqlite", "postgresql"]
    migrations: dict[str, list[str]]
    tables: dict[str, TableFacts]
    ledger: LedgerFacts | None
    members: dict[str, MemberFacts]
    artifacts_missing: list[str] = []
    secret_check: str
    holds_secret_key: bool

    @property
    def rows(self) -> int:
        """How many rows all tables have together."""
        return sum(table.rows for table in self.tables.values())


def unknown_migrations(manifest: Manifest, known: set[tuple[str, str]]) -> list[str]:
    """Return the migrations that the backup has had and this code does not know: it comes from a newer version."""
    return sorted(
        f"{app}.{name}" for app, names in manifest.migrations.items() for name in names if (app, name) not in known
    )


def table_differences(promised: dict[str, TableFacts], found: dict[str, TableFacts]) -> list[str]:
    """Return what differs between two accounts of the same tables, in words."""
    differences = []
    for name in sorted(promised.keys() | found.keys()):
        before, after = promised.get(name), found.get(name)
        if before is None or after is None:
            differences.append(f"table {name} {'is missing' if after is None else 'was not in the backup'}")
        elif before.rows != after.rows:
            differences.append(f"table {name} has {after.rows} rows; the backup says {before.rows}")
        elif before.sha256 != after.sha256:
            differences.append(f"the rows of table {name} are not those of the backup")
    return differences

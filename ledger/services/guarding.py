"""Triggers that make the database itself refuse to change or delete what the log holds.

A guard against mistakes and against code, not against an administrator of the database: whoever may drop a trigger may
rewrite the table, and only checkpoints kept elsewhere show it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper

FIXED_TABLES = ("ledger_ledgerentry", "ledger_seal", "ledger_treenode", "ledger_checkpoint")
# What may change in these, and only so: a payload is erased, the log's head moves on.
CHANGING_TABLES = {
    "ledger_entrycontent": "NEW.entry_id = OLD.entry_id AND NEW.erased_at IS NOT NULL AND length(NEW.body) = 0",
    "ledger_loghead": "NEW.origin = OLD.origin AND NEW.size >= OLD.size",
}
MESSAGE = "the ledger is append-only"


def install_guard(database: BaseDatabaseWrapper) -> None:
    """Create the triggers; those that are there already are replaced."""
    remove_guard(database)
    statements = _postgresql() if database.vendor == "postgresql" else _sqlite()
    with database.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def contents_may_go() -> Iterator[None]:
    """Let rows of content be deleted within the caller's transaction: their time is over, and the log says so.

    For SQLite, whose writers wait for each other, so that nobody else finds the guard away.
    """
    table = "ledger_entrycontent"
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = %s", [f"{table}_guard_delete"])
        guard = cursor.fetchone()
        cursor.execute(f"DROP TRIGGER IF EXISTS {table}_guard_delete")
        yield
        if guard:
            cursor.execute(guard[0])


def remove_guard(database: BaseDatabaseWrapper) -> None:
    """Drop the triggers (tests that flush tables, and migrations that rebuild them)."""
    with database.cursor() as cursor:
        for table in (*FIXED_TABLES, *CHANGING_TABLES):
            if database.vendor == "postgresql":
                for name in ("guard", "guard_update", "guard_delete"):
                    cursor.execute(f"DROP TRIGGER IF EXISTS {table}_{name} ON {table}")
            else:
                for verb in ("update", "delete"):
                    cursor.execute(f"DROP TRIGGER IF EXISTS {table}_guard_{verb}")


def _postgresql() -> list[str]:
    statements = [
        (
            "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$"
        )
    ]
    statements += [
        f"CREATE TRIGGER {table}_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
        for table in FIXED_TABLES
    ]
    for table, allowed in CHANGING_TABLES.items():
        statements += [
            (
                f"CREATE TRIGGER {table}_guard BEFORE TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
            ),
            # For each row: only such a trigger guards the parts of a table too, should somebody name one.
            (
                f"CREATE TRIGGER {table}_guard_delete BEFORE DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION ledger_refuse()"
            ),
            (
                f"CREATE TRIGGER {table}_guard_update BEFORE UPDATE ON {table} "
                f"FOR EACH ROW WHEN (NOT ({allowed})) EXECUTE FUNCTION ledger_refuse()"
            ),
        ]
    return statements


def _sqlite() -> list[str]:
    refuse = f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
    statements = [f"CREATE TRIGGER {table}_guard_update BEFORE UPDATE ON {table} {refuse}" for table in FIXED_TABLES]
    statements += [
        f"CREATE TRIGGER {table}_guard_update BEFORE UPDATE ON {table} WHEN NOT ({allowed}) {refuse}"
        for table, allowed in CHANGING_TABLES.items()
    ]
    statements += [
        f"CREATE TRIGGER {table}_guard_delete BEFORE DELETE ON {table} {refuse}"
        for table in (*FIXED_TABLES, *CHANGING_TABLES)
    ]
    return statements

"""Triggers that make the database itself refuse to change or delete what the log holds.

A guard against mistakes and against code, not against an administrator of the database: whoever may drop a trigger may
rewrite the table, and only checkpoints kept elsewhere show it.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

GUARDED_TABLES = ("ledger_ledgerentry", "ledger_seal", "ledger_treenode", "ledger_checkpoint")
MESSAGE = "the ledger is append-only"


def install_guard(connection: BaseDatabaseWrapper) -> None:
    """Create the triggers; those that are there already are replaced."""
    remove_guard(connection)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "CREATE OR REPLACE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS "
                f"$$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$"
            )
        for table in GUARDED_TABLES:
            if connection.vendor == "postgresql":
                cursor.execute(
                    f"CREATE TRIGGER {table}_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                    "FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()"
                )
            else:
                for verb in ("UPDATE", "DELETE"):
                    cursor.execute(
                        f"CREATE TRIGGER {table}_guard_{verb.lower()} BEFORE {verb} ON {table} "
                        f"BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END"
                    )


def remove_guard(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers (tests that flush tables, and migrations that rebuild them)."""
    with connection.cursor() as cursor:
        for table in GUARDED_TABLES:
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP TRIGGER IF EXISTS {table}_guard ON {table}")
            else:
                for verb in ("update", "delete"):
                    cursor.execute(f"DROP TRIGGER IF EXISTS {table}_guard_{verb}")

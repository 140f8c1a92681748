"""For migrations: turn a plain table into one that is kept by month, in place, and back.

No row is copied on the way there: the table as it is becomes the first part. Writers wait for a rename, no longer;
while what is there is checked against its range, they go on. Interrupted at any point, it is done again from the
start. To be called outside of a transaction (`atomic = False`). On SQLite nothing happens.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from django.db import OperationalError, connection, transaction

from core.clock import database_now
from core.partitions import (
    AHEAD,
    add_default,
    add_months,
    alone,
    attach,
    first_key,
    following,
    is_partitioned,
    month_at,
    month_of,
    parts_of,
    quoted,
    rename_indexes,
    run,
)

TRIES = 60


@dataclass(frozen=True)
class Conversion:
    """A table whose `key` is the number of a row of `owner`.

    `before` and `after` run in the transaction that swaps the tables: triggers are of one table and are not taken over.
    """

    table: str
    key: str
    owner: str
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None


def keep_by_month(one: Conversion) -> None:
    """Make the table a part of a partitioned one of its name. Raises OperationalError when a lock is not to be had."""
    if connection.vendor != "postgresql" or is_partitioned(one.table):
        return
    month = month_at(database_now())
    with connection.cursor() as cursor:
        table, key, owner = quoted(one.table), quoted(one.key), quoted(one.owner)
        cursor.execute(
            f"SELECT greatest((SELECT max({key}) FROM {table}), (SELECT max(id) FROM {owner}), 0)"  # noqa: S608  # nosec B608
        )
        highest = int(cursor.fetchone()[0])
    # A site that had months before, and went back, has numbers of this month already.
    if highest >= first_key(month):
        month = following(month_of(highest) or month)
    bound, check = first_key(month), quoted(f"{one.table}_range")
    _tried(one.table, lambda: _add_check(one, check, bound))
    run(f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}")
    _tried(one.table, lambda: _swap(one, bound, check))


def _add_check(one: Conversion, check: str, bound: int) -> None:
    run(
        f"ALTER TABLE {quoted(one.table)} DROP CONSTRAINT IF EXISTS {check}, "
        f"ADD CONSTRAINT {check} CHECK ({quoted(one.key)} < {bound}) NOT VALID"
    )


def _swap(one: Conversion, bound: int, check: str) -> None:
    first, month = f"{one.table}_before", month_of(bound)
    one.before()
    run(f"ALTER TABLE {quoted(one.table)} RENAME TO {quoted(first)}")
    rename_indexes(first, one.table, first)
    run(f"CREATE TABLE {quoted(one.table)} (LIKE {quoted(first)} INCLUDING ALL) PARTITION BY RANGE ({quoted(one.key)})")
    run(f"ALTER TABLE {quoted(one.table)} DROP CONSTRAINT {check}")
    # The check says what the range says, so that nothing is looked through under the lock.
    attach(one.table, first, None, bound)
    run(f"ALTER TABLE {quoted(first)} DROP CONSTRAINT {check}")
    add_months(one.table, [following(month, by) for by in range(AHEAD + 1)] if month else [])
    add_default(one.table)
    one.after()


def keep_in_one(one: Conversion) -> None:
    """Make the table a plain one again. What came since is copied; writers wait for that."""
    if connection.vendor != "postgresql" or not is_partitioned(one.table):
        return
    _tried(one.table, lambda: _join(one))


def _join(one: Conversion) -> None:
    table, first = one.table, f"{one.table}_before"
    run(f"LOCK TABLE {quoted(table)} IN ACCESS EXCLUSIVE MODE")
    one.before()
    if any(part.name == first for part in parts_of(table)):
        run(f"ALTER TABLE {quoted(table)} DETACH PARTITION {quoted(first)}")
    else:
        run(f"CREATE TABLE {quoted(first)} (LIKE {quoted(table)} INCLUDING ALL)")
    run(f"INSERT INTO {quoted(first)} SELECT * FROM {quoted(table)}")  # noqa: S608 quoted names  # nosec B608
    run(f"DROP TABLE {quoted(table)}")
    run(f"ALTER TABLE {quoted(first)} RENAME TO {quoted(table)}")
    rename_indexes(table, first, table)
    one.after()


def _tried(table: str, step: Callable[[], None]) -> None:
    """Do a step in one transaction; while others hold the table for long, let them, and try again."""

    def once() -> None:
        with transaction.atomic(), alone(table):
            step()

    for number in range(TRIES):
        with suppress(OperationalError):
            once()
            return
        time.sleep(min(0.1 * number, 2))
    once()

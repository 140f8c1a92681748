"""For migrations: turn a plain table into one that is kept by month, in place, and back.

No row is copied on the way there: the table as it is becomes the first part. Writers wait for a rename, no longer;
while what is there is checked against its range, they go on. Interrupted at any point, it is done again from the
start. To be called outside of a transaction (`atomic = False`). On SQLite nothing happens.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from django.db import OperationalError, connection, transaction

from core.clock import database_now
from core.partition_ranges import Minutes, OwnerNumbers, Ranges, following, month_at
from core.partitions import (
    AHEAD,
    add_default,
    add_months,
    alone,
    attach,
    is_partitioned,
    make_like,
    parts_of,
    quoted,
    rename_indexes,
    run,
)

TRIES = 60


@dataclass(frozen=True)
class Conversion:
    """A table whose `key` is the number of a row of `owner`; without an owner, it ends with a minute.

    By number, the table becomes the part `…_before` of one that has its name. By minute, it keeps its name as a part of
    the table `into`: processes of the release before, which know nothing of parts, go on with it until its range ends,
    with the month after the one that runs.

    `before` and `after` run in the transaction that swaps the tables: triggers are of one table and are not taken over.
    """

    table: str
    key: str
    owner: str = ""
    into: str = ""
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None

    @property
    def whole(self) -> str:
        """The name of the table that has the parts."""
        return self.into or self.table

    @property
    def first(self) -> str:
        """The name of the part that the table becomes."""
        return self.table if self.into else f"{self.table}_before"

    @property
    def ranges(self) -> Ranges:
        """How the months are numbered."""
        return OwnerNumbers(self.key) if self.owner else Minutes(self.key)


def keep_by_month(one: Conversion) -> None:
    """Make the table a part of a partitioned one. Raises OperationalError when a lock is not to be had."""
    if connection.vendor != "postgresql" or is_partitioned(one.whole):
        return
    month = _first_month(one, month_at(database_now()))
    bound, check = one.ranges.first(month), quoted(f"{one.table}_range")
    _tried(one.whole, lambda: _add_check(one, check, bound))
    run(f"ALTER TABLE {quoted(one.table)} VALIDATE CONSTRAINT {check}")
    _tried(one.whole, lambda: _swap(one, month, check))


def _first_month(one: Conversion, month: date) -> date:
    """Return the first month that gets a part of its own: what is there, and may still come, must be before it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max({one.ranges.number}) FROM {quoted(one.table)}")  # noqa: S608 quoted names  # nosec B608
        highest = int(cursor.fetchone()[0] or 0)
        if one.owner:
            cursor.execute(f"SELECT coalesce(max(id), 0) FROM {quoted(one.owner)}")  # noqa: S608  # nosec B608
            highest = max(highest, int(cursor.fetchone()[0]))
    if not one.owner:
        month = following(month, 2)
    # A site that had months before, and went back, has numbers of this month already.
    return following(one.ranges.month_of(highest) or month) if highest >= one.ranges.first(month) else month


def _add_check(one: Conversion, check: str, bound: int) -> None:
    number = one.ranges.number
    run(
        f"ALTER TABLE {quoted(one.table)} DROP CONSTRAINT IF EXISTS {check}, "
        f"ADD CONSTRAINT {check} CHECK ({number} IS NOT NULL AND {number} < {bound}) NOT VALID"
    )


def _swap(one: Conversion, month: date, check: str) -> None:
    whole, first, ranges = one.whole, one.first, one.ranges
    one.before()
    if first != one.table:
        run(f"ALTER TABLE {quoted(one.table)} RENAME TO {quoted(first)}")
        rename_indexes(first, one.table, first)
    alike = "INCLUDING ALL" if ranges.is_key else "INCLUDING ALL EXCLUDING INDEXES"
    run(f"CREATE TABLE {quoted(whole)} (LIKE {quoted(first)} {alike}) PARTITION BY RANGE ({ranges.number})")
    run(f"ALTER TABLE {quoted(whole)} DROP CONSTRAINT {check}")
    # The check says what the range says, so that nothing is looked through under the lock.
    attach(whole, first, None, ranges.first(month))
    run(f"ALTER TABLE {quoted(first)} DROP CONSTRAINT {check}")
    add_months(whole, ranges, [following(month, by) for by in range(AHEAD + 1)])
    add_default(whole, ranges)
    one.after()


def keep_in_one(one: Conversion) -> None:
    """Make the table a plain one again. What came since is copied; writers wait for that."""
    if connection.vendor != "postgresql" or not is_partitioned(one.whole):
        return
    _tried(one.whole, lambda: _join(one))


def _join(one: Conversion) -> None:
    whole, first = one.whole, one.first
    run(f"LOCK TABLE {quoted(whole)} IN ACCESS EXCLUSIVE MODE")
    one.before()
    if any(part.name == first for part in parts_of(whole, one.ranges)):
        run(f"ALTER TABLE {quoted(whole)} DETACH PARTITION {quoted(first)}")
    else:
        make_like(whole, first, one.ranges)
    run(f"INSERT INTO {quoted(first)} SELECT * FROM {quoted(whole)}")  # noqa: S608 quoted names  # nosec B608
    run(f"DROP TABLE {quoted(whole)}")
    if first != one.table:
        run(f"ALTER TABLE {quoted(first)} RENAME TO {quoted(one.table)}")
        rename_indexes(one.table, first, one.table)
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

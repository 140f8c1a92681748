"""Tables of bulky content that PostgreSQL keeps in a part for each month, so that a month goes in one statement.

Such a table has one key only: the growing number of the row that its content belongs to (its owner). Each month has a
range of numbers of its own, and at the month's turn the owner's sequence moves on to the first number of the month. So
the ranges are known ahead and never change, the key stays unique because it is the partition key, and a turn that comes
late refuses nothing: numbers go on in the month before. What lies in no range goes to a part that takes everything.

On SQLite all of this is one plain table, and nothing here does anything.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Model, QuerySet

# Room for four thousand million rows in a month, and for months until the sun goes out.
MONTH_BITS = 32
# The month that runs, and so many after it.
AHEAD = 2
# Whoever writes to the table waits behind a lock that is waited for; so not long, and again at the next turn.
LOCK_TIMEOUT = "1s"
_LOCKS = 0x7061_7274
_BOUND = re.compile(r"FROM \((?:'(\d+)'|MINVALUE)\) TO \((?:'(\d+)'|MAXVALUE)\)")


@dataclass(frozen=True)
class PartitionedTable:
    """Content kept by month: its model's primary key is the number of an owner, whose field of time is `at`."""

    content: type[Model]
    owner: type[Model]
    at: str
    name: str

    @property
    def table(self) -> str:
        """The table's name."""
        return self.content._meta.db_table  # noqa: SLF001 Django's documented name

    @property
    def key(self) -> str:
        """The column that holds the owner's number."""
        return str(self.content._meta.pk.column)  # noqa: SLF001

    @property
    def owners(self) -> "QuerySet[Any]":
        """The rows that the content belongs to."""
        return self.owner._base_manager.order_by()  # noqa: SLF001 Django's documented name


@dataclass(frozen=True)
class Part:
    """A part of a table: numbers from `start` (None: from the first) up to `end`. `rows` is what statistics say."""

    name: str
    start: int | None
    end: int | None
    is_default: bool
    rows: int
    size_bytes: int
    oldest: datetime | None = None
    newest: datetime | None = None

    @property
    def month(self) -> date | None:
        """The month that the range was made for; None for what was there before, and for what lies in no range."""
        return None if self.start is None else month_of(self.start)

    @property
    def range(self) -> tuple[int, int]:
        """The first number, and the first that is beyond."""
        return self.start or 0, self.end if self.end is not None else 1 << 63


_tables: dict[str, PartitionedTable] = {}


def register_partitions(table: PartitionedTable) -> PartitionedTable:
    """Have a table's months opened. Raises ValueError when it is registered twice."""
    if table.table in _tables:
        raise ValueError(f"{table.table} is registered twice")
    _tables[table.table] = table
    return table


def partitioned_tables() -> tuple[PartitionedTable, ...]:
    """Return the registered tables in order of their names."""
    return tuple(_tables[name] for name in sorted(_tables))


def first_key(month: date) -> int:
    """Return the first number of a month."""
    return ((month.year - 1970) * 12 + month.month - 1) << MONTH_BITS


def month_of(key: int) -> date | None:
    """Return the month that a number belongs to; None for one that is older than numbers by month."""
    months = key >> MONTH_BITS
    return date(1970 + months // 12, months % 12 + 1, 1) if 0 < months < 12 * 8000 else None


def following(month: date, by: int = 1) -> date:
    """Return the month so many after another."""
    months = month.year * 12 + month.month - 1 + by
    return date(months // 12, months % 12 + 1, 1)


def month_at(now: datetime) -> date:
    """Return the month of an instant, in UTC."""
    return now.astimezone(UTC).date().replace(day=1)


def month_start(month: date) -> datetime:
    """Return the instant at which a month begins, in UTC."""
    return datetime(month.year, month.month, 1, tzinfo=UTC)


def is_partitioned(table: str) -> bool:
    """Say whether a table is kept in parts here."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", [table])
        row = cursor.fetchone()
    return bool(row and row[0])


def parts(table: PartitionedTable, *, with_ages: bool = False) -> list[Part]:
    """Return the parts of a table, oldest first, the one without a range last; none where it is a plain table.

    With ages, each says of when its first and its last owner are.
    """
    found = parts_of(table.table)
    return [_with_age(table, one) for one in found] if with_ages else found


def parts_of(table: str) -> list[Part]:
    """Return the parts of the table of a name."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), pg_stat_get_live_tuples(c.oid), "
            "pg_total_relation_size(c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = to_regclass(%s) AND c.relispartition",
            [table],
        )
        found = [_part(*row) for row in cursor.fetchall()]
    return sorted(found, key=lambda one: (one.is_default, one.start or 0))


def _part(name: str, bound: str, rows: int, size: int) -> Part:
    match = _BOUND.search(bound)
    if match is None:
        return Part(name, None, None, is_default=True, rows=rows, size_bytes=size)
    start, end = (int(text) if text else None for text in match.groups())
    return Part(name, start, end, is_default=False, rows=rows, size_bytes=size)


def _with_age(table: PartitionedTable, part: Part) -> Part:
    start, end = part.range
    if part.is_default:
        return part
    within = table.owners.filter(pk__gte=start, pk__lt=end).values_list(table.at, flat=True)
    return replace(part, oldest=within.order_by("pk").first(), newest=within.order_by("-pk").first())


def open_months(table: PartitionedTable, *, now: datetime) -> list[str]:
    """Make the months that are missing, put what lies in no range where it belongs, and move the numbers on.

    Returns the names of the parts that were made. Raises OperationalError when a lock was not to be had: then nothing
    was changed and the next turn does it.
    """
    if not is_partitioned(table.table):
        return []
    month = month_at(now)
    with transaction.atomic(), alone(table.table):
        made = _empty_the_default(table)
        made += add_months(table.table, [following(month, by) for by in range(AHEAD + 1)])
    # Only now, that all may see the range: a number of it would else have gone where what has no range goes.
    with transaction.atomic(), alone(table.table):
        _move_on(table, first_key(month))
    return made


def add_months(table: str, months: Sequence[date]) -> list[str]:
    """Make the parts of some months, where no part covers them; returns their names. In a transaction."""
    covered = [one.range for one in parts_of(table) if not one.is_default]
    made = []
    for month in months:
        start, end = first_key(month), first_key(following(month))
        if any(one[0] < end and start < one[1] for one in covered):
            continue
        name = f"{table}_{month:%Y_%m}"
        # Attached and not created in its place, which would lock out those who read meanwhile.
        run(f"CREATE TABLE {quoted(name)} (LIKE {quoted(table)} INCLUDING ALL)")
        attach(table, name, start, end)
        covered.append((start, end))
        made.append(name)
    return made


def attach(table: str, name: str, start: int | None, end: int) -> None:
    """Make a table a part of another, for numbers from `start` up to `end`."""
    first = "MINVALUE" if start is None else str(start)
    run(f"ALTER TABLE {quoted(table)} ATTACH PARTITION {quoted(name)} FOR VALUES FROM ({first}) TO ({end})")


def _empty_the_default(table: PartitionedTable) -> list[str]:
    """Put rows that lie in no range into the months that they are of; returns the parts that were made for them."""
    default = next((one for one in parts_of(table.table) if one.is_default), None)
    if default is None:
        add_default(table.table)
        return []
    name, key = quoted(default.name), quoted(table.key)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT {key} >> {MONTH_BITS} FROM {name}")  # noqa: S608 quoted names  # nosec B608
        months = [found for row in cursor.fetchall() if (found := month_of(row[0] << MONTH_BITS))]
    if not months:
        return []
    # The rows are moved as a whole and not by deletion, which a table may refuse.
    run(f"ALTER TABLE {quoted(table.table)} DETACH PARTITION {name}")
    made = add_months(table.table, sorted(months))
    run(f"ALTER TABLE {name} RENAME TO {quoted(default.name + '_old')}")
    rename_indexes(default.name + "_old", default.name, default.name + "_old")
    add_default(table.table)
    run(f"INSERT INTO {quoted(table.table)} SELECT * FROM {quoted(default.name + '_old')}")  # noqa: S608  # nosec B608
    run(f"DROP TABLE {quoted(default.name + '_old')}")
    return made


def add_default(table: str) -> None:
    """Make the part that takes what lies in no range."""
    run(f"CREATE TABLE {quoted(table + '_default')} PARTITION OF {quoted(table)} DEFAULT")


def _move_on(table: PartitionedTable, first: int) -> None:
    """Let the owners' numbers go on from the first of a month, if they are not there yet."""
    if not any(one.range[0] <= first < one.range[1] for one in parts_of(table.table) if not one.is_default):
        return
    highest = table.owners.order_by("-pk").values_list("pk", flat=True).first() or 0
    with connection.cursor() as cursor:
        sequence = _sequence(cursor, table)
        cursor.execute(f"SELECT last_value FROM {sequence}")  # noqa: S608 a name that the database gave  # nosec B608
        if cursor.fetchone()[0] < first and highest < first:
            cursor.execute("SELECT setval(%s::regclass, %s, false)", [sequence, first])


def _sequence(cursor: Any, table: PartitionedTable) -> str:
    owner = table.owner._meta.db_table  # noqa: SLF001 Django's documented name
    cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [owner])
    return str(cursor.fetchone()[0])


def outlived(table: PartitionedTable, *, before: datetime) -> list[Part]:
    """Return the parts to which nothing is added any more and all of whose owners are from before an instant."""
    found = parts(table)
    if not found:
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT last_value FROM {_sequence(cursor, table)}")  # noqa: S608 a name that the database gave  # nosec B608
        number = int(cursor.fetchone()[0])
    return [one for one in found if not one.is_default and _is_outlived(table, one, number, before)]


def written_to(table: PartitionedTable, found: Sequence[Part]) -> str:
    """Return the name of the part that the next row goes to; empty without parts."""
    if not found:
        return ""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT last_value FROM {_sequence(cursor, table)}")  # noqa: S608 a name that the database gave  # nosec B608
        number = int(cursor.fetchone()[0])
    return next((one.name for one in found if not one.is_default and one.range[0] <= number < one.range[1]), "")


def _is_outlived(table: PartitionedTable, part: Part, number: int, before: datetime) -> bool:
    start, end = part.range
    if number < end or (part.month is not None and following(part.month) > before.astimezone(UTC).date()):
        return False
    within = table.owners.filter(pk__gte=start, pk__lt=end)
    last = within.order_by("-pk").values_list(table.at, flat=True).first()
    return last is None or (last < before and not within.filter(**{f"{table.at}__gte": before}).exists())


def drop_part(table: PartitionedTable, part: Part, *, keep: Sequence[int] = ()) -> None:
    """Drop a part with all its rows but those of the keys to keep. In the caller's transaction.

    Raises OperationalError when a lock was not to be had; LookupError when the part is not there any more.
    """
    with alone(table.table):
        if all((one.name, one.range) != (part.name, part.range) for one in parts_of(table.table)):
            raise LookupError(part.name)
        name = quoted(part.name)
        run(f"ALTER TABLE {quoted(table.table)} DETACH PARTITION {name}")
        if not keep:
            run(f"DROP TABLE {name}")
            return
        rest = part.name + "_rest"
        run(f"CREATE TABLE {quoted(rest)} (LIKE {quoted(table.table)} INCLUDING ALL)")
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO {quoted(rest)} SELECT * FROM {name} WHERE {quoted(table.key)} = ANY(%s)",  # noqa: S608  # nosec B608
                [list(keep)],
            )
        run(f"DROP TABLE {name}")
        run(f"ALTER TABLE {quoted(rest)} RENAME TO {name}")
        rename_indexes(part.name, rest, part.name)
        attach(table.table, part.name, part.start, part.range[1])


def problems(table: PartitionedTable, *, now: datetime) -> list[str]:
    """Return in words what is not as it must be with a table's parts."""
    if connection.vendor != "postgresql":
        return []
    found = parts(table)
    if not found:
        return [f"{table.table} is a plain table: its migration has not been applied"]
    said = []
    wanted = [first_key(following(month_at(now), by)) for by in range(2)]
    ranges = [one.range for one in found if not one.is_default]
    if not all(any(one[0] <= key < one[1] for one in ranges) for key in wanted):
        said.append(f"{table.table} has no part for this month or the next: the job core.partitions is late")
    default = next((one for one in found if one.is_default), None)
    if default is None:
        said.append(f"{table.table} has no part for what lies in no range")
    elif _any_rows(default.name):
        said.append(f"{default.name} has rows that lie in no month; the next turn of core.partitions moves them")
    return said


def _any_rows(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(name)})")  # noqa: S608 a quoted name  # nosec B608
        return bool(cursor.fetchone()[0])


@contextmanager
def alone(table: str) -> Iterator[None]:
    """Change the parts of a table alone until this transaction ends, and wait for no lock for long."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [_LOCKS, table])
    yield


def rename_indexes(table: str, old: str, new: str) -> None:
    """Give the indexes (and with them the constraints) of a table names that begin as it does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = %s AND schemaname = 'public'", [table])
        names = [row[0] for row in cursor.fetchall()]
    for name in names:
        if name.startswith(old):
            run(f"ALTER INDEX {quoted(name)} RENAME TO {quoted(new + name[len(old) :])}")


def run(statement: str) -> None:
    """Run a statement that answers nothing."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def quoted(name: str) -> str:
    """Return a name as statements need it."""
    return connection.ops.quote_name(name)

"""Tables that PostgreSQL keeps in a part for each month, so that a month goes in one statement.

Each month has a range of whole numbers, known ahead and never changed (`core.partition_ranges`). Of an `OwnedTable` the
number is the key: the growing number of the row that the content belongs to (its owner), and at the month's turn the
owner's sequence moves on to the first number of the month. Of a `TimedTable` it is the minute that the key ends with.
A turn that comes late refuses nothing: owners' numbers go on in the month before, and what lies in no range goes to a
part that takes everything, until the next turn.

On SQLite all of this is one plain table, and nothing here does anything.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Model, QuerySet

from core.clock import database_now
from core.partition_ranges import Minutes, OwnerNumbers, Ranges, following, month_at, month_start

LARGEST = (1 << 63) - 1
# The month that runs, and so many after it.
AHEAD = 2
# Whoever writes to the table waits behind a lock that is waited for; so not long, and again at the next turn.
LOCK_TIMEOUT = "1s"
_LOCKS = 0x7061_7274
_BOUND = re.compile(r"FROM \((?:'(\d+)'|MINVALUE)\) TO \((?:'(\d+)'|MAXVALUE)\)")


@dataclass(frozen=True)
class Part:
    """A part of a table: numbers from `start` (None: from the first) up to `end`. `rows` is what statistics say.

    `month` is the one that the range was made for; None for what was there before, and for what lies in no range.
    """

    name: str
    start: int | None
    end: int | None
    is_default: bool
    rows: int
    size_bytes: int
    month: date | None = None
    oldest: datetime | None = None
    newest: datetime | None = None

    @property
    def range(self) -> tuple[int, int]:
        """The first number, and the first that is beyond."""
        return self.start or 0, self.end if self.end is not None else 1 << 63


@dataclass(frozen=True)
class PartitionedTable(ABC):
    """A model that is kept by month. Its kinds say how its rows get their numbers."""

    content: type[Model]
    name: str

    @property
    def table(self) -> str:
        """The table's name."""
        return self.content._meta.db_table  # noqa: SLF001 Django's documented name

    @property
    def key(self) -> str:
        """The column of the primary key."""
        return str(self.content._meta.pk.column)  # noqa: SLF001

    @property
    @abstractmethod
    def ranges(self) -> Ranges:
        """How the months are numbered."""

    @abstractmethod
    def with_ages(self, found: list[Part]) -> list[Part]:
        """Return months with when the first and the last row of each are of, in one query."""

    @abstractmethod
    def move_on(self, month: date) -> None:
        """Let numbers go on from the first of a month, now that its part is there."""

    @abstractmethod
    def reached(self) -> int:
        """Return the number of what is written now."""

    @abstractmethod
    def is_outlived(self, part: Part, *, before: datetime) -> bool:
        """Say whether nothing is added to a part any more and all of it is from before an instant."""

    def says(self, number: int) -> str:
        """Return a bound of a range in words."""
        return str(number)


@dataclass(frozen=True)
class OwnedTable(PartitionedTable):
    """Content whose primary key is the number of an owner; `at` is the owner's field of time."""

    owner: type[Model]
    at: str

    @property
    def ranges(self) -> OwnerNumbers:
        """The numbers of the owners."""
        return OwnerNumbers(self.key)

    @property
    def owners(self) -> "QuerySet[Any]":
        """The rows that the content belongs to."""
        return self.owner._base_manager.order_by()  # noqa: SLF001 Django's documented name

    def with_ages(self, found: list[Part]) -> list[Part]:
        """Ask the owners: two seeks in an index for each part."""
        owner: Any = self.owner._meta  # noqa: SLF001 Django's documented name
        owners, key, at = (quoted(name) for name in (owner.db_table, owner.pk.column, owner.get_field(self.at).column))
        seek = f"(SELECT {at} FROM {owners} WHERE {key} >= low AND {key} < high ORDER BY {key} {{}} LIMIT 1)"  # noqa: S608 quoted names  # nosec B608
        asked = ", ".join("(%s::int, %s::bigint, %s::bigint)" for _ in found)
        ranges = [(place, one.range[0], min(one.range[1], LARGEST)) for place, one in enumerate(found)]
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT place, {seek.format('ASC')}, {seek.format('DESC')} "  # noqa: S608 quoted names  # nosec B608
                f"FROM (VALUES {asked}) AS part (place, low, high)",
                [value for one in ranges for value in one],
            )
            ages = {place: (oldest, newest) for place, oldest, newest in cursor.fetchall()}
        return [replace(one, oldest=ages[place][0], newest=ages[place][1]) for place, one in enumerate(found)]

    def move_on(self, month: date) -> None:
        """Let the owners' numbers go on from the first of a month, if they are not there yet."""
        first = self.ranges.first(month)
        found = parts_of(self.table, self.ranges)
        if not any(one.range[0] <= first < one.range[1] for one in found if not one.is_default):
            return
        highest = self.owners.order_by("-pk").values_list("pk", flat=True).first() or 0
        if highest < first and self._last_number() < first:
            with connection.cursor() as cursor:
                cursor.execute("SELECT setval(%s::regclass, %s, false)", [self._sequence(), first])

    def reached(self) -> int:
        """Return the last number that the sequence has given."""
        return self._last_number()

    def is_outlived(self, part: Part, *, before: datetime) -> bool:
        """Say whether numbers have gone on and every owner is from before an instant."""
        if part.month is not None and month_start(following(part.month)) > before:
            return False
        if self._last_number() < part.range[1]:
            return False
        within = self._within(part)
        last = within.order_by("-pk").values_list(self.at, flat=True).first()
        return last is None or (last < before and not within.filter(**{f"{self.at}__gte": before}).exists())

    def _within(self, part: Part) -> "QuerySet[Any]":
        start, end = part.range
        return self.owners.filter(pk__gte=start, pk__lt=end)

    def _last_number(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT last_value FROM {self._sequence()}")  # noqa: S608 a name that the database gave  # nosec B608
            return int(cursor.fetchone()[0])

    def _sequence(self) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [self.owner._meta.db_table])  # noqa: SLF001
            return str(cursor.fetchone()[0])


@dataclass(frozen=True)
class TimedTable(PartitionedTable):
    """Rows whose key ends with the minute that they are of."""

    @property
    def ranges(self) -> Minutes:
        """Minutes."""
        return Minutes(self.key)

    def move_on(self, month: date) -> None:
        """Do nothing: minutes go on by themselves."""

    def with_ages(self, found: list[Part]) -> list[Part]:
        """The range says it: rows are not looked through."""
        filled, now = _with_rows(one.name for one in found), database_now()
        return [self._aged(one, now) if one.name in filled else one for one in found]

    @staticmethod
    def _aged(part: Part, now: datetime) -> Part:
        oldest = None if part.start is None else _instant(part.start)
        return replace(part, oldest=oldest, newest=min(_instant(part.range[1]) - timedelta(minutes=1), now))

    def reached(self) -> int:
        """Return the minute that it is."""
        return int(database_now().timestamp()) // 60

    def is_outlived(self, part: Part, *, before: datetime) -> bool:
        """Say whether the range ends before an instant."""
        return part.range[1] <= int(before.timestamp()) // 60

    def says(self, number: int) -> str:
        """Return a minute as an instant."""
        return f"{_instant(number):%Y-%m-%d %H:%M}"


def _instant(minute: int) -> datetime:
    return datetime.fromtimestamp(minute * 60, UTC)


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

    With ages, each says of when its first and its last row are.
    """
    found = parts_of(table.table, table.ranges)
    months = [one for one in found if not one.is_default]
    if not with_ages or not months:
        return found
    return [*table.with_ages(months), *(one for one in found if one.is_default)]


def parts_of(table: str, ranges: Ranges) -> list[Part]:
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
        found = [_part(ranges, *row) for row in cursor.fetchall()]
    return sorted(found, key=lambda one: (one.is_default, one.start or 0))


def _part(ranges: Ranges, name: str, bound: str, rows: int, size: int) -> Part:
    match = _BOUND.search(bound)
    if match is None:
        return Part(name, None, None, is_default=True, rows=rows, size_bytes=size)
    start, end = (int(text) if text else None for text in match.groups())
    month = None if start is None else ranges.month_of(start)
    return Part(name, start, end, is_default=False, rows=rows, size_bytes=size, month=month)


def open_months(table: PartitionedTable, *, now: datetime) -> list[str]:
    """Make the months that are missing, put what lies in no range where it belongs, and move the numbers on.

    Returns the names of the parts that were made. Raises DatabaseError when a lock was not to be had, or a row for a
    month came while its part was made: then nothing was changed and the next turn does it.
    """
    if not is_partitioned(table.table):
        return []
    month = month_at(now)
    with transaction.atomic(), alone(table.table):
        made = _empty_the_default(table)
        made += add_months(table.table, table.ranges, [following(month, by) for by in range(AHEAD + 1)])
    # Only now, that all may see the range: a number of it would else have gone where what has no range goes.
    with transaction.atomic(), alone(table.table):
        table.move_on(month)
    return made


def open_between(table: PartitionedTable, start: datetime, end: datetime) -> list[str]:
    """Make the months from one instant to another that no part covers, for rows of then; returns their names.

    Raises DatabaseError as `open_months` does.
    """
    first, last = month_at(start), month_at(end)
    months = [first]
    while months[-1] < last:
        months.append(following(months[-1]))
    covered = [one.range for one in parts(table) if not one.is_default]
    if not covered or all(_is_covered(table.ranges, month, covered) for month in months):
        return []
    with transaction.atomic(), alone(table.table):
        return _empty_the_default(table) + add_months(table.table, table.ranges, months)


def _is_covered(ranges: Ranges, month: date, covered: Sequence[tuple[int, int]]) -> bool:
    start, end = ranges.first(month), ranges.first(following(month))
    return any(one[0] < end and start < one[1] for one in covered)


def add_months(table: str, ranges: Ranges, months: Sequence[date]) -> list[str]:
    """Make the parts of some months, where no part covers them; returns their names. In a transaction."""
    covered = [one.range for one in parts_of(table, ranges) if not one.is_default]
    made = []
    for month in months:
        if _is_covered(ranges, month, covered):
            continue
        start, end = ranges.first(month), ranges.first(following(month))
        name = f"{table}_{month:%Y_%m}"
        # Attached and not created in its place, which would lock out those who read meanwhile.
        make_like(table, name, ranges)
        attach(table, name, start, end)
        covered.append((start, end))
        made.append(name)
    return made


def make_like(table: str, name: str, ranges: Ranges) -> None:
    """Make an empty table that can become a part of another."""
    run(f"CREATE TABLE {quoted(name)} (LIKE {quoted(table)} INCLUDING ALL)")
    _give_key(name, ranges)


def _give_key(name: str, ranges: Ranges) -> None:
    if not ranges.is_key:
        run(f"ALTER TABLE {quoted(name)} ADD PRIMARY KEY ({quoted(ranges.key)})")


def attach(table: str, name: str, start: int | None, end: int) -> None:
    """Make a table a part of another, for numbers from `start` up to `end`."""
    first = "MINVALUE" if start is None else str(start)
    run(f"ALTER TABLE {quoted(table)} ATTACH PARTITION {quoted(name)} FOR VALUES FROM ({first}) TO ({end})")


def _empty_the_default(table: PartitionedTable) -> list[str]:
    """Put rows that lie in no range into the months that they are of; returns the parts that were made for them."""
    ranges = table.ranges
    default = next((one for one in parts(table) if one.is_default), None)
    if default is None:
        add_default(table.table, ranges)
        return []
    name = quoted(default.name)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT {ranges.number} / {ranges.step} FROM {name}")  # noqa: S608 quoted names  # nosec B608
        found = {ranges.month_of(row[0] * ranges.step) for row in cursor.fetchall()}
    months = sorted(month for month in found if month)
    if not months:
        return []
    # The rows are moved as a whole and not by deletion, which a table may refuse.
    run(f"ALTER TABLE {quoted(table.table)} DETACH PARTITION {name}")
    made = add_months(table.table, ranges, months)
    run(f"ALTER TABLE {name} RENAME TO {quoted(default.name + '_old')}")
    rename_indexes(default.name + "_old", default.name, default.name + "_old")
    add_default(table.table, ranges)
    run(f"INSERT INTO {quoted(table.table)} SELECT * FROM {quoted(default.name + '_old')}")  # noqa: S608  # nosec B608
    run(f"DROP TABLE {quoted(default.name + '_old')}")
    return made


def add_default(table: str, ranges: Ranges) -> None:
    """Make the part that takes what lies in no range."""
    run(f"CREATE TABLE {quoted(table + '_default')} PARTITION OF {quoted(table)} DEFAULT")
    _give_key(table + "_default", ranges)


def outlived(table: PartitionedTable, *, before: datetime) -> list[Part]:
    """Return the parts to which nothing is added any more and all of which is from before an instant."""
    return [one for one in parts(table) if not one.is_default and table.is_outlived(one, before=before)]


def written_to(table: PartitionedTable, found: Sequence[Part]) -> str:
    """Return the name of the part that the next row goes to; empty without parts."""
    if not found:
        return ""
    number = table.reached()
    return next((one.name for one in found if not one.is_default and one.range[0] <= number < one.range[1]), "")


def drop_part(table: PartitionedTable, part: Part, *, keep: Sequence[int] = ()) -> None:
    """Drop a part with all its rows but those of the keys to keep. In the caller's transaction.

    Raises OperationalError when a lock was not to be had; LookupError when the part is not there any more.
    """
    with alone(table.table):
        if all((one.name, one.range) != (part.name, part.range) for one in parts(table)):
            raise LookupError(part.name)
        name = quoted(part.name)
        run(f"ALTER TABLE {quoted(table.table)} DETACH PARTITION {name}")
        if not keep:
            run(f"DROP TABLE {name}")
            return
        rest = part.name + "_rest"
        make_like(table.table, rest, table.ranges)
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
    wanted = [table.ranges.first(following(month_at(now), by)) for by in range(2)]
    ranges = [one.range for one in found if not one.is_default]
    if not all(any(one[0] <= key < one[1] for one in ranges) for key in wanted):
        said.append(f"{table.table} has no part for this month or the next: the job core.partitions is late")
    default = next((one for one in found if one.is_default), None)
    if default is None:
        said.append(f"{table.table} has no part for what lies in no range")
    elif _with_rows([default.name]):
        said.append(f"{default.name} has rows that lie in no month; the next turn of core.partitions moves them")
    return said


def _with_rows(names: Iterable[str]) -> set[str]:
    """Return those of some tables that have a row, in one query."""
    wanted = list(names)
    asked = [f"SELECT {place}, EXISTS (SELECT 1 FROM {quoted(name)})" for place, name in enumerate(wanted)]  # noqa: S608 a quoted name  # nosec B608
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(asked))
        return {wanted[place] for place, filled in cursor.fetchall() if filled}


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

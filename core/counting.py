"""Counts of many tables in few statements: a page that asks a hundred tables must not wait a hundred times."""

import itertools
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime

# SQLite joins at most 500 SELECTs in a statement.
AT_ONCE = 100
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Counted:
    """How many rows there are, as far as they were counted, and the earliest instant in the column asked for."""

    count: int = 0
    earliest: datetime | None = None


def counts_of(questions: Mapping[K, QuerySet[Any]], *, up_to: int | None = None) -> dict[K, int]:
    """Return the number of rows of each queryset; `up_to`, if given, where there are more."""
    return {key: one.count for key, one in counts_since(questions, column="", up_to=up_to).items()}


def counts_since(questions: Mapping[K, QuerySet[Any]], *, column: str, up_to: int | None = None) -> dict[K, Counted]:
    """Return the number of rows of each queryset (at most `up_to`), and the earliest instant in a column."""
    found = dict.fromkeys(questions, Counted())
    left = iter(questions.items())
    while some := list(itertools.islice(left, AT_ONCE)):
        statements: list[str] = []
        values: list[Any] = []
        keys: list[K] = []
        for key, rows in some:
            # In order of the column, so that the earliest is among those that are counted.
            asked = (rows.order_by(column).values(column) if column else rows.order_by().values("pk"))[:up_to]
            try:
                sql, given = asked.query.get_compiler(using=DEFAULT_DB_ALIAS).as_sql()
            except EmptyResultSet:
                continue
            statements.append(f"SELECT {len(keys)}, COUNT(*), {_least(rows, column)} FROM ({sql}) AS asked")  # noqa: S608 made of querysets  # nosec B608
            values += given
            keys.append(key)
        if not statements:
            continue
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute(" UNION ALL ".join(statements), values)
            for place, count, earliest in cursor.fetchall():
                found[keys[place]] = Counted(count, _instant(earliest))
    return found


def _least(rows: QuerySet[Any], column: str) -> str:
    if not column:
        return "NULL"
    field = rows.model._meta.get_field(column)  # noqa: SLF001 Django's documented name
    return f"MIN(asked.{connections[DEFAULT_DB_ALIAS].ops.quote_name(field.column)})"


def _instant(value: Any) -> datetime | None:
    """Return what a database says of an instant; SQLite has no type for it and answers with text."""
    read = parse_datetime(value) if isinstance(value, str) else value
    return read.replace(tzinfo=UTC) if isinstance(read, datetime) and read.tzinfo is None else read

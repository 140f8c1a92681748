"""Groups of a list: records under headings, with what the records of each come to.

A plain sequence is grouped as it is. Of a queryset the database finds the records of one page in the order of their
groups, and reckons the groups that stand on it: no more is read for a hundred thousand records than for a hundred.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, overload

from django.db import connections
from django.db.models import Count, F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

AT_ONCE = 500


@dataclass(frozen=True)
class Grouping:
    """A way to group records: `of` returns the name of a row's group.

    A list of a queryset says by which `field` the database groups, and with `written` what its values are called.
    """

    key: str
    label: str
    of: Callable[[Any], str]
    field: str = ""
    written: Callable[[Any], str] = str


@dataclass(frozen=True)
class Subtotal:
    """One figure of a group; a tone makes it stand out."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Group:
    """The heading of a group; its count and subtotals are of all its records, on whatever page they stand."""

    name: str
    count: int
    subtotals: Sequence[Subtotal] = ()


class GroupedRecords:
    """What a list page says of its groups."""

    groupings: ClassVar[Sequence[Grouping]] = ()

    def subtotals(self, records: Sequence[Any]) -> Sequence[Subtotal]:  # noqa: ARG002 subclasses use it
        """Return what the records of a group come to, beside their count."""
        return ()

    def figures(self, records: QuerySet[Any], field: str) -> Mapping[Any, Sequence[Subtotal]]:  # noqa: ARG002 subclasses use it
        """Return the same of a queryset for each value of a field, in one query."""
        return {}


Subtotals = Callable[[Sequence[Any]], Sequence[Subtotal]]
Figures = Callable[[QuerySet[Any], str], Mapping[Any, Sequence[Subtotal]]]


def grouped(
    records: Any, grouping: Grouping, subtotals: Subtotals, figures: Figures
) -> tuple[Sequence[Any], Mapping[str, Group]]:
    """Return the records with those of a group together, and the groups by name.

    Inside a group the records keep their order, and the groups stand in the order of their first records: in a list
    that begins with the worst, so does each group, and the worst group comes first. Of a queryset, the groups are those
    of the page that was cut out of the records, and `figures` returns their subtotals by value of the grouping's field.
    """
    if isinstance(records, QuerySet):
        rows = RowsInGroups(records, grouping, figures)
        return rows, rows.groups
    members: dict[str, list[Any]] = {}
    for record in records:
        members.setdefault(grouping.of(record), []).append(record)
    groups = {name: Group(name, len(found), subtotals(found)) for name, found in members.items()}
    return [record for found in members.values() for record in found], groups


# The place of each record by the list's own order, then that of its group's first record.
_PLACED = """
SELECT row_key, group_key FROM (
    SELECT row_key, group_key, place, MIN(place) OVER (PARTITION BY group_key) AS first_place FROM ({sql}) AS sorted
) AS placed ORDER BY first_place, place LIMIT %s OFFSET %s
"""


class RowsInGroups(Sequence[Any]):
    """The records of a sorted queryset, group by group; `groups` are those of the slices that were taken."""

    def __init__(self, records: QuerySet[Any], grouping: Grouping, figures: Figures) -> None:
        self.groups: dict[str, Group] = {}
        self._records, self._grouping, self._figures = records, grouping, figures

    def __len__(self) -> int:
        return self._records.order_by().count()

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, int):
            return self._cut(place, place + 1)[0]
        start = place.start or 0
        keys = self._cut(start, len(self) if place.stop is None else place.stop)
        self._head({group for _, group in keys})
        return self._read([key for key, _ in keys])

    def __iter__(self) -> Iterator[Any]:
        start = 0
        while keys := self._cut(start, start + AT_ONCE):
            yield from self._read([key for key, _ in keys])
            start += len(keys)

    def _cut(self, start: int, stop: int) -> list[tuple[Any, Hashable]]:
        # A list page sorts by names of fields.
        order = [*(str(name) for name in self._records.query.order_by), "pk"]
        placed = self._records.order_by().annotate(
            row_key=F("pk"), group_key=F(self._grouping.field), place=Window(RowNumber(), order_by=order)
        )
        named = placed.values_list("row_key", "group_key", "place")
        sql, values = named.query.get_compiler(using=named.db).as_sql()
        with connections[named.db].cursor() as cursor:
            cursor.execute(_PLACED.format(sql=sql), [*values, stop - start, start])
            return list(cursor.fetchall())

    def _read(self, keys: list[Any]) -> list[Any]:
        found = self._records.order_by().in_bulk(keys)
        return [found[key] for key in keys if key in found]

    def _head(self, values: set[Hashable]) -> None:
        field, written = self._grouping.field, self._grouping.written
        wanted = Q(**{f"{field}__in": [value for value in values if value is not None]})
        if None in values:
            wanted |= Q(**{f"{field}__isnull": True})
        within = self._records.order_by().filter(wanted)
        figures = self._figures(within, field)
        for value, count in within.values_list(field).annotate(count=Count("pk")):
            name = written(value)
            self.groups[name] = Group(name, count, figures.get(value, ()))

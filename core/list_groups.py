"""Groups of a list: records under headings, with what the records of each come to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Grouping:
    """A way to group a plain sequence: `of` returns the name of a record's group."""

    key: str
    label: str
    of: Callable[[Any], str]


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


def grouped(
    records: Sequence[Any], grouping: Grouping, subtotals: Callable[[Sequence[Any]], Sequence[Subtotal]]
) -> tuple[list[Any], dict[str, Group]]:
    """Return the records with those of a group together, and the groups by name.

    Inside a group the records keep their order, and the groups stand in the order of their first records: in a list
    that begins with the worst, so does each group, and the worst group comes first.
    """
    members: dict[str, list[Any]] = {}
    for record in records:
        members.setdefault(grouping.of(record), []).append(record)
    groups = {name: Group(name, len(found), subtotals(found)) for name, found in members.items()}
    return [record for found in members.values() for record in found], groups

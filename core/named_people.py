"""Columns of text that say who somebody is, found in every table by what they are called.

Two things stand in them: a reference (`user:12`), which stays, for the number stands for the person; and a name as it
was then (user name, full name, mail address), which goes with an erasure. A column that is called otherwise and holds
people is refused by a test, so nothing is left out by forgetting it.
"""

import re
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db.models import Case, CharField, Model, Q, QuerySet, TextField, Value, When

from core.lifecycle import Person

NAMING = re.compile(r"(^|_)(by|author|approver|owner|actor|account|person|recipient)$|_label$")
# Called like people, and hold none.
NO_PEOPLE = frozenset({"lease_owner", "service_label", "caused_by", "detected_by", "suppressed_by"})
# Written once and never changed; its payloads have an erasure of their own.
UNCHANGEABLE = frozenset({"ledger.LedgerEntry"})


@dataclass(frozen=True)
class NamingTable:
    """A table with the columns of it that say who somebody is."""

    model: type[Model]
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the table is called."""
        return str(self.model._meta.verbose_name_plural).capitalize()  # noqa: SLF001 Django's documented name

    @property
    def key(self) -> str:
        """`runbooks.stepapproval`."""
        return self.model._meta.label_lower  # noqa: SLF001

    def with_any(self, values: set[str]) -> QuerySet[Any]:
        """Return the rows that hold one of these values."""
        wanted = Q(pk__in=())
        for column in self.columns:
            wanted |= Q(**{f"{column}__in": sorted(values)})
        return self.model._base_manager.filter(wanted)  # noqa: SLF001

    def rename(self, names: dict[str, str]) -> int:
        """Put other names in the place of these; returns how many rows changed."""
        changed = 0
        for column in self.columns:
            new = Case(*(When(**{column: old}, then=Value(name)) for old, name in names.items()))
            rows = self.model._base_manager.filter(**{f"{column}__in": sorted(names)})  # noqa: SLF001
            changed += rows.update(**{column: new})
        return changed


def is_naming(field: Any) -> bool:
    """Say whether a column says who somebody is."""
    is_text = isinstance(field, CharField | TextField) and not field.choices
    return is_text and field.name not in NO_PEOPLE and NAMING.search(field.name) is not None


def naming_tables() -> list[NamingTable]:
    """Return every table with such columns."""
    found = []
    for model in apps.get_models():
        if model._meta.label in UNCHANGEABLE:  # noqa: SLF001
            continue
        columns = tuple(field.name for field in model._meta.concrete_fields if is_naming(field))  # noqa: SLF001
        if columns:
            found.append(NamingTable(model, columns))
    return found


def names_of_person(person: Person) -> dict[str, str]:
    """Return what a person is called, and what stands there after an erasure."""
    gone = f"erased-{person.user_id}"
    names = {
        person.username: gone,
        person.full_name: gone,
        person.email: gone,
        f"user:{person.username}": f"user:{gone}",
    }
    return {old: new for old, new in names.items() if old and not old.isdecimal() and old != person.reference}

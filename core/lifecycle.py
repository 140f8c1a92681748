"""What data the rooms keep, for how long, and what of it is about a person.

A room registers in its own `lifecycle.py`; the room `custody` applies rules, legal holds and erasures to what is
registered. Nothing that is not registered is ever removed by them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

# Thirteen months: a yearly audit period and the month in which it is looked at.
EVIDENCE_FLOOR = timedelta(days=397)


@dataclass(frozen=True)
class Held:
    """What legal holds keep, beside whole classes: by slug of services, reference of incidents, slug of engagements."""

    services: frozenset[str] = frozenset()
    incidents: frozenset[str] = frozenset()
    engagements: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.services or self.incidents or self.engagements)


@dataclass(frozen=True)
class DataClass:
    """A kind of data that goes when it is old.

    `old` returns the rows that ended before an instant and that nothing needs any more; `at` is their field of time.
    `spare` takes rows of what is held out; without it, any hold keeps the whole class. `remove` gets primary keys and
    returns how many rows went; without it, they are deleted. `default` None keeps for ever; `floor` is the shortest
    time that a rule may say.
    """

    key: str
    name: str
    says: str
    default: timedelta | None
    floor: timedelta
    old: Callable[[datetime], QuerySet[Any]]
    at: str = ""
    spare: Callable[[QuerySet[Any], Held], QuerySet[Any]] | None = None
    remove: Callable[[list[Any]], int] | None = None
    evidence: bool = False


@dataclass(frozen=True)
class Person:
    """Somebody, as their data names them."""

    user_id: int
    username: str
    email: str
    full_name: str

    @property
    def reference(self) -> str:
        """`user:12`."""
        return f"user:{self.user_id}"


@dataclass(frozen=True)
class PersonalData:
    """A kind of data about a person: the rows, the fields that they are told of, and what an erasure does.

    `erase` returns how many rows it deleted or emptied. Without it the rows stay, for the reason `kept_because`.
    """

    key: str
    name: str
    rows: Callable[[Person], QuerySet[Any]]
    shown: tuple[str, ...]
    erase: Callable[[Person], int] | None = None
    kept_because: str = ""


_classes: dict[str, DataClass] = {}
_personal: dict[str, PersonalData] = {}
_region_lookups: list[Callable[[str], str | None]] = []


def register_class(data_class: DataClass) -> None:
    """Add a class of data. Raises ValueError when the key is taken, or evidence would go too early."""
    if data_class.key in _classes:
        raise ValueError(f"data class {data_class.key!r} is registered twice")
    if data_class.evidence and data_class.floor < EVIDENCE_FLOOR:
        raise ValueError(f"{data_class.key} is evidence: at least {EVIDENCE_FLOOR.days} days")
    _classes[data_class.key] = data_class


def register_personal(data: PersonalData) -> None:
    """Add a kind of data about people. Raises ValueError when the key is taken or nothing is said of its erasure."""
    if data.key in _personal:
        raise ValueError(f"personal data {data.key!r} is registered twice")
    if data.erase is None and not data.kept_because:
        raise ValueError(f"{data.key}: say why it is kept")
    _personal[data.key] = data


def data_classes() -> tuple[DataClass, ...]:
    """Return the classes in order of their keys."""
    return tuple(_classes[key] for key in sorted(_classes))


def personal_data() -> tuple[PersonalData, ...]:
    """Return the kinds of personal data in order of their keys."""
    return tuple(_personal[key] for key in sorted(_personal))


def deleted(rows: Callable[[Person], QuerySet[Any]]) -> Callable[[Person], int]:
    """Return an erasure that deletes the rows; what hangs on them goes with them and is counted."""

    def erase(person: Person) -> int:
        return int(rows(person).delete()[0])

    return erase


def register_region_lookup(lookup: Callable[[str], str | None]) -> None:
    """Add what knows regions: from a slug to its residency (`EU`), empty without one, None for a region unknown."""
    _region_lookups.append(lookup)


def residency_of(region: str) -> str | None:
    """Return where the data of a region must stay, empty without a rule, None when nobody knows the region."""
    return next((found for lookup in _region_lookups if (found := lookup(region)) is not None), None)


def without(rows: QuerySet[Any], names: Iterable[str], **paths: str) -> QuerySet[Any]:
    """Return rows without those that name any of `names` by a path; the key is found by a sub-query."""
    wanted = list(names)
    for path in paths.values():
        if wanted:
            rows = rows.exclude(pk__in=rows.model._base_manager.filter(**{f"{path}__in": wanted}).values("pk"))  # noqa: SLF001 Django's documented name
    return rows

"""What data the rooms keep, for how long, and what of it is about a person.

A room registers in its own `lifecycle.py`; the room `custody` applies rules, legal holds and erasures to what is
registered. Nothing that is not registered is ever removed by them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from core.partition_ranges import following, month_start
from core.partitions import Part, PartitionedTable, parts, written_to

# Thirteen months: a yearly audit period and the month in which it is looked at.
EVIDENCE_FLOOR = timedelta(days=397)


@dataclass(frozen=True)
class Held:
    """What legal holds keep, beside whole classes: by slug of services, reference of incidents, slug of engagements.

    Beside these: people by number, with their `names`; subjects of ledger entries, which only the ledger knows; and
    windows of time, the end not within.
    """

    services: frozenset[str] = frozenset()
    incidents: frozenset[str] = frozenset()
    engagements: frozenset[str] = frozenset()
    people: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()
    windows: tuple[tuple[datetime, datetime], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.kinds or self.subjects)

    @property
    def kinds(self) -> frozenset[str]:
        """What kinds of hold there are, beside those on subjects of the ledger."""
        return frozenset(
            name for name in ("services", "incidents", "engagements", "people", "windows") if getattr(self, name)
        )


@dataclass(frozen=True)
class DataClass:
    """A kind of data that goes when it is old.

    `old` returns the rows that ended before an instant and that nothing needs any more; `at` is their field of time.
    `spare` takes rows of what is held out, for the kinds of hold that it `tells` apart; without it, any hold keeps the
    whole class. Windows are told by `at`, people by `person`, the path to the account's number. `remove` gets primary
    keys and returns how many rows went; without it, they are deleted. `default` None keeps for ever; `floor` is the
    shortest time that a rule may say, `ceiling` the longest: a class with one is about people and is not kept for
    ever. A hold on a class of `held_with` keeps this one too.

    `drop` drops the months that are wholly older than an instant where rows are kept by month, but for what is held,
    records that, and returns what went; None where they are not. `instead` says that then nothing of the class goes
    row by row.
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
    held_with: tuple[str, ...] = ()
    drop: Callable[[datetime, Held], "Dropped | None"] | None = None
    instead: bool = False
    table: PartitionedTable | None = None
    ceiling: timedelta | None = None
    tells: frozenset[str] = frozenset({"services", "incidents", "engagements"})
    person: str = ""

    def is_kept_whole(self, held: Held) -> bool:
        """Say whether it cannot tell apart what is held."""
        if self.spare is None:
            return bool(held)
        apart = {*self.tells, *(["windows"] if self.at else []), *(["people"] if self.person else [])}
        return bool(held.kinds - apart)

    def without_held(self, rows: QuerySet[Any], held: Held) -> QuerySet[Any]:
        """Return the rows without those that are held."""
        if not held:
            return rows
        if self.is_kept_whole(held) or self.spare is None:
            return rows.none()
        rows = self.spare(rows, held)
        for start, end in held.windows if "windows" not in self.tells else ():
            rows = rows.exclude(**{f"{self.at}__gte": start, f"{self.at}__lt": end})
        if held.people and "people" not in self.tells:
            rows = rows.exclude(**{f"{self.person}__in": sorted(held.people)})
        return rows


@dataclass(frozen=True)
class Dropped:
    """What went with the months that were dropped."""

    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


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
_misplaced_lookups: list[Callable[[str], Iterable[str]]] = []
_subject_lookups: list[Callable[[Held], Iterable[str]]] = []
_keep_lookups: list[Callable[[DataClass], timedelta | None]] = []
_hold_lookups: list[Callable[[DataClass], bool]] = []


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


def register_misplaced_lookup(lookup: Callable[[str], Iterable[str]]) -> None:
    """Add what knows, of a residency, whose data should be elsewhere: `gateway must stay in US`."""
    _misplaced_lookups.append(lookup)


def misplaced(residency: str) -> list[str]:
    """Return in words whose data should not be kept in a residency."""
    return [said for lookup in _misplaced_lookups for said in lookup(residency)]


def register_subject_lookup(lookup: Callable[[Held], Iterable[str]]) -> None:
    """Add what knows which subjects of ledger entries belong to what is held: the incidents and SLOs of a service."""
    _subject_lookups.append(lookup)


def subjects_of(held: Held) -> Iterable[str]:
    """Return the subjects that belong to what is held, beside what is named itself."""
    return [subject for lookup in _subject_lookups for subject in lookup(held)]


def register_keep_lookup(lookup: Callable[[DataClass], timedelta | None]) -> None:
    """Add what knows how long the site keeps a class; None is for ever."""
    _keep_lookups.append(lookup)


def kept_for(one: DataClass) -> timedelta | None:
    """Return how long the site keeps a class; None is for ever."""
    return next((lookup(one) for lookup in _keep_lookups), one.default)


def register_hold_lookup(lookup: Callable[[DataClass], bool]) -> None:
    """Add what knows whether a legal hold keeps all of a class."""
    _hold_lookups.append(lookup)


def is_held(one: DataClass) -> bool:
    """Say whether a legal hold keeps all of a class now."""
    return any(lookup(one) for lookup in _hold_lookups)


@dataclass(frozen=True)
class PartStanding:
    """A part of a table that is kept by month, and when it goes: from `goes_at` on, or why not."""

    table: PartitionedTable
    part: Part
    goes_at: datetime | None
    says: str

    @property
    def range(self) -> str:
        """The numbers of the part in words."""
        if self.part.is_default:
            return "what lies in no month"
        first = "the first" if self.part.start is None else self.table.says(self.part.start)
        return f"{first} to {self.table.says(self.part.range[1] - 1)}"

    @property
    def goes(self) -> str:
        """When it goes, in words."""
        return self.says if self.goes_at is None else f"{self.goes_at:%Y-%m-%d}"


def part_standings(table: PartitionedTable) -> list[PartStanding]:
    """Return the parts of a table with when each goes, unless a legal hold keeps it; none where it is not kept so."""
    one = next((found for found in _classes.values() if found.table is table), None)
    keep = kept_for(one) if one is not None else None
    found = parts(table, with_ages=True)
    last = written_to(table, found)
    return [PartStanding(table, part, *_goes(part, keep, is_last=part.name == last)) for part in found]


def _goes(part: Part, keep: timedelta | None, *, is_last: bool) -> tuple[datetime | None, str]:
    if part.is_default:
        return None, "its rows are moved to their months"
    if part.newest is None:
        return None, "empty"
    if keep is None:
        return None, "kept for ever"
    if is_last:
        return None, "still written to"
    ended = part.newest if part.month is None else max(part.newest, month_start(following(part.month)))
    return ended + keep, ""


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

"""Reads: what is kept for how long, what is held, and what is stored about whom."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Manager, QuerySet

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from catalog.selectors import services_visible
from compliance.data import Access
from compliance.selectors import engagements_visible
from core.clock import database_now
from core.counting import counts_of
from core.fields import EncryptedTextField
from core.lifecycle import DataClass, Held, Person, data_classes, personal_data
from core.named_definitions import defining_tables, rows_naming
from core.named_people import names_of_person, naming_tables
from custody.models import Erasure, LegalHold, RetentionRule
from ledger.services import count_payloads

# Counted no further: a page must not wait for a count of millions.
COUNT_UP_TO = 10_000
BY_NUMBER = "It refers to the account's number."
IN_FORCE = (LegalHold.Status.REQUESTED, LegalHold.Status.ACTIVE, LegalHold.Status.RELEASE_REQUESTED)


@dataclass(frozen=True)
class Holding:
    """All that is held now."""

    classes: frozenset[str]
    held: Held
    references: tuple[str, ...]

    def keeps_all_of(self, one: DataClass) -> bool:
        """Say whether nothing of a class may go: it is held itself, or it cannot tell what is held apart."""
        named = {one.key, *one.held_with} & self.classes
        return bool(named) or one.is_kept_whole(self.held)


def holding() -> Holding:
    """Return what is held: from the moment that it was asked for until its release was confirmed."""
    return holding_of(list(LegalHold.objects.filter(status__in=IN_FORCE)))


def holding_of(holds: Sequence[LegalHold]) -> Holding:
    """Return what these holds keep."""
    kind = LegalHold.Kind

    def targets(wanted: str) -> frozenset[str]:
        return frozenset(hold.target for hold in holds if hold.kind == wanted)

    teams, engagements = targets(kind.TEAM), targets(kind.ENGAGEMENT)
    windows = [window_of(target) for target in targets(kind.WINDOW)]
    if engagements:
        found = engagements_visible(access=Access(everything=True)).filter(slug__in=engagements)
        windows += found.values_list("window_start", "window_end")
    numbers = frozenset(int(target.removeprefix("user:")) for target in targets(kind.PERSON))
    people = [person_of(one) for one in get_user_model().objects.filter(pk__in=numbers)] if numbers else []
    held = Held(
        services=targets(kind.SERVICE) | _services_of(teams),
        incidents=targets(kind.INCIDENT),
        engagements=engagements,
        people=numbers,
        names=frozenset(name for one in people for name in (one.username, one.email, one.full_name) if name) | teams,
        subjects=targets(kind.SUBJECT) | {f"team:{slug}" for slug in teams},
        windows=tuple(windows),
    )
    return Holding(targets(kind.CLASS), held, tuple(sorted(hold.reference for hold in holds)))


def _services_of(teams: frozenset[str]) -> frozenset[str]:
    if not teams:
        return frozenset()
    found = services_visible(viewer=system_principal("holds")).filter(team__slug__in=teams)
    return frozenset(found.values_list("slug", flat=True))


def window_of(target: str) -> tuple[datetime, datetime]:
    """Return the instants of `2026-01-01..2026-03-31`, the last day within. Raises ValueError."""
    first, _, last = target.partition("..")
    start, end = (datetime.combine(date.fromisoformat(one), time(), UTC) for one in (first, last))
    if end < start:
        raise ValueError("it ends before it begins")
    return start, end + timedelta(days=1)


@dataclass(frozen=True)
class Standing:
    """A class of data with its rule, what would go now, and what a hold keeps of it. Counts end at 10 000."""

    data_class: DataClass
    keep: timedelta | None
    rule: RetentionRule | None
    would_go: int
    held_back: int
    kept_whole: bool

    @property
    def state(self) -> str:
        """How it stands, as a word."""
        if self.rule is not None and self.rule.error:
            return "failing"
        return "held" if self.kept_whole or self.held_back else "ok"


def keep_for(one: DataClass, rule: RetentionRule | None) -> timedelta | None:
    """Return how long a class is kept; None is for ever."""
    if rule is None or not rule.changed:
        return one.default
    return None if rule.keep_days is None else timedelta(days=rule.keep_days)


def due_rows(one: DataClass, *, before: datetime, now_held: Holding) -> QuerySet[Any]:
    """Return the rows of a class that are older and that no hold keeps."""
    rows = one.old(before)
    return rows.none() if now_held.keeps_all_of(one) else one.without_held(rows, now_held.held)


def kept_by(hold: LegalHold) -> list[dict[str, Any]]:
    """Count what one hold keeps of each class, whatever the age: `class`, `name`, `rows`, `whole` and, of payloads,
    `bytes`. It reads much: for a worker, or the command line.
    """
    alone, now, found = holding_of([hold]), database_now(), []
    for one in data_classes():
        rows = one.old(now)
        whole = alone.keeps_all_of(one)
        if not whole and not alone.held:
            continue
        kept = rows if whole else rows.exclude(pk__in=one.without_held(rows, alone.held).order_by().values("pk"))
        size = None
        if one.key == "ledger.payloads":
            # On PostgreSQL only whole months are old; what is held is not asked for its month.
            count, size = count_payloads(None if whole else alone.held)
        else:
            count = kept.order_by().values("pk").distinct().count()
        if count:
            found.append({"class": one.key, "name": one.name, "rows": count, "whole": whole, "bytes": size})
    return found


def standings(*, now: datetime) -> list[Standing]:
    """Return every class of data with what would go now (the dry run)."""
    rules = {rule.key: rule for rule in RetentionRule.objects.all()}
    now_held = holding()
    keeps = {one.key: keep_for(one, rules.get(one.key)) for one in data_classes()}
    asked: dict[tuple[str, str], QuerySet[Any]] = {}
    for one in data_classes():
        if (keep := keeps[one.key]) is not None:
            asked[one.key, "old"] = one.old(now - keep)
            asked[one.key, "due"] = due_rows(one, before=now - keep, now_held=now_held)
    counts = counts_of(asked, up_to=COUNT_UP_TO)
    found = []
    for one in data_classes():
        old, would_go = counts.get((one.key, "old"), 0), counts.get((one.key, "due"), 0)
        rule, keep = rules.get(one.key), keeps[one.key]
        found.append(Standing(one, keep, rule, would_go, max(old - would_go, 0), now_held.keeps_all_of(one)))
    return found


def holds() -> QuerySet[LegalHold]:
    """Return all legal holds, newest first."""
    return LegalHold.objects.all()


def erasures() -> QuerySet[Erasure]:
    """Return all erasures, newest first."""
    return Erasure.objects.select_related("user")


@dataclass(frozen=True)
class StoredPart:
    """One kind of data about a person: how much there is, and what an erasure does with it."""

    key: str
    name: str
    count: int
    """As far as it was counted."""
    erased: bool
    because: str

    @property
    def is_over(self) -> bool:
        """Say whether there may be more than were counted."""
        return self.count == COUNT_UP_TO


def person_of(user: Any) -> Person:
    """Return somebody as their data names them."""
    return Person(user_id=user.pk, username=user.username, email=user.email, full_name=user.get_full_name())


def stored_about(*, viewer: Principal, user: Any, in_records: bool = False) -> list[StoredPart]:
    """Return what is stored about a person. People see their own, administrators everybody's.

    With `in_records`, also where records of runs name them: that reads what every run has left.
    """
    ensure_may_read(viewer, user)
    person = person_of(user)
    asked = [*_registered(person), *_referring(user), *_named_in_text(person)]
    counts = counts_of({one.key: one.rows for one in asked}, up_to=COUNT_UP_TO)
    parts = [
        StoredPart(one.key, one.name, counts[one.key], one.erased, one.because)
        for one in asked
        if counts[one.key] or one.always
    ]
    return [*parts, *_named_inside(person, in_records=in_records)]


@dataclass(frozen=True)
class _Asked:
    """What may be stored about a person: shown when there is some, or always."""

    key: str
    name: str
    rows: QuerySet[Any]
    erased: bool
    because: str
    always: bool = False


def _registered(person: Person) -> Iterator[_Asked]:
    for one in personal_data():
        yield _Asked(one.key, one.name, one.rows(person), one.erase is not None, one.kept_because, always=True)


def _referring(user: Any) -> Iterator[_Asked]:
    for key, rows in _other_references(user):
        called = f"{_called(rows.model)} ({key.rpartition('.')[2].replace('_', ' ')})"
        yield _Asked(key, called, rows, erased=False, because=BY_NUMBER)


def _called(model: Any) -> str:
    return str(model._meta.verbose_name_plural).capitalize()  # noqa: SLF001 Django's documented name


def _named_in_text(person: Person) -> Iterator[_Asked]:
    """Yield where else text says who they are: by name, which an erasure takes, or by their number, which stays."""
    known = {one.rows(person).model for one in personal_data()}
    names = set(names_of_person(person))
    for table in naming_tables():
        if table.model in known:
            continue
        yield _Asked(f"{table.key}.name", f"{table.name} (named)", table.with_any(names), erased=True, because="")
        called = f"{table.name} (by number)"
        yield _Asked(f"{table.key}.number", called, table.with_any({person.reference}), erased=False, because=BY_NUMBER)


def _named_inside(person: Person, *, in_records: bool) -> Iterator[StoredPart]:
    """Yield where definitions, and records if they are asked for, name the person inside of their JSON."""
    tables = [one for one in defining_tables() if in_records or not one.is_record]
    for table, keys in rows_naming(person, tables):
        yield StoredPart(f"{table.key}.inside", f"{table.name} (named within)", len(keys), erased=True, because="")


def exported_about(*, viewer: Principal, user: Any) -> dict[str, Any]:
    """Return everything that is stored about a person, as plain values; never a secret or a hash of one."""
    ensure_may_read(viewer, user)
    person = person_of(user)
    found: dict[str, Any] = {
        one.key: [_plain(row, one.shown) for row in one.rows(person)[:COUNT_UP_TO]] for one in personal_data()
    }
    for name, rows in _other_references(user):
        if plain := [_plain(row, _safe_fields(rows.model)) for row in rows[:COUNT_UP_TO]]:
            found[name] = plain
    for table in naming_tables():
        rows = table.with_any({person.reference, *names_of_person(person)})
        if table.key not in found and (plain := [_plain(row, _safe_fields(table.model)) for row in rows[:COUNT_UP_TO]]):
            found[table.key] = plain
    for inside, keys in rows_naming(person, defining_tables()):
        rows = inside.model._base_manager.filter(pk__in=keys)  # noqa: SLF001 Django's documented name
        found[f"{inside.key}.inside"] = [_plain(row, ("pk", *inside.columns)) for row in rows]
    return found


def ensure_may_read(viewer: Principal, user: Any) -> None:
    """Raise PermissionDenied unless the data is the viewer's own or they administer the site."""
    if viewer.user_id != user.pk or viewer.token_id is not None:
        ensure_may(viewer, Capability.SITE_ADMIN)


def _other_references(user: Any) -> Iterator[tuple[str, QuerySet[Any]]]:
    """Yield the rows of every other table that refers to the account: nothing is left out by forgetting it."""
    known = {one.rows(person_of(user)).model for one in personal_data()}
    for relation in references_to_people():
        model = relation.related_model
        if model not in known:
            manager: Manager[Any] = model._default_manager  # noqa: SLF001
            rows = manager.filter(**{relation.field.name: user.pk})
            yield f"{model._meta.label_lower}.{relation.field.name}", rows  # noqa: SLF001


def references_to_people() -> list[Any]:
    """Return every relation that leads to an account, also those that have no name on the account's side."""
    fields = get_user_model()._meta.get_fields(include_hidden=True)  # noqa: SLF001 Django's documented name
    return [one for one in fields if one.is_relation and one.auto_created and not one.concrete]


UNSAFE = ("secret", "token", "hash", "digest", "password", "key", "data")


def _safe_fields(model: Any) -> tuple[str, ...]:
    return tuple(
        field.name
        for field in model._meta.concrete_fields  # noqa: SLF001 Django's documented name
        if not isinstance(field, EncryptedTextField)
        and not field.name.startswith("lease")
        and not any(word in field.name for word in UNSAFE)
        and field.get_internal_type() != "BinaryField"
    )


def _plain(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name in names:
        try:
            value = getattr(row, name)
        except ObjectDoesNotExist:
            value = None
        if isinstance(value, datetime):
            value = value.isoformat()
        plain[name] = value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
    return plain

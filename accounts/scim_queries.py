"""SCIM filters and sorting as queries over people and groups. Imported with the first request."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Case, CharField, F, Model, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Concat, Lower, Trim

from accounts.data import ProviderKind
from accounts.domain import scim as words
from accounts.domain.scim import ScimRefusedError
from accounts.domain.scim_filters import (
    Both,
    Comparison,
    Either,
    FilterRefusedError,
    Negated,
    Node,
    Within,
    compare,
    parse_filter,
)
from accounts.models import DirectoryGroup, ProvidedIdentity, User

PAGE = 100
LARGEST_PAGE = 200
_TEXTS = ("filter", "sortBy", "sortOrder")
LOOKUPS = {"eq": "exact", "co": "contains", "sw": "startswith", "ew": "endswith"}
SAME = {"eq", "ne", "pr"}
ORDERED = {"gt", "ge", "lt", "le"}
SHOWN_NAME = Case(
    When(first_name="", last_name="", then=F("username")),
    default=Trim(Concat("first_name", Value(" "), "last_name")),
    output_field=CharField(),
)
NOTHING = Q(pk__in=())
EXTERNAL_ID = Coalesce(
    Subquery(
        ProvidedIdentity.objects.filter(user=OuterRef("pk"), provider__kind=ProviderKind.SCIM.value)
        .exclude(subject__startswith="user:")
        .values("subject")[:1]
    ),
    Value(""),
    output_field=CharField(),
)


@dataclass(frozen=True)
class Text:
    """An attribute that is a column with text. `exact`: upper and lower case differ."""

    name: str
    exact: bool = False


@dataclass(frozen=True)
class Key:
    """An attribute that identifies: only what is equal and what is not can be asked."""

    name: str
    read: Callable[[str], Any]


@dataclass(frozen=True)
class Truth:
    """A column that is true or false."""

    name: str


@dataclass(frozen=True)
class Instant:
    """A column with a time."""

    name: str


@dataclass(frozen=True)
class Constant:
    """What is the same for whoever has the column filled at all (`emails.type` is always work)."""

    value: str
    where: Q = field(default_factory=lambda: ~NOTHING)


@dataclass(frozen=True)
class Many:
    """An attribute with many values, each a row of another model; `name` leads there."""

    name: str
    shape: "Shape"


Attribute = Text | Key | Truth | Instant | Constant | Many


@dataclass(frozen=True)
class Shape:
    """What can be asked of one kind of resource.

    `default` is meant where an attribute with many values is compared itself; `whole` names attributes that have
    brackets of their own and one value (`emails[…]`).
    """

    model: type[Model]
    attributes: Mapping[str, Attribute]
    default: str = ""
    whole: tuple[str, ...] = ()

    def rows(self) -> QuerySet[Any]:
        """Return all rows, with the names that are reckoned rather than kept."""
        found = self.model._default_manager.all()  # noqa: SLF001 Django's documented name
        return found.alias(shown_name=SHOWN_NAME, external_id=EXTERNAL_ID) if self.model is User else found


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


HAS_MAIL = ~Q(email="")
_PERSON: dict[str, Attribute] = {
    "value": Key("pk", _number),
    "display": Text("shown_name"),
    "type": Constant("User"),
}
_GROUP: dict[str, Attribute] = {"value": Key("key", _uuid), "display": Text("display_name")}
USERS = Shape(
    model=User,
    attributes={
        "id": Key("pk", _number),
        "schemas": Constant(words.USER),
        "username": Text("username"),
        "externalid": Text("external_id", exact=True),
        "active": Truth("is_active"),
        "name.givenname": Text("first_name"),
        "name.familyname": Text("last_name"),
        "name.formatted": Text("shown_name"),
        "displayname": Text("shown_name"),
        "emails": Text("email"),
        "emails.value": Text("email"),
        "emails.type": Constant("work", HAS_MAIL),
        "emails.primary": Constant("true", HAS_MAIL),
        "groups": Many("directory_groups", Shape(DirectoryGroup, _GROUP, "value")),
        "meta.created": Instant("date_joined"),
        "meta.resourcetype": Constant("User"),
    },
    whole=("emails",),
)
GROUPS = Shape(
    model=DirectoryGroup,
    attributes={
        "id": Key("key", _uuid),
        "schemas": Constant(words.GROUP),
        "displayname": Text("display_name"),
        "externalid": Text("external_id", exact=True),
        "members": Many("members", Shape(User, _PERSON, "value")),
        "meta.created": Instant("created_at"),
        "meta.resourcetype": Constant("Group"),
    },
)


@dataclass(frozen=True)
class Question:
    """What is asked of a list: which, in which order, from where, how many, and which attributes of each.

    Names of attributes are in lower case and without the name of a schema.
    """

    filter: str = ""
    sort_by: str = ""
    sort_order: str = ""
    start: int = 1
    count: int = PAGE
    attributes: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()


def asked_in_address(asked: Mapping[str, str]) -> Question:
    """Return the question of an address. Raises ScimRefusedError."""
    plain: dict[str, Any] = {key: asked[key] for key in (*_TEXTS, "startIndex", "count") if key in asked}
    for key in ("attributes", "excludedAttributes"):
        plain[key] = [name for name in asked.get(key, "").split(",") if name.strip()]
    return asked_in_body(plain)


def asked_in_body(asked: Mapping[str, Any]) -> Question:
    """Return the question of a SearchRequest. Raises ScimRefusedError."""
    found = {}
    for key in _TEXTS:
        found[key] = asked.get(key) or ""
        if not isinstance(found[key], str):
            raise ScimRefusedError(f"{key}: a text is needed.")
    return Question(
        filter=found["filter"],
        sort_by=found["sortBy"],
        sort_order=found["sortOrder"],
        start=max(_bound(asked, "startIndex", 1), 1),
        count=min(max(_bound(asked, "count", PAGE), 0), LARGEST_PAGE),
        attributes=_names(asked, "attributes"),
        excluded=_names(asked, "excludedAttributes"),
    )


def _bound(asked: Mapping[str, Any], name: str, default: int) -> int:
    given = asked.get(name)
    if given in {None, ""}:
        return default
    if isinstance(given, bool) or not re.fullmatch(r"[+-]?\d{1,9}", str(given)):
        raise ScimRefusedError(f"{name}: a number is needed.")
    return int(given)


def _names(asked: Mapping[str, Any], name: str) -> frozenset[str]:
    given = asked.get(name) or []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ScimRefusedError(f"{name}: a list of names is needed.")
    return frozenset(_plain(one.strip()) for one in given)


def filtered(found: QuerySet[Any], shape: Shape, asked: str) -> QuerySet[Any]:
    """Return the rows that a filter means. Raises ScimRefusedError."""
    try:
        return found.filter(condition(parse_filter(asked), shape))
    except FilterRefusedError as error:
        raise ScimRefusedError(str(error), kind="invalidFilter") from None


def ordered(found: QuerySet[Any], shape: Shape, by: str, order: str) -> QuerySet[Any]:
    """Return the rows in the order asked for, the oldest first where none is. Raises ScimRefusedError."""
    if order.lower() not in {"", "ascending", "descending"}:
        raise ScimRefusedError("sortOrder: ascending or descending is needed.")
    sign = "-" if order.lower() == "descending" else ""
    if not by:
        return found.order_by(f"{sign}pk")
    match shape.attributes.get(_plain(by)):
        case Text(name):
            column = Lower(name)
            return found.order_by(column.desc() if sign else column.asc(), "pk")
        case Key(name) | Truth(name) | Instant(name):
            return found.order_by(f"{sign}{'pk' if name == 'key' else name}", "pk")
    raise ScimRefusedError(f"sortBy: {by[:60]} is not kept in an order here.")


def condition(node: Node, shape: Shape) -> Q:
    """Return the condition on rows of a shape. Raises FilterRefusedError."""
    match node:
        case Both(parts):
            every = ~NOTHING
            for part in parts:
                every &= condition(part, shape)
            return every
        case Either(parts):
            some = NOTHING
            for part in parts:
                some |= condition(part, shape)
            return some
        case Negated(part):
            return ~condition(part, shape)
        case Within(path, part):
            return _within(path, part, shape)
        case Comparison():
            return _compared(node, shape)


def _within(path: str, part: Node, shape: Shape) -> Q:
    attribute = shape.attributes.get(path)
    if isinstance(attribute, Many):
        inner = attribute.shape.rows().filter(condition(part, attribute.shape))
        return Q(pk__in=shape.rows().filter(**{f"{attribute.name}__in": inner}).values("pk"))
    if path in shape.whole:
        return condition(_prefixed(part, path), shape)
    raise FilterRefusedError(f"{path[:60]} has no values to filter within.")


def _prefixed(node: Node, path: str) -> Node:
    match node:
        case Both(parts):
            return Both(tuple(_prefixed(part, path) for part in parts))
        case Either(parts):
            return Either(tuple(_prefixed(part, path) for part in parts))
        case Negated(part):
            return Negated(_prefixed(part, path))
        case Comparison(name, operator, value):
            return Comparison(f"{path}.{name}", operator, value)
    raise FilterRefusedError("A bracket within a bracket is not known.")


def _compared(asked: Comparison, shape: Shape) -> Q:
    path, operator, value = _plain(asked.path), asked.operator, asked.value.replace("\x00", "")
    owner, _, last = path.partition(".")
    many = shape.attributes.get(owner)
    if not isinstance(many, Many):
        return _single(shape.attributes.get(path), operator, value, asked.path[:60])
    if operator != "pr":
        return _within(owner, Comparison(last or many.shape.default, operator, value), shape)
    return Q(pk__in=shape.rows().filter(**{f"{many.name}__isnull": False}).values("pk"))


def _single(attribute: Attribute | None, operator: str, value: str, where: str) -> Q:
    match attribute:
        case Text(name, exact):
            return _text(name, operator, value, "" if exact else "i")
        case Key(name, read) if operator in SAME:
            return _same(operator, Q(**{name: read(value)}))
        case Truth(name) if operator in SAME and (operator == "pr" or value.lower() in {"true", "false"}):
            return _same(operator, Q(**{name: value.lower() == "true"}))
        case Constant(held, there):
            return there if compare(operator, held.casefold(), value.casefold()) else NOTHING
        case Instant(name):
            return _instant(name, operator, value)
    raise FilterRefusedError(f"{where} is not kept here, or cannot be compared by {operator} with “{value[:40]}”.")


def _same(operator: str, equal: Q) -> Q:
    return {"eq": equal, "ne": ~equal, "pr": ~NOTHING}[operator]


def _text(name: str, operator: str, value: str, case: str) -> Q:
    if operator == "pr":
        return ~Q(**{name: ""})
    if operator == "ne":
        return ~Q(**{f"{name}__{case}exact": value})
    if operator in ORDERED:
        return Q(**{f"{name}__{operator if operator in {'gt', 'lt'} else f'{operator[0]}te'}": value})
    return Q(**{f"{name}__{case}{LOOKUPS[operator]}": value})


def _instant(name: str, operator: str, value: str) -> Q:
    if operator == "pr":
        return ~NOTHING
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        raise FilterRefusedError(f"“{value[:40]}” is not a time like 2026-01-31T12:00:00Z.") from None
    if instant.tzinfo is None or operator not in {"eq", "ne", *ORDERED}:
        raise FilterRefusedError(f"A time cannot be compared by {operator}, or “{value[:40]}” names no zone.")
    if operator in {"eq", "ne"}:
        equal = Q(**{name: instant})
        return equal if operator == "eq" else ~equal
    return Q(**{f"{name}__{operator if operator in {'gt', 'lt'} else f'{operator[0]}te'}": instant})


def _plain(path: str) -> str:
    lowered = path.lower()
    for schema in (words.USER, words.GROUP):
        lowered = lowered.removeprefix(f"{schema.lower()}:")
    return lowered

"""SCIM filters (RFC 7644, section 3.4.2.2) as a small tree: read once, then matched or made a query."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scim2_filter_parser import ast
from scim2_filter_parser.lexer import SCIMLexer
from scim2_filter_parser.parser import SCIMParser, SCIMParserError

LONGEST_FILTER = 1000
DEEPEST_FILTER = 20
# A text as JSON writes it, which is how the standard does.
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
MARK = "\x01"
OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "pr", "gt", "ge", "lt", "le"})


class FilterRefusedError(Exception):
    """A filter that cannot be read; the message says why."""


@dataclass(frozen=True)
class Comparison:
    """An attribute compared with a value; `pr` has none. The path is in lower case, without its schema."""

    path: str
    operator: str
    value: str = ""


@dataclass(frozen=True)
class Both:
    """Every part holds."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Either:
    """Some part holds."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Negated:
    """The part does not hold."""

    part: "Node"


@dataclass(frozen=True)
class Within:
    """One and the same value of an attribute with many fulfils the part: `emails[type eq "work"]`."""

    path: str
    part: "Node"


Node = Comparison | Both | Either | Negated | Within


def parse_filter(text: str) -> Node:
    """Return what a filter says. Raises FilterRefusedError."""
    if len(text) > LONGEST_FILTER:
        raise FilterRefusedError(f"The filter is longer than {LONGEST_FILTER} signs.")
    # The parser ends a text at its first quotation mark: texts are read here, and it sees their numbers alone.
    texts: list[str] = []

    def put_by(found: re.Match[str]) -> str:
        texts.append(json.loads(found.group()))
        return f'"{MARK}{len(texts) - 1}"'

    try:
        if '"' in TEXT.sub("", text):
            raise FilterRefusedError("A text in the filter does not end.")
        bare = TEXT.sub(put_by, text.replace(MARK, ""))
        if bare.count("(") + bare.count("[") > DEEPEST_FILTER:
            raise FilterRefusedError(f"The filter has more than {DEEPEST_FILTER} brackets.")
        read = SCIMParser().parse(SCIMLexer().tokenize(bare))
        if read is None:
            raise FilterRefusedError("The filter cannot be read.")
        return _with_texts(_node(read), texts)
    except (SCIMParserError, ValueError, AttributeError, TypeError, RecursionError):
        raise FilterRefusedError("The filter cannot be read.") from None


def matches(node: Node, values: Mapping[str, str]) -> bool:
    """Say whether the values of one thing fulfil a filter. Raises FilterRefusedError for a path that it has not."""
    match node:
        case Both(parts):
            return all(matches(part, values) for part in parts)
        case Either(parts):
            return any(matches(part, values) for part in parts)
        case Negated(part):
            return not matches(part, values)
        case Comparison(path, operator, value) if path in values:
            return compare(operator, values[path].casefold(), value.casefold())
    raise FilterRefusedError(f"{getattr(node, 'path', 'this')} cannot be selected by.")


def compare(operator: str, held: str, value: str) -> bool:
    """Say whether a text that is held compares so with a value."""
    answers: dict[str, Callable[[], bool]] = {
        "eq": lambda: held == value,
        "ne": lambda: held != value,
        "co": lambda: value in held,
        "sw": lambda: held.startswith(value),
        "ew": lambda: held.endswith(value),
        "pr": lambda: bool(held),
        "gt": lambda: held > value,
        "ge": lambda: held >= value,
        "lt": lambda: held < value,
        "le": lambda: held <= value,
    }
    return answers[operator]()


def _with_texts(node: Node, texts: list[str]) -> Node:
    match node:
        case Both(parts):
            return Both(tuple(_with_texts(part, texts) for part in parts))
        case Either(parts):
            return Either(tuple(_with_texts(part, texts) for part in parts))
        case Negated(part):
            return Negated(_with_texts(part, texts))
        case Within(path, part):
            return Within(path, _with_texts(part, texts))
        case Comparison(path, operator, value) if value.startswith(MARK):
            return Comparison(path, operator, texts[int(value.removeprefix(MARK))])
    return node


def _node(node: Any) -> Node:
    if isinstance(node, ast.Filter):
        inner = _node(node.expr)
        if node.namespace is not None:
            inner = Within(_path(node.namespace), inner)
        return Negated(inner) if node.negated else inner
    if isinstance(node, ast.LogExpr):
        return _logical(node)
    if isinstance(node, ast.AttrExpr) and node.value.lower() in OPERATORS:
        value = "" if node.comp_value is None else str(node.comp_value.value)
        inside = node.attr_path.attr_name
        if isinstance(inside, ast.Filter):
            # emails[type eq "work"].value eq "…": the parser has put the last part beside the name before the bracket.
            owner, _, last = _path(inside.namespace).partition(".")
            return Within(owner, Both((_node(inside.expr), Comparison(last or "value", node.value.lower(), value))))
        return Comparison(_path(node.attr_path), node.value.lower(), value)
    raise FilterRefusedError("The filter cannot be read.")


def _logical(node: Any) -> Node:
    """Return a chain of `and` and `or` with `and` binding closer; the parser reads it from left to right."""
    alternatives: list[list[Node]] = [[]]
    for part in _chain(node):
        if part == "or":
            alternatives.append([])
        elif part != "and":
            alternatives[-1].append(_node(part))
    made = [parts[0] if len(parts) == 1 else Both(tuple(parts)) for parts in alternatives]
    return made[0] if len(made) == 1 else Either(tuple(made))


def _chain(node: Any) -> Iterator[Any]:
    for side in (node.expr1, node.op.lower(), node.expr2):
        # What stood in brackets of its own is wrapped once more, and stays together.
        if isinstance(side, ast.Filter) and not side.negated and side.namespace is None:
            inner = side.expr
            if isinstance(inner, ast.LogExpr):
                yield from _chain(inner)
                continue
        yield side


def _path(path: Any) -> str:
    name = path.attr_name if path.sub_attr is None else f"{path.attr_name}.{path.sub_attr.value}"
    return str(name).lower()

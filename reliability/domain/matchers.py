"""Series selectors, as PromQL writes them: read, tested against labels, joined so that one read serves many.

Prometheus matches regular expressions against the whole value, with `.` matching line ends too; a label that a series
lacks is the empty text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

LONGEST_UNION = 400
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MATCHER = re.compile(
    r"""\s*(?P<label>"(?:\\.|[^"\\])*"|[a-zA-Z_][a-zA-Z0-9_]*)\s*(?P<op>=~|!~|!=|=)\s*"""
    r"""(?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)\s*"""
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class SelectorError(ValueError):
    """The text is not a series selector."""


@dataclass(frozen=True, order=True)
class Matcher:
    """A condition on one label."""

    label: str
    op: str
    value: str

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.value, re.DOTALL)

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Say whether a series' labels fulfil it."""
        found = labels.get(self.label, "")
        if self.op == "=":
            return found == self.value
        if self.op == "!=":
            return found != self.value
        return (self._pattern.fullmatch(found) is not None) == (self.op == "=~")

    def __str__(self) -> str:
        return f"{self.label}{self.op}{quoted(self.value)}"


@dataclass(frozen=True)
class Selector:
    """Matchers that a series must fulfil, the metric's name among them."""

    matchers: tuple[Matcher, ...]

    @cached_property
    def name(self) -> str:
        """The metric's name, or nothing when a pattern gives it."""
        return next((one.value for one in self.matchers if one.label == "__name__" and one.op == "="), "")

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Say whether a series is meant."""
        return all(one.holds(labels) for one in self.matchers)

    def narrows(self, other: "Selector") -> bool:
        """Say whether every series of this one is certainly one of the other."""
        return set(other.matchers) <= set(self.matchers)

    def __str__(self) -> str:
        inside = ",".join(str(one) for one in self.matchers if not (self.name and one.label == "__name__"))
        return f"{self.name}{{{inside}}}" if inside else self.name


@lru_cache(maxsize=20_000)
def parse_selector(text: str) -> Selector:
    """Read a selector. Raises SelectorError for what is none, or whose patterns are beyond Python's."""
    rest = text.strip()
    matchers: list[Matcher] = []
    if name := _NAME.match(rest):
        matchers.append(Matcher("__name__", "=", name.group()))
        rest = rest[name.end() :].strip()
    if rest:
        if not (rest.startswith("{") and rest.endswith("}")):
            raise SelectorError(f"{text!r} is not a series selector")
        matchers += _inside(rest[1:-1], text)
    if not matchers:
        raise SelectorError("a selector needs a name or a matcher")
    return Selector(tuple(sorted(set(matchers))))


def unions(selectors: Iterable[Selector]) -> list[tuple[Selector, list[Selector]]]:
    """Return selectors to read with the ones that each serves: those that differ in one label's value are joined."""
    shapes: dict[tuple[Matcher, ...], dict[str, list[Selector]]] = {}
    alone: list[Selector] = []
    for selector in dict.fromkeys(selectors):
        label = _varying_label(selector)
        if label is None:
            alone.append(selector)
            continue
        common = tuple(one for one in selector.matchers if one is not label)
        shapes.setdefault((Matcher(label.label, "=", ""), *common), {}).setdefault(label.value, []).append(selector)
    found = [(one, [one]) for one in alone]
    for shape, by_value in shapes.items():
        label, common = shape[0], shape[1:]
        values = sorted(by_value)
        for begin in range(0, len(values), LONGEST_UNION):
            chunk = values[begin : begin + LONGEST_UNION]
            served = [one for value in chunk for one in by_value[value]]
            if len(chunk) == 1:
                found.append((served[0], served))
                continue
            pattern = "|".join(_literal(value) for value in chunk)
            found.append((Selector(tuple(sorted((*common, Matcher(label.label, "=~", pattern))))), served))
    return found


def serving_label(union: Selector, served: Sequence[Selector]) -> str:
    """Return the label by whose value a union's series are told apart, or nothing for a selector that is read alone."""
    if len(served) < 2:
        return ""
    return next((one.label for one in union.matchers if one not in served[0].matchers), "")


def quoted(value: str) -> str:
    """Return a value as PromQL writes it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _varying_label(selector: Selector) -> Matcher | None:
    """Return the matcher by which selectors of one shape may differ: the first equality that is not the name."""
    if not selector.name:
        return None
    equal = [one for one in selector.matchers if one.op == "=" and one.label not in {"__name__", "le"} and one.value]
    return equal[0] if equal else None


def _literal(value: str) -> str:
    return re.sub(r"([.*+?()\[\]{}|^$\\])", r"\\\1", value)


def _inside(inside: str, text: str) -> list[Matcher]:
    found: list[Matcher] = []
    position = 0
    while position < len(inside) and inside[position:].strip():
        match = _MATCHER.match(inside, position)
        if match is None:
            name = re.match(r'\s*"((?:\\.|[^"\\])*)"\s*', inside[position:])
            if name is None:
                raise SelectorError(f"{text!r} is not a series selector")
            found.append(Matcher("__name__", "=", _unescaped(f'"{name.group(1)}"')))
            position += name.end()
        else:
            label = match["label"]
            matcher = Matcher(_unescaped(label) if label[0] == '"' else label, match["op"], _unescaped(match["value"]))
            if matcher.op in {"=~", "!~"}:
                try:
                    re.compile(matcher.value)
                except re.error as error:
                    raise SelectorError(f"{text!r}: the pattern {matcher.value!r} cannot be read: {error}") from None
            found.append(matcher)
            position = match.end()
        if position < len(inside):
            if inside[position] != ",":
                raise SelectorError(f"{text!r} is not a series selector")
            position += 1
    return found


def _unescaped(literal: str) -> str:
    inside = literal[1:-1]
    if literal[0] == "`":
        return inside
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match.group(1), "\\" + match.group(1)), inside)

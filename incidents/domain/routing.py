"""Match an alert's labels against routes, first match wins, with the reason in words.

The matcher syntax is Alertmanager's (`alertmanager` documentation, `<matcher>`): `name="value"`, `!=`, `=~`, `!~`;
regular expressions are anchored at both ends. A label that is absent counts as empty.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

_FORM = re.compile(
    r"\s*([a-zA-Z_:][a-zA-Z0-9_:.-]*)\s*(=~|!~|!=|=)\s*"
    r'(?:"((?:[^"\\]|\\.)*)"|((?:[^"\s=~][^"\s]*)?))\s*'
)
LONGEST_VALUE = 4096


class MatcherError(ValueError):
    """The text is not a matcher."""


@dataclass(frozen=True)
class Matcher:
    """One condition on one label."""

    label: str
    operator: str
    value: str

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Say whether the labels meet the condition."""
        found = labels.get(self.label, "")[:LONGEST_VALUE]
        if self.operator in {"=", "!="}:
            return (found == self.value) is (self.operator == "=")
        return (_pattern(self.value).fullmatch(found) is not None) is (self.operator == "=~")

    def __str__(self) -> str:
        return f'{self.label}{self.operator}"{self.value}"'


def parse_matcher(text: str) -> Matcher:
    """Return the matcher that a text describes; raises MatcherError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise MatcherError(f'{text!r} is not a matcher such as severity="page" or service=~"a|b"')
    label, operator, quoted, bare = match.groups()
    value = (
        re.sub(r"\\(.)", r"\1", quoted) if quoted is not None and operator in {"=", "!="} else (quoted or bare or "")
    )
    if operator in {"=~", "!~"}:
        try:
            _pattern(value)
        except re.error as error:
            raise MatcherError(f"{text!r}: {error}") from None
    return Matcher(label, operator, value)


@dataclass(frozen=True)
class Rule:
    """A route as far as matching needs it. `continues`: later routes are tried too after it has matched."""

    name: str
    matchers: tuple[Matcher, ...]
    continues: bool = False


@dataclass(frozen=True)
class Routing:
    """What matched, in order, and every answer on the way in words."""

    matched: tuple[Rule, ...]
    words: str
    steps: tuple[str, ...]


def route(rules: Iterable[Rule], labels: Mapping[str, str]) -> Routing:
    """Try rules in order until one matches that does not continue."""
    matched: list[Rule] = []
    passed: list[str] = []
    steps: list[str] = []
    for rule in rules:
        failing = next((matcher for matcher in rule.matchers if not matcher.fits(labels)), None)
        if failing is not None:
            passed.append(f"{rule.name} did not ({failing})")
            found = labels.get(failing.label, "")
            steps.append(f"route {rule.name} did not match: {failing}, but {failing.label} is {found!r}")
            continue
        steps.append(f"route {rule.name} matched: {_fitting(rule)}")
        matched.append(rule)
        if not rule.continues:
            break
        steps.append(f"route {rule.name} continues, so later routes were tried too")
    if matched:
        skipped = f"; before it, {', '.join(passed)}" if passed else ""
        names = [f"route {rule.name} matched: {_fitting(rule)}" for rule in matched]
        return Routing(tuple(matched), f"{'; then '.join(names)}{skipped}", tuple(steps))
    words = (
        f"no route matched ({', '.join(passed)}), so nobody was paged"
        if passed
        else "no route exists, so nobody was paged"
    )
    return Routing((), words, (*steps, words))


def first_match(rules: Iterable[Rule], labels: Mapping[str, str]) -> tuple[Rule | None, str]:
    """Return the first rule whose matchers all fit, and the decision in words."""
    found = route(rules, labels)
    return (found.matched[0] if found.matched else None), found.words


def _fitting(rule: Rule) -> str:
    return " and ".join(str(matcher) for matcher in rule.matchers) or "it takes everything"


@lru_cache(maxsize=1024)
def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(value)

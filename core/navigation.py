"""What rooms add to the site's frame: entries of the menu and providers of the search.

A room calls `add_entry` and `add_search` in its own `navigation.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A menu entry. `visible` gets the request's principal and says whether the entry leads anywhere for them."""

    section: str
    label: str
    url_name: str
    icon: str
    order: int
    visible: Callable[[Any], bool]


@dataclass(frozen=True)
class Hit:
    """A search result."""

    kind: str
    title: str
    url: str
    detail: str = ""


@dataclass(frozen=True)
class SearchProvider:
    """Finds records of one kind that the principal may see; `find(principal, text, limit)`."""

    kind: str
    order: int
    find: Callable[[Any, str, int], Iterable[Hit]]


FOLDED_SECTIONS = frozenset({"Settings"})

_entries: list[Entry] = []
_providers: list[SearchProvider] = []


def add_entry(entry: Entry) -> None:
    """Add a menu entry."""
    _entries.append(entry)


def add_search(provider: SearchProvider) -> None:
    """Add a kind of record to the search."""
    _providers.append(provider)


def entries_for(principal: object) -> list[Entry]:
    """Return the entries that lead somewhere for this principal, in order."""
    # Entries of a room mostly ask the same, and the answer may cost a query.
    answers: dict[Callable[[Any], bool], bool] = {}
    for entry in _entries:
        if entry.visible not in answers:
            answers[entry.visible] = entry.visible(principal)
    return sorted((entry for entry in _entries if answers[entry.visible]), key=lambda entry: entry.order)


def search_for(principal: object, text: str, *, limit: int = 8) -> list[Hit]:
    """Return hits of every kind, at most `limit` of each."""
    text = text.strip()[:200]
    if not text:
        return []
    return [
        hit for provider in sorted(_providers, key=lambda p: p.order) for hit in provider.find(principal, text, limit)
    ]

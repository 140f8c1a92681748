"""The room's place in the menu and in the search."""

from collections.abc import Iterable
from typing import Any

from core.navigation import Entry, Hit, SearchProvider, add_entry, add_search
from ledger.data.packs import KEEP, VIEW
from ledger.selectors import entries


def may_view(principal: Any) -> bool:
    """Say whether the ledger opens for the principal."""
    return bool(principal.may(VIEW))


def _find_entries(principal: Any, text: str, limit: int) -> Iterable[Hit]:
    if not may_view(principal):
        return []
    found = entries().filter(subject__istartswith=text)[:limit]
    return [Hit("Ledger entry", str(one), one.get_absolute_url(), one.actor) for one in found]


add_entry(Entry("Comply", "Ledger", "ledger:entry_list", "fingerprint", 48, may_view))
add_entry(Entry("Settings", "Forwarding", "ledger:forwarder_list", "file-export", 97, lambda one: bool(one.may(KEEP))))
add_search(SearchProvider("Ledger entry", 80, _find_entries))

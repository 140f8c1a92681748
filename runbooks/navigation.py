from collections.abc import Iterable

from accounts.data import Capability, Principal
from core.navigation import Entry, Hit, SearchProvider, add_entry, add_search
from runbooks.selectors import runbooks_visible


def may_view(principal: Principal) -> bool:
    """Say whether the room's pages open for the principal."""
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


def find_runbooks(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    """Find runbooks by title or slug."""
    found = runbooks_visible(viewer=principal)
    for word in text.split():
        found = found.filter(title__icontains=word) | found.filter(slug__icontains=word)
    for runbook in found[:limit]:
        yield Hit("Runbook", runbook.title, f"/runbooks/{runbook.slug}/", runbook.slug)


add_entry(Entry("Respond", "Runbooks", "runbooks:runbook_list", "book-2", 23, may_view))
add_search(SearchProvider("Runbook", 23, find_runbooks))

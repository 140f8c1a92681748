"""The room's place in the menu."""

from accounts.data import Principal
from core.navigation import Entry, add_entry
from custody.services import may_keep


def may_view(principal: Principal) -> bool:
    """Say whether the pages about the life of data open for the principal."""
    return may_keep(principal)


add_entry(Entry("Settings", "Data", "custody:class_list", "database", 98, may_view))

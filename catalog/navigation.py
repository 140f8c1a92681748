"""The room's entries of the menu."""

from accounts.data import Capability, Principal
from core.navigation import Entry, add_entry


def _may_view(principal: Principal) -> bool:
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


add_entry(Entry("Observe", "Deployments", "catalog:deployment_list", "git-commit", 17, _may_view))
add_entry(Entry("Observe", "Teams", "catalog:team_list", "users", 18, _may_view))
add_entry(Entry("Respond", "Follow-ups", "catalog:action_item_list", "checkup-list", 28, _may_view))

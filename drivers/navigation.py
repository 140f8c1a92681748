from accounts.data import Capability, Principal
from core.navigation import Entry, add_entry


def may_view(principal: Principal) -> bool:
    """Say whether the site's own page is offered to the principal."""
    return principal.may(Capability.SITE_ADMIN)


add_entry(Entry("Settings", "System health", "drivers:system", "heartbeat", 92, may_view))
add_entry(Entry("Settings", "Backup", "drivers:site", "archive", 97, may_view))

from collections.abc import Iterable

from accounts.data import Capability, Principal
from accounts.selectors import names_of_references, people
from core.naming import set_names
from core.navigation import Entry, Hit, SearchProvider, add_entry, add_search


def find_people(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    """Find people by user name or name, for those who administer them."""
    if not principal.may(Capability.SITE_ADMIN):
        return
    found = people()
    for word in text.split():
        found = found.filter(username__icontains=word) | found.filter(first_name__icontains=word)
    for person in found[:limit]:
        yield Hit("Person", str(person), f"/settings/people/{person.username}/", person.username)


def may_administer(principal: Principal) -> bool:
    """Say whether the pages about people open for the principal."""
    return principal.may(Capability.SITE_ADMIN)


def may_see_roles(principal: Principal) -> bool:
    """Say whether the page of roles opens: for those who give them, and those who judge them."""
    return principal.may(Capability.SITE_ADMIN) or principal.may(Capability.COMPLIANCE_VIEW)


add_entry(Entry("Settings", "People", "accounts:person_list", "users", 90, may_administer))
add_entry(Entry("Settings", "Roles", "accounts:role_list", "shield", 90, may_see_roles))
add_entry(Entry("Settings", "API tokens", "accounts:token_list", "key", 91, may_administer))
add_entry(Entry("Settings", "Signing in", "accounts:sign_in_policy", "lock", 91, may_administer))
add_entry(Entry("Settings", "Identity providers", "accounts:provider_list", "plug-connected", 92, may_administer))
set_names(names_of_references)
add_search(SearchProvider("Person", 90, find_people))

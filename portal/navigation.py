from collections.abc import Iterable

from accounts.data import Capability, Principal
from accounts.services import principal_of
from catalog.selectors import services_visible
from core.navigation import Entry, Hit, SearchProvider, add_entry, add_search
from core.saved_views import keep_views
from portal.links import page
from portal.selectors.saved_views import views_offered


def find_services(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    """Find services by name or slug."""
    found = services_visible(viewer=principal)
    for word in text.split():
        found = found.filter(name__icontains=word) | found.filter(slug__icontains=word)
    for service in found[:limit]:
        yield Hit("Service", service.name, page("portal:service_detail", service.slug), f"tier {service.tier}")


add_entry(Entry("", "Now", "portal:home", "home", 0, lambda _principal: True))
add_entry(
    Entry(
        "Observe",
        "Services",
        "portal:service_list",
        "hierarchy-2",
        10,
        lambda principal: principal.may_somewhere(Capability.OPERATIONS_VIEW),
    )
)
add_entry(
    Entry(
        "Settings",
        "Audit log",
        "portal:audit_log",
        "history",
        91,
        lambda principal: principal.may(Capability.LEDGER_VIEW),
    )
)
add_search(SearchProvider("Service", 10, find_services))
keep_views(lambda request, page: views_offered(viewer=principal_of(request), page=page))

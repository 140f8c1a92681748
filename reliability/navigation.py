"""The room's place in the menu and in the search."""

from collections.abc import Iterable

from django.urls import reverse

from accounts.data import Capability, Principal
from core.navigation import Entry, Hit, SearchProvider, add_entry, add_search
from reliability.selectors import slos_visible


def may_view(principal: Principal) -> bool:
    """Say whether the room's pages open for the principal."""
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


def may_see_sources(principal: Principal) -> bool:
    """Say whether the pages of data sources open: for those who write SLOs somewhere."""
    return principal.may_somewhere(Capability.SLO_EDIT)


def find_slos(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    """Find SLOs by name or slug."""
    found = slos_visible(viewer=principal)
    for word in text.split():
        found = found.filter(name__icontains=word) | found.filter(slug__icontains=word)
    for slo in found[:limit]:
        yield Hit("SLO", slo.name, reverse("reliability:slo_detail", args=[slo.slug]), slo.service.name)


add_entry(Entry("Observe", "SLOs", "reliability:slo_list", "target", 11, may_view))
add_entry(Entry("Observe", "Error budgets", "reliability:policy_list", "gauge", 12, may_view))
add_entry(Entry("Observe", "Exclusions", "reliability:exclusion_list", "calendar-time", 13, may_view))
add_entry(Entry("Observe", "Service levels", "reliability:report_list", "report", 14, may_view))
add_entry(Entry("Observe", "Capacity", "reliability:capacity_list", "chart-line", 15, may_view))
add_entry(Entry("Observe", "Delivery", "reliability:delivery_measures", "rocket", 16, may_view))
add_entry(Entry("Settings", "Data sources", "reliability:source_list", "database", 93, may_see_sources))
add_search(SearchProvider("SLO", 11, find_slos))

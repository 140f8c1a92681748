"""The room's place in the menu and in the search."""

from collections.abc import Iterable

from accounts.data import Capability, Principal
from core.navigation import Entry, Hit, SearchProvider, add_entry, add_search
from incidents.selectors import alerts_visible, incident_by_reference, incidents_visible


def may_view(principal: Principal) -> bool:
    """Say whether the room's pages open for the principal."""
    return principal.may_somewhere(Capability.OPERATIONS_VIEW)


def _find_incidents(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    exact = incident_by_reference(reference=text, viewer=principal) if text.upper().startswith("INC-") else None
    found = [exact] if exact else incidents_visible(viewer=principal).filter(title__icontains=text)[:limit]
    return [Hit("Incident", str(one), f"/incidents/{one.reference}/", one.status) for one in found]


def _find_alerts(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    found = alerts_visible(viewer=principal).filter(title__icontains=text)[:limit]
    return [Hit("Alert", one.title, f"/alerts/{one.pk}/", one.status) for one in found]


add_entry(Entry("Respond", "Incidents", "incidents:incident_list", "urgent", 20, may_view))
add_entry(Entry("Respond", "Alerts", "incidents:alert_list", "bell-ringing", 21, may_view))
add_entry(Entry("Respond", "On-call", "incidents:oncall_list", "calendar-time", 22, may_view))
add_entry(Entry("Respond", "Status pages", "incidents:status_page_list", "speakerphone", 24, may_view))
add_entry(Entry("Respond", "Analytics", "incidents:analytics", "report-analytics", 27, may_view))
add_search(SearchProvider("Incident", 20, _find_incidents))
add_search(SearchProvider("Alert", 21, _find_alerts))

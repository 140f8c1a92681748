"""The room's entries of the menu and what the search finds."""

from collections.abc import Iterable

from accounts.data import Capability, Principal
from compliance.selectors import access_of, controls_matching, may_open_reviews
from core.navigation import Entry, Hit, SearchProvider, add_entry, add_search


def _opens(principal: Principal) -> bool:
    return access_of(principal).anything


def _everything(principal: Principal) -> bool:
    return principal.may(Capability.COMPLIANCE_VIEW)


def _sees_services(principal: Principal) -> bool:
    return _everything(principal) or principal.teams_where(Capability.OPERATIONS_VIEW) != frozenset()


def find_controls(principal: Principal, text: str, limit: int) -> Iterable[Hit]:
    """Find controls by title or slug."""
    access = access_of(principal)
    if access.anything:
        for control in controls_matching(access=access, text=text)[:limit]:
            yield Hit("Control", control.title, control.get_absolute_url(), control.owner)


add_entry(Entry("Comply", "Compliance", "compliance:overview", "certificate", 40, _opens))
add_entry(Entry("Comply", "Controls", "compliance:control_list", "checklist", 41, _opens))
add_entry(Entry("Comply", "Audits", "compliance:engagement_list", "clipboard-check", 42, _opens))
add_entry(Entry("Comply", "Evidence", "compliance:evidence_list", "file-check", 43, may_open_reviews))
add_entry(Entry("Comply", "Exceptions", "compliance:exception_list", "calendar-due", 44, may_open_reviews))
add_entry(Entry("Comply", "Risks", "compliance:risk_matrix", "alert-triangle", 45, _everything))
add_entry(Entry("Comply", "Registers", "compliance:register_list", "list-details", 46, _everything))
add_entry(Entry("Comply", "Policies", "compliance:policy_list", "book", 47, _sees_services))
add_entry(Entry("Comply", "Readiness", "compliance:scorecard_list", "gauge", 48, _sees_services))
add_entry(Entry("Comply", "Exports", "compliance:export_list", "download", 49, _opens))
add_search(SearchProvider("Control", 50, find_controls))

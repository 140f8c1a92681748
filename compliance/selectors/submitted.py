"""Reads of evidence that was handed in, and of exceptions."""

from django.db.models import QuerySet

from accounts.data import Capability, Principal
from compliance.data import Access
from compliance.models import ControlException, Evidence
from compliance.selectors.reading import access_of, controls_visible


def may_open_reviews(viewer: Principal) -> bool:
    """Say whether somebody may see what waits for a second pair of eyes."""
    return viewer.may(Capability.APPROVE) or access_of(viewer).anything


def evidence_visible(*, viewer: Principal, access: Access) -> QuerySet[Evidence]:
    """Return the evidence that may be seen: an auditor sees what was accepted for the controls in scope."""
    found = Evidence.objects.select_related("control", "supersedes")
    if access.everything or viewer.may(Capability.APPROVE):
        return found
    settled = (Evidence.State.ACCEPTED, Evidence.State.SUPERSEDED)
    return found.filter(control__in=controls_visible(access=access), state__in=settled)


def exceptions_visible(*, viewer: Principal, access: Access) -> QuerySet[ControlException]:
    """Return the exceptions that may be seen."""
    found = ControlException.objects.select_related("control")
    if access.everything or viewer.may(Capability.APPROVE):
        return found
    return found.filter(control__in=controls_visible(access=access))

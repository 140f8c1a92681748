"""Who may see what of compliance."""

from datetime import datetime

from django.db.models import F, Q, QuerySet

from accounts.data import Capability, Principal, Role
from compliance.data import Access
from compliance.models import AuditorGrant, AuditRequest, Control, Engagement, Framework, PackExport, Requirement
from core.clock import database_now


def access_of(viewer: Principal, *, now: datetime | None = None) -> Access:
    """Return what the viewer may see: everything, or what their live grants of open engagements open."""
    if viewer.may(Capability.COMPLIANCE_VIEW):
        return Access(everything=True)
    narrowed = viewer.scopes is not None and Capability.COMPLIANCE_VIEW not in viewer.scopes
    if viewer.user_id is None or narrowed or Role.AUDITOR not in viewer.site_roles:
        return Access()
    live = AuditorGrant.objects.filter(
        user_id=viewer.user_id,
        revoked_at__isnull=True,
        expires_at__gt=now or database_now(),
        engagement__closed_at__isnull=True,
    )
    found = set(live.values_list("engagement_id", "engagement__frameworks"))
    return Access(
        engagement_ids=frozenset(engagement for engagement, _ in found),
        framework_ids=frozenset(framework for _, framework in found),
    )


def frameworks_visible(*, access: Access) -> QuerySet[Framework]:
    """Return the frameworks that may be seen."""
    found = Framework.objects.all()
    return found if access.everything else found.filter(pk__in=access.framework_ids)


def requirements_of(*, framework: Framework) -> QuerySet[Requirement]:
    """Return a framework's requirements in its own order."""
    return framework.requirements.filter(retired_at__isnull=True).select_related("framework")


def controls_visible(*, access: Access, retired: bool = False) -> QuerySet[Control]:
    """Return the controls that may be seen: an auditor's are those that serve the frameworks of the engagement.

    With `retired`, those too that are no longer in force.
    """
    found = Control.objects.all() if retired else Control.objects.filter(retired_at__isnull=True)
    if access.everything:
        return found
    return found.filter(links__requirement__framework__in=access.framework_ids).distinct()


def engagements_visible(*, access: Access) -> QuerySet[Engagement]:
    """Return the audits that may be seen."""
    found = Engagement.objects.prefetch_related("frameworks")
    return found if access.everything else found.filter(pk__in=access.engagement_ids)


def open_requests(*, access: Access) -> QuerySet[AuditRequest]:
    """Return what auditors have asked for in open audits and have not accepted or taken back, the first due first."""
    settled = (AuditRequest.State.ACCEPTED, AuditRequest.State.WITHDRAWN)
    found = AuditRequest.objects.filter(engagement__closed_at__isnull=True).exclude(state__in=settled)
    found = found if access.everything else found.filter(engagement__in=access.engagement_ids)
    return found.select_related("engagement").order_by(F("due_on").asc(nulls_last=True), "engagement", "number")


def exports_visible(*, access: Access) -> QuerySet[PackExport]:
    """Return the packs that may be fetched."""
    found = PackExport.objects.select_related("engagement")
    return found if access.everything else found.filter(engagement__in=access.engagement_ids)


def controls_matching(*, access: Access, text: str) -> QuerySet[Control]:
    """Return controls by words of their title or slug."""
    found = controls_visible(access=access)
    for word in text.split():
        found = found.filter(Q(title__icontains=word) | Q(slug__icontains=word))
    return found

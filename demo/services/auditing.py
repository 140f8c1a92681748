"""The demo organization's audit, opened to its auditor."""

from datetime import timedelta

from accounts.data import Principal
from accounts.selectors import user_by_username
from compliance.selectors import access_of, controls_visible, engagements_visible
from compliance.services import create_engagement, grant_auditor, load_packaged
from compliance.services.retiring import retire_control
from core.clock import database_now

AUDIT = "annual-audit"
UNUSED = {"merges-reviewed": "The demo organization writes no code: what it runs comes as releases."}


def load_audit(*, principal: Principal) -> None:
    """Load frameworks and controls, and open one audit to the auditor; loading it again changes nothing."""
    load_packaged(principal=principal)
    unused = controls_visible(access=access_of(principal)).filter(slug__in=UNUSED)
    for control in unused:
        retire_control(principal=principal, control=control, reason=UNUSED[control.slug])
    if engagements_visible(access=access_of(principal)).filter(slug=AUDIT).exists():
        return
    now = database_now()
    engagement = create_engagement(
        principal=principal,
        slug=AUDIT,
        name="Annual audit",
        frameworks=["soc2", "iso27001"],
        window_start=now - timedelta(days=90),
        window_end=now + timedelta(days=275),
        scope="The demo organization's services and the people who run them.",
    )
    auditor = user_by_username(username="ada")
    if auditor is not None:
        expires_at = engagement.default_expiry()
        grant_auditor(principal=principal, engagement=engagement, user_id=auditor.pk, expires_at=expires_at)

"""Let a restored site act again."""

from django.db import transaction

from accounts.data import Capability, Principal, PrincipalKind
from accounts.services import ensure_may
from core.clock import database_now
from core.holding import SiteHold, current_hold
from core.proving import dangerous
from core.work import oldest_overdue, wake
from delivery.services import withdraw_older_than
from drivers.services.site_database import SiteError
from ledger.data.recovery import SiteReleased
from ledger.services import record


@dangerous("release a restored site")
@transaction.atomic
def release_site(*, principal: Principal, note: str, send_waiting: bool = False) -> tuple[SiteHold, int]:
    """End the hold; returns it and how many waiting messages were withdrawn. Raises SiteError, PermissionDenied.

    Messages that waited in the backup may have been sent by the original since: they are withdrawn, unless
    `send_waiting` says that they were not.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    if principal.kind is PrincipalKind.SYSTEM:
        raise SiteError("A person releases a site; name them with --as USERNAME.")
    hold = current_hold()
    if hold is None:
        raise SiteError("The site is not held.", code=1)
    now = database_now()
    withdrawn = 0 if send_waiting else withdraw_older_than(instant=hold.held_at)
    changed = SiteHold.objects.filter(released_at__isnull=True).update(
        released_at=now, released_by=principal.reference, note=note[:300]
    )
    if not changed:
        raise SiteError("The site is not held.", code=1)
    record(
        SiteReleased(backup=hold.backup, held_at=hold.held_at, note=note[:300], withdrawn_deliveries=withdrawn),
        actor=principal.reference,
        subject="site:assay",
    )
    for queue in oldest_overdue():
        wake(queue)
    return hold, withdrawn

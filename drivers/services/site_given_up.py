"""What the site gave up, and what an administrator does with it."""

from collections.abc import Sequence

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from core.giving_up import GivenUp, given_up_rows, set_aside, try_again
from core.work import dead_counts, queue_named, queue_names
from drivers.services.site_database import SiteError
from ledger.data.access import AuditedAction
from ledger.services import record


def given_up(*, principal: Principal, queue: str = "") -> list[GivenUp]:
    """Return what was given up, in one queue or in all. Raises PermissionDenied, SiteError for an unknown queue."""
    ensure_may(principal, Capability.SITE_ADMIN)
    _ensure_known(queue)
    return [row for name in ([queue] if queue else dead_counts()) for row in given_up_rows(name)]


def settle_given_up(*, principal: Principal, queue: str, keys: Sequence[int], again: bool, reason: str = "") -> int:
    """Try rows again, or set them aside for good, which takes a reason; returns how many it was, and records it.

    Raises PermissionDenied, and SiteError where a queue's rows are tried again elsewhere or no reason is given.
    """
    ensure_may(principal, Capability.SITE_ADMIN)
    _ensure_known(queue)
    if again and (elsewhere := queue_named(queue).again_by):
        raise SiteError(f"Rows of {queue} are tried again elsewhere: {elsewhere}.", code=2)
    if not again and not reason.strip():
        raise SiteError("What is set aside is never done: say why with --reason.", code=2)
    with transaction.atomic():
        count = (try_again if again else set_aside)(queue, keys=keys)
        if count:
            record(
                AuditedAction(
                    action="work.tried_again" if again else "work.set_aside",
                    target=queue,
                    after={"rows": str(count), "keys": ", ".join(map(str, keys[:50]))},
                    reason=reason.strip()[:500],
                ),
                actor=principal.reference,
                subject="site:work",
            )
    return count


def _ensure_known(queue: str) -> None:
    if queue and queue not in queue_names():
        raise SiteError(f"There is no queue {queue!r}. Queues: {', '.join(queue_names())}.", code=2)

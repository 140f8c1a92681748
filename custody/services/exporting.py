"""Hand somebody what is stored about them."""

from typing import Any

from django.db import transaction

from accounts.data import Principal
from core.clock import database_now
from core.replicas import read_as_report
from custody.selectors import ensure_may_read, exported_about
from ledger.data.access import AuditedAction
from ledger.services import ensure_may_leave, record


def export_about(*, principal: Principal, user: Any, region: str = "", reason: str = "") -> dict[str, Any]:
    """Return everything that is stored about a person, and record that it was handed out.

    Raises PermissionDenied, ExportRefusedError.
    """
    ensure_may_read(principal, user)
    found = read_as_report(lambda _: exported_about(viewer=principal, user=user))
    leaving = ensure_may_leave(region=region, reason=reason)
    with transaction.atomic():
        record(
            AuditedAction(
                action="person.exported",
                target=f"user:{user.pk}",
                after={"records": str(sum(len(rows) for rows in found.values())), **leaving},
                reason=reason[:500],
            ),
            actor=principal.reference,
            subject=f"user:{user.pk}",
        )
    return {"person": f"user:{user.pk}", "made_at": database_now().isoformat(), **leaving, "stored": found}

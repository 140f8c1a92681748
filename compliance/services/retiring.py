"""Taking a control out of force, openly: with a reason, in the ledger, and without a way to turn what failed green."""

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.services import ensure_may
from compliance.data import Outcome
from compliance.models import Control, Occurrence
from core.clock import database_now
from core.parsing import refuse
from ledger.data.controls import ControlRetired
from ledger.services import record

REASON_MIN, REASON_MAX = 10, 500


@transaction.atomic
def retire_control(*, principal: Principal, control: Control, reason: str) -> Control:
    """Take a control out of force from now on.

    What had fallen due before is judged as long as the window reaches back to it, so that no failure goes with the
    control. Loading what comes with the site leaves it retired; declaring it from a file of one's own brings it back.
    Raises InputRefusedError and Django's PermissionDenied.
    """
    ensure_may(principal, Capability.COMPLIANCE_EDIT)
    said = " ".join(reason.split())
    if not REASON_MIN <= len(said) <= REASON_MAX:
        raise refuse("reason", found=f"{len(said)} characters", allowed=f"{REASON_MIN} to {REASON_MAX} are allowed")
    row = Control.objects.select_for_update().get(pk=control.pk)
    if row.retired_at is not None:
        raise refuse("control", found=f"{row.slug}, retired already", allowed="a control in force is allowed")
    row.retired_at, row.retired_reason = database_now(), said
    row.save(update_fields=["retired_at", "retired_reason"])
    Occurrence.objects.filter(check_run__control=row, outcome=Outcome.PENDING).delete()
    record(ControlRetired(control=row.slug, reason=said), actor=principal.reference, subject=f"control:{row.slug}")
    return row

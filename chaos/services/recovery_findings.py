"""What a recovery test has found is followed up: failures, worsening recovery times, and what was left behind."""

from datetime import timedelta
from pathlib import Path

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import users_with
from accounts.services import ensure_may
from catalog.data import ActionItemState
from catalog.selectors import action_items_from
from catalog.services import close_action_item, open_action_item
from chaos.data import Verdict
from chaos.recovery_models import RecoveryTestRun
from chaos.services.recovery import RecoveryRefusedError
from chaos.services.recovery_context import sweep
from core.clock import database_now
from delivery.data import Channel
from delivery.services import send
from ledger.data.access import AuditedAction
from ledger.services import record

FOLLOW_UP_DAYS = 14


def follow_up(run: RecoveryTestRun) -> None:
    """Open a follow-up where a test did not pass or took longer than usual; the next good run closes them.

    Those who may run the test are told on the site.
    """
    source = f"recovery-test:{run.test.slug}"
    if run.verdict == Verdict.PASSED:
        _close(source)
    elif run.verdict in {Verdict.FAILED, Verdict.DIRTY}:
        _open(run, source, run.reason)
        _tell(run, f"{run.test}: {run.get_verdict_display()}", run.reason)
    trend = f"recovery-trend:{run.test.slug}"
    if worse := run.result.get("regression"):
        _open(run, trend, worse)
        _tell(run, f"{run.test}: recovery takes longer than it did", worse)
    elif run.result.get("rto_sustained_s") is not None:
        _close(trend)


@transaction.atomic
def clear_recovery_run(*, principal: Principal, run: RecoveryTestRun, reason: str) -> None:
    """Declare that nothing of a dirty run is left, after looking and removing what can be; its test may run again.

    Raises RecoveryRefusedError while something is still there, or when the run is not dirty.
    """
    ensure_may(principal, Capability.CHAOS_RUN, team_id=run.test.service.team_id)
    if run.verdict != Verdict.DIRTY or run.cleared_at is not None:
        raise RecoveryRefusedError("Only a dirty run is cleared, once.")
    if not reason.strip():
        raise RecoveryRefusedError("Say what was looked at.")
    if run.folder and (left := sweep(Path(run.folder))):
        raise RecoveryRefusedError(f"Still there: {', '.join(left)}.")
    run.cleared_at, run.cleared_by, run.cleared_reason = database_now(), principal.reference, reason[:300]
    run.folder = ""
    run.save(update_fields=["cleared_at", "cleared_by", "cleared_reason", "folder"])
    record(
        AuditedAction(action="recovery.dirty_cleared", target=run.reference, reason=reason[:300]),
        actor=principal.reference,
        subject=f"recovery-test:{run.test.slug}",
    )


def _open(run: RecoveryTestRun, source: str, what: str) -> None:
    open_action_item(
        source_key=f"{source}:{run.reference}",
        title=f"{run.test}: {what}"[:200],
        service_id=run.test.service_id,
        due_on=database_now().date() + timedelta(days=FOLLOW_UP_DAYS),
        url=run.get_absolute_url(),
    )


def _close(source: str) -> None:
    for item in action_items_from(source=source).filter(state=ActionItemState.OPEN):
        close_action_item(source_key=item.source_key)


def _tell(run: RecoveryTestRun, subject: str, text: str) -> None:
    for user in users_with(Capability.CHAOS_RUN, team_id=run.test.service.team_id):
        send(
            channel=Channel.IN_APP,
            address=f"user:{user.pk}",
            idempotency_key=f"recovery:{run.reference}:{subject}:{user.pk}"[:200],
            subject=subject[:200],
            text=text,
            link=run.get_absolute_url(),
            about=f"recovery-test:{run.test.slug}",
        )

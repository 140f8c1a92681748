"""The kill switch: it stops every run and lets none start, and never keeps a fault from being undone."""

import os
import subprocess
import sys
from datetime import timedelta

from django.db import transaction

from accounts.data import Capability, Principal, system_principal
from accounts.services import ensure_may
from chaos.models import KillSwitch, KillSwitchTest
from chaos.selectors import engaged_kill_switch, live_runs
from chaos.services.guards import kill_switch_guard
from chaos.services.stopping import stop_run
from core.clock import database_now
from core.identifiers import new_id
from core.proving import dangerous
from drivers.services import action_is_active, foresee_action, inject_action, undo_action
from ledger.data.access import AuditedAction
from ledger.data.chaos import KillSwitchTested
from ledger.services import record

TESTER = system_principal("kill-switch-test")
DRILL_LASTS = timedelta(minutes=1)
SUBJECT = "chaos:kill-switch"


@transaction.atomic
def engage_kill_switch(*, principal: Principal, reason: str) -> KillSwitch:
    """Stop every run and let none start until it is released. Faults are still undone."""
    if not principal.may_somewhere(Capability.CHAOS_STOP):
        ensure_may(principal, Capability.CHAOS_STOP)
    KillSwitch.objects.filter(released_at__isnull=True, drill=True).update(
        released_by=principal.reference, released_at=database_now()
    )
    switch = engaged_kill_switch()
    if switch is None:
        switch = KillSwitch.objects.create(
            engaged_by=principal.reference, engaged_at=database_now(), reason=reason[:300]
        )
        action = AuditedAction(action="chaos.kill_switch_engaged", target="chaos", reason=reason[:300])
        record(action, actor=principal.reference, subject=SUBJECT)
    for run in live_runs():
        stop_run(principal=system_principal("kill-switch"), run=run, reason=f"kill switch: {reason}")
    return switch


@dangerous("release the kill switch")
@transaction.atomic
def release_kill_switch(*, principal: Principal) -> None:
    """Let runs start again."""
    ensure_may(principal, Capability.CHAOS_RUN)
    released = KillSwitch.objects.filter(released_at__isnull=True).update(
        released_by=principal.reference, released_at=database_now()
    )
    if released:
        action = AuditedAction(action="chaos.kill_switch_released", target="chaos")
        record(action, actor=principal.reference, subject=SUBJECT)


def try_kill_switch() -> KillSwitchTest | None:
    """Engage the switch for a moment: a start must be refused, and a fault must still be undone meanwhile.

    The fault is a frozen process of the test's own. None when the switch is engaged in earnest or a run goes on: then
    nothing is tried, because the test would stop that run.
    """
    now = database_now()
    # One whose test died would block every start; it has shown what it had to show.
    KillSwitch.objects.filter(released_at__isnull=True, drill=True, engaged_at__lt=now - DRILL_LASTS).update(
        released_by=TESTER.reference, released_at=now
    )
    if engaged_kill_switch() is not None or live_runs().exists():
        return None
    outcome: list[tuple[bool, str]] = []
    mark = new_id("drill")
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, "ASSAY_TARGET": mark},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    arguments = {"process": {"environ": {"ASSAY_TARGET": mark}}}
    try:
        foreseen = foresee_action("process.stop", arguments, idempotency_key=mark, ttl=DRILL_LASTS)
        frozen = inject_action("process.stop", arguments, foreseen, idempotency_key=mark)
        outcome.append((frozen.ok, "a process of the test's own is frozen" if frozen.ok else frozen.error))
        switch = KillSwitch.objects.create(
            engaged_by=TESTER.reference, engaged_at=now, reason="self-test, for a moment", drill=True
        )
        try:
            refused = not kill_switch_guard().allowed
            outcome.append((refused, "a start is refused" if refused else "a start would not be refused"))
            undone = undo_action("process.stop", arguments, foreseen)
            gone = undone.ok and action_is_active("process.stop", arguments, foreseen) is False
            outcome.append((gone, "the fault is undone meanwhile" if gone else f"not undone: {undone.error}"))
        finally:
            KillSwitch.objects.filter(pk=switch.pk, released_at__isnull=True).update(
                released_by=TESTER.reference, released_at=database_now()
            )
        open_again = kill_switch_guard().allowed
        outcome.append((open_again, "a start is allowed again" if open_again else "a start is still refused"))
    finally:
        process.kill()
        process.wait(10)
    passed, detail = all(good for good, _ in outcome), "; ".join(text for _, text in outcome)
    with transaction.atomic():
        record(KillSwitchTested(passed=passed, detail=detail), actor=TESTER.reference, subject=SUBJECT)
        return KillSwitchTest.objects.create(at=now, passed=passed, detail=detail)

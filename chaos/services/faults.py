"""Inject and undo faults: the plan to undo is committed before the fault, and a watchdog holds it too."""

from datetime import timedelta

from django.db import transaction

from chaos.data import FaultState
from chaos.models import ChaosRun, Fault
from core.clock import database_now
from drivers.services import (
    action_is_active,
    cancel_watchdog,
    plan_action,
    run_action,
    start_watchdog,
    undo_action,
)


class FaultNotInjectedError(RuntimeError):
    """The fault could not be injected; nothing was changed, or it is undone."""


def inject(run: ChaosRun, *, position: int, action: str, arguments: dict[str, object], ttl: timedelta) -> Fault:
    """Write ahead, start the watchdog, then inject. Raises FaultNotInjectedError."""
    plan = plan_action(action, arguments)
    now = database_now()
    ahead = {"processes": [{"name": t.name, **t.identity} for t in plan.targets if t.kind == "process"]}
    with transaction.atomic():
        fault = Fault.objects.create(
            run=run,
            position=position,
            action=action,
            arguments=arguments,
            output=ahead,
            targets=[target.name for target in plan.targets],
            intended_at=now,
            expires_at=now + ttl,
        )
    fault.output = {**ahead, "watchdog": start_watchdog(ttl=ttl, action=action, arguments=arguments, output=ahead)}
    fault.save(update_fields=["output"])
    result = run_action(action, arguments, idempotency_key=f"{run.source_key}:{position}")
    if not result.ok:
        revert(fault)
        Fault.objects.filter(pk=fault.pk).update(took_effect=False, detail=result.error)
        raise FaultNotInjectedError(result.error)
    fault.output = {**fault.output, **result.output}
    fault.state, fault.injected_at = FaultState.ACTIVE, database_now()
    fault.took_effect = action_is_active(action, arguments, fault.output)
    fault.save(update_fields=["output", "state", "injected_at", "took_effect"])
    return fault


def revert(fault: Fault) -> bool:
    """Undo a fault and verify that it is gone; one that stays is dirty and keeps its targets locked. Idempotent."""
    if fault.state == FaultState.REVERTED:
        return True
    result = undo_action(fault.action, fault.arguments, fault.output)
    gone = result.ok and not action_is_active(fault.action, fault.arguments, fault.output)
    fault.state = FaultState.REVERTED if gone else FaultState.DIRTY
    fault.reverted_at = database_now() if gone else None
    fault.detail = (
        "; ".join(f"{name}: {what}" for name, what in result.output.get("outcome", {}).items()) or result.error
    )
    fault.save(update_fields=["state", "reverted_at", "detail"])
    if gone:
        cancel_watchdog(fault.output.get("watchdog", {}))
    return gone


def revert_all(run: ChaosRun) -> bool:
    """Undo a run's faults, the last one first; returns whether all are gone."""
    outcomes = [revert(fault) for fault in run.faults.order_by("-position")]
    return all(outcomes)


def any_active(run: ChaosRun) -> bool:
    """Say whether a fault of the run is still in effect."""
    return any(
        action_is_active(fault.action, fault.arguments, fault.output)
        for fault in run.faults.filter(state=FaultState.ACTIVE)
    )

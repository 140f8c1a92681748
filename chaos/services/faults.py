"""Inject and undo faults: the plan to undo is committed before the fault, and a watchdog holds it too."""

import logging
from datetime import timedelta

from django.db import Error as AnyDatabaseError
from django.db import close_old_connections, transaction

from chaos.data import SETTLED, FaultState, RunState
from chaos.models import ChaosRun, Fault, RunEvent
from core.clock import database_now
from drivers.services import action as named_action
from drivers.services import (
    action_is_active,
    cancel_watchdog,
    foresee_action,
    inject_action,
    plan_action,
    start_watchdog,
    undo_action,
)
from ledger.data.chaos import ChaosFaultIntended, ChaosFaultSettled
from ledger.services import record

logger = logging.getLogger(__name__)


class FaultNotInjectedError(RuntimeError):
    """The fault could not be injected; nothing was changed, or it is undone."""


def inject(run: ChaosRun, *, position: int, action: str, arguments: dict[str, object], ttl: timedelta) -> Fault:
    """Write ahead, start the watchdog, then inject what was written. Raises FaultNotInjectedError."""
    key = f"{run.source_key}:{position}"
    found = named_action(action)
    plan = plan_action(action, arguments)
    try:
        ahead = foresee_action(action, arguments, idempotency_key=key, ttl=ttl)
    except Exception as error:
        raise FaultNotInjectedError(f"{type(error).__name__}: {error}") from error
    fault = _write_ahead(
        run,
        Fault(
            run=run,
            position=position,
            action=action,
            arguments=arguments,
            output=ahead,
            targets=[target.name for target in plan.targets],
        ),
        ttl=ttl,
    )
    if found.reversible:
        watchdog = start_watchdog(ttl=ttl, action=action, arguments=arguments, output=ahead)
        fault.output = {**ahead, "watchdog": watchdog}
        fault.save(update_fields=["output"])
    result = inject_action(action, arguments, ahead, idempotency_key=key)
    if not result.ok:
        revert(fault)
        Fault.objects.filter(pk=fault.pk).update(took_effect=False, detail=result.error)
        raise FaultNotInjectedError(result.error)
    fault.output = {**fault.output, **result.output}
    fault.injected_at = database_now()
    # What cannot be undone has no effect to look for later: that it was carried out is all that is known.
    one_way = not found.reversible
    fault.took_effect = True if one_way else action_is_active(action, arguments, fault.output)
    # Only while nobody has taken it back meanwhile: a runner that slept through its own end must not leave it there.
    state = FaultState.LASTING if one_way else FaultState.ACTIVE
    kept = Fault.objects.filter(pk=fault.pk, state=FaultState.INTENDED).update(
        state=state, output=fault.output, injected_at=fault.injected_at, took_effect=fault.took_effect
    )
    if not kept:
        revert(fault)
        raise FaultNotInjectedError("the run was ended by somebody else; the fault is taken back")
    fault.state = state
    note(run, "fault", f"{action} on {', '.join(fault.targets)}: {fault.state}")
    if one_way:
        _record_settled(fault)
    return fault


@transaction.atomic
def _write_ahead(run: ChaosRun, fault: Fault, *, ttl: timedelta) -> Fault:
    """Commit what is intended, unless the run was ended meanwhile: a runner that was given up injects nothing more."""
    now = database_now()
    if not ChaosRun.objects.filter(pk=run.pk, state=RunState.RUNNING).update(heartbeat_at=now):
        raise FaultNotInjectedError("the run was ended by somebody else before this fault")
    fault.intended_at, fault.expires_at = now, now + ttl
    fault.save(force_insert=True)
    record(
        ChaosFaultIntended(
            run=run.reference,
            position=fault.position,
            action=fault.action,
            targets=fault.targets,
            expires_at=fault.expires_at,
        ),
        actor=run.requested_by,
        subject=f"experiment:{run.revision.experiment.slug}",
    )
    return fault


def revert(fault: Fault) -> bool:
    """Undo a fault and verify that it is gone; one that stays is dirty and keeps its targets locked. Idempotent."""
    if fault.state in SETTLED:
        return True
    if not named_action(fault.action).reversible:
        # Written ahead and perhaps done: there is nothing to undo, and nothing that could be left over.
        fault.state, fault.detail = FaultState.LASTING, "one way; whether it was carried out is not known"
        _settle(fault)
        return True
    result = undo_action(fault.action, fault.arguments, fault.output)
    gone = result.ok and action_is_active(fault.action, fault.arguments, fault.output) is False
    # A dirty fault is tried again and again; only what is new about it is worth a record.
    same = not gone and fault.state == FaultState.DIRTY
    fault.state = FaultState.REVERTED if gone else FaultState.DIRTY
    fault.reverted_at = database_now() if gone else None
    fault.detail = (
        "; ".join(f"{name}: {what}" for name, what in result.output.get("outcome", {}).items()) or result.error
    )
    if not same:
        _settle(fault)
        note(fault.run, "fault", f"{fault.action} on {', '.join(fault.targets)}: {fault.state}")
    if gone:
        cancel_watchdog(fault.output.get("watchdog", {}))
    return gone


@transaction.atomic
def _settle(fault: Fault) -> None:
    # Whoever undoes at the same time writes the same; what is settled stays as it was settled first.
    kept = (
        Fault.objects.filter(pk=fault.pk)
        .exclude(state__in=SETTLED)
        .update(state=fault.state, reverted_at=fault.reverted_at, detail=fault.detail)
    )
    if kept:
        _record_settled(fault)


def _record_settled(fault: Fault) -> None:
    record(
        ChaosFaultSettled(
            run=fault.run.reference,
            position=fault.position,
            action=fault.action,
            targets=fault.targets,
            state=fault.state,
            took_effect=fault.took_effect,
            injected_at=fault.injected_at,
            reverted_at=fault.reverted_at,
            detail=fault.detail[:1000],
        ),
        actor=fault.run.requested_by,
        subject=f"experiment:{fault.run.revision.experiment.slug}",
    )


def revert_all(run: ChaosRun) -> bool:
    """Undo a run's faults, the last one first; returns whether all are gone.

    A fault whose outcome cannot be written down (a full disk) does not keep the others from being undone.
    """
    gone = True
    for fault in run.faults.select_related("run__revision__experiment").order_by("-position"):
        try:
            gone = revert(fault) and gone
        except AnyDatabaseError:
            logger.exception("%s: what came of the undo cannot be written down", fault)
            close_old_connections()
            gone = False
    return gone


def any_active(run: ChaosRun) -> bool:
    """Say whether a fault of the run is still in effect, or may be."""
    return any(
        action_is_active(fault.action, fault.arguments, fault.output) is not False
        for fault in run.faults.filter(state=FaultState.ACTIVE)
    )


def note(run: ChaosRun, kind: str, text: str) -> None:
    """Write down something that happened in a run; a repeat of the last words is left out."""
    last = run.events.filter(kind=kind).last()
    if last is None or last.text != text[:500]:
        RunEvent.objects.create(run=run, at=database_now(), kind=kind, text=text[:500])

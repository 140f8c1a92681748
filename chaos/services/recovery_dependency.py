"""A real dependency is lost: an experiment takes it away under every guard, a client asks all along, a runbook mends.

Nothing is put up for it: the targets, the faults and their undoing are the experiment's, and so are its guards, its
time to live and its watchdog. Recovered is the service only while the fault is still there; what comes back because the
fault was undone has not recovered.
"""

import time
from collections.abc import Callable
from contextlib import suppress

from django.db import connection

from accounts.data import Principal, system_principal
from accounts.selectors import principal_for_user, user_by_id
from chaos.data import FaultState, RunState
from chaos.domain.recovery_documents import Kind, LossSpec, RecoveryTestSpec
from chaos.models import ChaosRun
from chaos.recovery_models import RecoveryTestRun
from chaos.selectors import experiment_by_slug
from chaos.services.planning import spec_of
from chaos.services.recovery_context import DrillContext, DrillError, DrillRefusedError, DrillResult
from chaos.services.recovery_markers import MarkerWriter
from chaos.services.running import GuardRefusedError, request_run, start_runner
from chaos.services.stopping import stop_run
from core.clock import database_now
from core.parsing import InputRefusedError
from core.work import drain
from drivers.services import run_action
from runbooks.data import RunState as RunbookState
from runbooks.selectors import run_by_reference
from runbooks.services import ADVANCE_QUEUE, start_run

ACTOR = system_principal("recovery-test")
ANSWERS_BEFORE = 5
DETECT_AFTER = 3
START_SECONDS = 90.0
END_SECONDS = 120.0
POLL = 0.25
ENDED = {RunbookState.SUCCEEDED, RunbookState.FAILED, RunbookState.CANCELLED, RunbookState.ROLLED_BACK}


def rehearse_dependency_loss(context: DrillContext) -> DrillResult:
    """Ask as a client does, have the experiment take the dependency away, and see whether the answers come back."""
    loss, probe = context.spec.loss, context.spec.probe
    if loss is None:
        raise DrillError("the definition names no loss")
    result = DrillResult(
        scope=f"the real targets of the experiment {loss.experiment}",
        witness=f"{loss.client.action} as a client, open loop",
        keeps_rows=False,
        data_check="nothing is restored in this test",
    )
    client = MarkerWriter(_ask(loss), probe.cadence, account=context.folder / "dependency-loss.jsonl")
    client.start()
    try:
        with context.step("ask as a client does"):
            if not client.wait_for_acknowledged(ANSWERS_BEFORE, give_up_after=START_SECONDS):
                raise DrillError("the client gets no answer even before the test")
        with context.step(f"lose it: {loss.experiment}") as step:
            run = take_away(context.run, context.spec)
            context.owe(lambda: _undo(run))
            result.fault(at=_wait_until_active(run))
            step["detail"] = ", ".join(name for fault in run.faults.all() for name in fault.targets)
        ends = result.fault_at + spec_of(run.revision).hold.total_seconds()
        with context.step("detect") as step:
            noticed = _is_noticed(client, result, settle=probe.sustained_for.total_seconds(), ends=ends)
            result.end_part("detect")
            step["detail"] = "the client noticed" if noticed else "the client noticed nothing"
        if noticed and loss.runbook:
            _mend(context, result, loss, ends)
        with context.step("wait until it holds, without the dependency"):
            client.wait_until_sustained(
                after=result.fault_done,
                seconds=probe.sustained_for.total_seconds(),
                give_up_after=max(min(ends - time.monotonic(), probe.give_up_after.total_seconds()), 0.0),
            )
    finally:
        result.markers = client.stop()
    result.survivors = {one.number for one in result.markers if one.acknowledged}
    if not noticed:
        result.parts.clear()
    with context.step("undo"):
        if loss.stop_when_measured:
            stop_run(principal=ACTOR, run=run, reason="the recovery test has measured")
        _wait(lambda: _ended(run), END_SECONDS + max(ends - time.monotonic(), 0.0))
    run.refresh_from_db()
    if run.faults.filter(state__in=[FaultState.DIRTY, FaultState.ACTIVE, FaultState.INTENDED]).exists():
        result.left.append(f"faults of {run}")
    result.more |= {
        "experiment": loss.experiment,
        "chaos_run": run.reference,
        "chaos_verdict": run.verdict or run.state,
    }
    result.more["client_noticed"] = noticed
    return result


DRILLS: dict[Kind, Callable[[DrillContext], DrillResult]] = {Kind.DEPENDENCY_LOSS: rehearse_dependency_loss}


def _ask(loss: LossSpec) -> Callable[[int], None]:
    def ask(number: int) -> None:
        answer = run_action(loss.client.action, loss.client.arguments, idempotency_key=f"recovery-client:{number}")
        if not answer.ok:
            raise DrillError(answer.error)

    return ask


def _asker(run: RecoveryTestRun) -> Principal:
    """Return who asked for the test: a person is the runbook's operator, for the calendar somebody must step in."""
    kind, _, key = run.requested_by.partition(":")
    user = user_by_id(user_id=int(key)) if kind == "user" else None
    return principal_for_user(user=user) if user is not None else ACTOR


def take_away(run: RecoveryTestRun, spec: RecoveryTestSpec) -> ChaosRun:
    """Start the experiment. Raises DrillRefusedError with the guards' reasons, DrillError."""
    experiment = experiment_by_slug(slug=spec.loss.experiment) if spec.loss else None
    if experiment is None:
        raise DrillError("there is no such experiment any more")
    try:
        chaos_run = request_run(principal=_asker(run), experiment=experiment)
    except (GuardRefusedError, InputRefusedError) as error:
        raise DrillRefusedError(f"the experiment {experiment.slug} does not start: {error}") from None
    # The worker starts it too; whichever runner claims it first carries it out.
    start_runner(chaos_run)
    return chaos_run


def _wait_until_active(run: ChaosRun) -> float:
    """Wait until every fault is there; returns on the client's clock when the first one was put in."""

    def there() -> bool:
        states = list(run.faults.values_list("state", flat=True))
        return len(states) == len(spec_of(run.revision).faults) and set(states) <= {
            FaultState.ACTIVE,
            FaultState.LASTING,
        }

    if not _wait(lambda: there() or _ended(run), START_SECONDS) or not there():
        run.refresh_from_db()
        raise DrillError(f"the experiment did not take effect: {run.reason or run.state}")
    injected = min(fault.injected_at or fault.intended_at for fault in run.faults.all())
    return time.monotonic() - (database_now() - injected).total_seconds()


def _is_noticed(client: MarkerWriter, result: DrillResult, *, settle: float, ends: float) -> bool:
    """Say whether the client was hurt: three answers that failed, before it went on well for as long as it must."""

    def failed() -> int:
        return sum(
            one.acknowledged is not True for one in client.markers() if one.sent > result.fault_at and one.answered
        )

    while time.monotonic() < ends and failed() < DETECT_AFTER:
        if not failed() and client.wait_until_sustained(after=result.fault_done, seconds=settle, give_up_after=POLL):
            return False
        time.sleep(POLL)
    return failed() > 0


def _mend(context: DrillContext, result: DrillResult, loss: LossSpec, ends: float) -> None:
    """Start the runbook and wait for its end; people decide in it as they do in earnest."""
    with context.step(f"runbook {loss.runbook}") as step:
        started = start_run(
            principal=_asker(context.run),
            runbook_slug=loss.runbook,
            inputs=loss.inputs,
            trigger=f"recovery test {context.run.test.slug}",
            idempotency_key=f"recovery:{context.run.reference}",
        )
        result.end_part("decide")
        result.more["runbook_run"] = started.reference

        def over() -> bool:
            drain(ADVANCE_QUEUE)
            found = run_by_reference(reference=started.reference)
            step["detail"] = f"{started.reference}: {found.state if found else 'gone'}"
            return found is None or found.state in ENDED

        _wait(over, max(ends - time.monotonic(), 0.0))
        result.end_part("mend")


def _ended(run: ChaosRun) -> bool:
    return ChaosRun.objects.filter(pk=run.pk, state=RunState.FINISHED).exists()


def _undo(run: ChaosRun) -> None:
    """Stop an experiment that still goes on, and wait until its faults are undone."""
    if _ended(run):
        return
    with suppress(Exception):
        stop_run(principal=ACTOR, run=run, reason="the recovery test broke off")
    _wait(lambda: _ended(run), END_SECONDS)
    connection.close_if_unusable_or_obsolete()


def _wait(ready: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(POLL)
    return ready()

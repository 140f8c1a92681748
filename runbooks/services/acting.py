"""Take a check or a step: the try is committed before its effect, the result after it, guarded by the fence.

1. A try that a dead process left open is judged by what the step declares (`runbooks.domain.machine.recover`).
2. A new try is written as started and committed.
3. The action runs, while a heartbeat keeps the lease until the step's time is up.
4. The result is committed if the fence still holds; a step with `verify` is done only when its check holds.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.utils import timezone

from core.clock import database_now
from core.events import publish
from core.leases import extend
from core.live import effort
from core.parsing import InputRefusedError
from drivers.data import ActionResult, Risk
from drivers.services import run_action
from ledger.services import store_artifact
from runbooks.data import StepState
from runbooks.domain.documents import Expectation, Poll
from runbooks.domain.machine import Recovery, recover
from runbooks.events import StepFinished
from runbooks.models import OutputLine, RunbookRun, RunStep, StepAttempt
from runbooks.services.arguments import digest_of, fill, known_steps, masked, resolve_arguments, with_secrets
from runbooks.services.asking import tell_owners
from runbooks.services.ending import finish_step
from runbooks.services.linting import idempotency_of, risk_of
from runbooks.services.starting import seconds_of

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
BEAT_SECONDS = 1.0
EXTEND_SECONDS = 5.0
KEPT_BYTES = 256 * 1024
MOST_BYTES = 8 * 1024 * 1024
TRUNCATED = "… the rest is in the artifact"


def act(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> None:
    """Take a step that may be taken. Its row says afterwards how it stands."""
    if step.state == StepState.VERIFYING:
        _verify(run, step, block)
        return
    tries = list(step.attempts.order_by("number"))
    open_try = next((one for one in reversed(tries) if one.finished_at is None), None)
    if open_try is not None and not _judge(run, step, block, open_try):
        return
    attempt, result, late = _try(run, step, block, tries)
    good = result.ok and (step.kind != "check" or _holds(run, block, result))
    detail = _detail(run, block, result, good=good, late=late)
    with transaction.atomic():
        extend(run, lease_for=LEASE)
        state = StepState.SUCCEEDED if good else StepState.TIMED_OUT if late else StepState.FAILED
        _close_attempt(attempt, state, result)
        step.effect = step.effect or (step.kind == "step" and state != StepState.FAILED)
        if good and block.get("verify"):
            RunStep.objects.filter(pk=step.pk).update(state=StepState.VERIFYING, effect=step.effect)
        elif good or block.get("informs"):
            finish_step(run, step, StepState.SUCCEEDED, detail)
        else:
            _fail_or_retry(run, step, block, detail, "timeout" if late else "error")


def _judge(run: RunbookRun, step: RunStep, block: dict[str, Any], attempt: StepAttempt) -> bool:
    """Decide about a try whose process died; returns whether the step may be tried at once."""
    decided = recover(
        reads=risk_of(block) is Risk.READ,
        idempotency=idempotency_of(block),
        has_verify=bool(block.get("verify")),
        recoveries=step.attempts.filter(state=StepState.UNKNOWN).count(),
    )
    state = {Recovery.UNKNOWN: StepState.UNKNOWN, Recovery.VERIFY_FIRST: StepState.VERIFYING}.get(
        decided, StepState.PENDING
    )
    with transaction.atomic():
        extend(run, lease_for=LEASE)
        attempt.state, attempt.finished_at, attempt.error = StepState.UNKNOWN, database_now(), "its process died"
        attempt.save(update_fields=["state", "finished_at", "error"])
        step.state, step.effect = state, step.effect or step.kind == "step"
        step.save(update_fields=["state", "effect"])
        if decided is Recovery.UNKNOWN:
            _tell_unknown(run, step)
    return decided in {Recovery.REPEAT, Recovery.SAME_KEY}


def _tell_unknown(run: RunbookRun, step: RunStep) -> None:
    detail = "its process died and the step cannot be repeated safely; a person must say what became of it"
    RunStep.objects.filter(pk=step.pk).update(detail=detail)
    publish(
        StepFinished(
            run_reference=run.reference,
            step=step.step_id,
            state=StepState.UNKNOWN,
            incident_reference=run.incident_reference,
            detail=detail,
        )
    )
    words = f"{run.revision.runbook}: nobody knows what became of {step.step_id}; say whether it is done"
    tell_owners(run, f"{step.step_id}:{step.item_index}:unknown:{step.attempts.count()}", words)


def _try(
    run: RunbookRun, step: RunStep, block: dict[str, Any], tries: list[StepAttempt]
) -> tuple[StepAttempt, ActionResult, bool]:
    arguments = resolve_arguments(run, block, item=step.item)
    timeout = seconds_of(block["timeout"])
    with transaction.atomic():
        extend(run, lease_for=LEASE)
        now = database_now()
        step.state, step.arguments_sha256 = StepState.STARTED, digest_of(arguments)
        step.began_at = step.began_at or now
        step.save(update_fields=["state", "arguments_sha256", "began_at"])
        attempt = StepAttempt.objects.create(
            step=step,
            number=len(tries) + 1,
            idempotency_key=_key(run, step, tries),
            arguments=arguments,
            started_at=now,
            deadline_at=now + timeout,
        )
    began = time.monotonic()
    try:
        real, secrets = with_secrets(run, block, item=step.item)
    except InputRefusedError as error:
        return attempt, ActionResult(ok=False, error=str(error)), False
    heartbeat = _Heartbeat(run, attempt, secrets, seconds=timeout.total_seconds())
    with heartbeat, effort(seconds=timeout.total_seconds(), hear=heartbeat.hear):
        result = _perform(block, real, attempt.idempotency_key, timeout, lambda found: _holds(run, block, found))
    heartbeat.flush()
    attempt.artifact_sha256 = heartbeat.spilled()
    late = time.monotonic() - began > timeout.total_seconds()
    result = ActionResult(
        ok=result.ok and not late, output=masked(result.output, secrets), error=masked(result.error, secrets)
    )
    return attempt, result, late


def _perform(
    block: dict[str, Any],
    arguments: dict[str, Any],
    key: str,
    timeout: timedelta,
    holds: Callable[[ActionResult], bool],
) -> ActionResult:
    deadline = time.monotonic() + timeout.total_seconds()
    poll = Poll(**block["poll"]) if block.get("poll") else None
    if poll is not None:
        deadline = min(deadline, time.monotonic() + poll.for_.total_seconds())
    while True:
        try:
            result = run_action(block["action"], arguments, idempotency_key=key)
        except InputRefusedError as error:
            return ActionResult(ok=False, error=str(error))
        if poll is None or (result.ok and holds(result)):
            return result
        if time.monotonic() + poll.every.total_seconds() > deadline:
            return result
        time.sleep(poll.every.total_seconds())


def _verify(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> None:
    """Run the check that says whether the step's effect is there; the check's own row keeps the tries."""
    check = next(other for other in run.revision.blocks if other["id"] == block["verify"])
    row = run.steps.filter(step_id=check["id"], item_index=step.item_index).first() or run.steps.get(
        step_id=check["id"], item_index=0
    )
    row.attempts.filter(finished_at__isnull=True).update(
        state=StepState.UNKNOWN, finished_at=database_now(), error="its process died; looked again"
    )
    attempt, result, _ = _try(run, row, check, list(row.attempts.order_by("number")))
    good = result.ok and _holds(run, check, result)
    detail = _detail(run, check, result, good=good, late=False)
    last = step.attempts.order_by("-number").first()
    with transaction.atomic():
        extend(run, lease_for=LEASE)
        _close_attempt(attempt, StepState.SUCCEEDED if good else StepState.FAILED, result)
        if good:
            finish_step(run, row, StepState.SUCCEEDED, detail)
            adopted = last is not None and last.state != StepState.SUCCEEDED
            words = f"{check['id']} holds: {detail}"
            finish_step(
                run, step, StepState.SUCCEEDED, f"it was done before its process died: {words}" if adopted else words
            )
            return
        RunStep.objects.filter(pk=row.pk).update(state=StepState.PENDING)
        if last is not None and last.state == StepState.SUCCEEDED:
            _fail_or_retry(run, step, block, f"{check['id']} does not hold: {detail}", "verify")
        elif idempotency_of(block) == "none":
            RunStep.objects.filter(pk=step.pk).update(state=StepState.UNKNOWN)
            _tell_unknown(run, step)
        else:
            RunStep.objects.filter(pk=step.pk).update(state=StepState.PENDING)


def _fail_or_retry(run: RunbookRun, step: RunStep, block: dict[str, Any], detail: str, cause: str) -> None:
    retry = block.get("retry") or {}
    tries = step.attempts.exclude(state=StepState.UNKNOWN).count()
    if cause in retry.get("on", ()) and tries <= retry["max"]:
        RunStep.objects.filter(pk=step.pk).update(
            state=StepState.PENDING,
            waiting_until=database_now() + seconds_of(retry["delay"]),
            detail=detail[:1000],
            effect=step.effect,
        )
        return
    finish_step(run, step, StepState.FAILED, detail)


def _key(run: RunbookRun, step: RunStep, tries: list[StepAttempt]) -> str:
    """Return the key of the next try: the same one after an outcome nobody knows, a new one after a clear failure."""
    if tries and tries[-1].state in {StepState.UNKNOWN, StepState.TIMED_OUT}:
        return tries[-1].idempotency_key
    clear = len({one.idempotency_key for one in tries})
    item = f":{step.item_index}" if step.item else ""
    return f"{run.reference}:{step.step_id}{item}" + (f":{clear + 1}" if clear else "")


def _close_attempt(attempt: StepAttempt, state: StepState, result: ActionResult) -> None:
    output, artifact = _bounded(result.output)
    StepAttempt.objects.filter(pk=attempt.pk).update(
        state=state,
        output=output,
        error=result.error[:4000],
        artifact_sha256=artifact or attempt.artifact_sha256,
        finished_at=database_now(),
    )


def _holds(run: RunbookRun, block: dict[str, Any], result: ActionResult) -> bool:
    """Say whether a check's value is what is expected; without any bound the action's own verdict counts."""
    expected = _expectation(run, block)
    return expected.is_empty or expected.holds(result.output.get("value"))


def _expectation(run: RunbookRun, block: dict[str, Any]) -> Expectation:
    expected = block.get("expect") or {}
    return Expectation(**fill(expected, inputs=run.inputs, steps=known_steps(run, expected)))


def _detail(run: RunbookRun, block: dict[str, Any], result: ActionResult, *, good: bool, late: bool) -> str:
    value = result.output.get("value")
    said = result.error or ("" if value is None else str(value))
    if late:
        return f"it took longer than {seconds_of(block['timeout'])}. {said}".strip()
    expected = _expectation(run, block)
    if expected.is_empty:
        return said
    if good:
        return f"{said}, as expected ({expected})"
    return f"{said} (expected {expected})".strip()


def _bounded(output: dict[str, Any]) -> tuple[dict[str, Any], str]:
    raw = orjson.dumps(output, default=str)
    if len(raw) <= KEPT_BYTES:
        plain: dict[str, Any] = orjson.loads(raw)
        return plain, ""
    artifact = store_artifact(raw[:MOST_BYTES], media_type="application/json", name="output.json")
    value = output.get("value")
    return {"truncated": True, "bytes": len(raw), "value": value if isinstance(value, int | float) else None}, artifact


class _Heartbeat:
    """Keeps the lease while an action runs, and writes the lines that it says, in order, each once."""

    def __init__(self, run: RunbookRun, attempt: StepAttempt, secrets: list[str], *, seconds: float) -> None:
        self._run, self._attempt, self._secrets = run, attempt, secrets
        self._until = time.monotonic() + seconds
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._waiting: list[OutputLine] = []
        self._all: list[str] = []
        self._number = self._kept = self._size = 0
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat {attempt.pk}", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def hear(self, text: str) -> None:
        """Take a line; the first 256 KB are shown as they come, all of it is kept."""
        text = masked(text, self._secrets)
        size = len(text.encode()) + 1
        with self._lock:
            if self._size + size > MOST_BYTES:
                return
            self._size += size
            self._all.append(text)
            if self._kept > KEPT_BYTES:
                return
            self._kept += size
            self._number += 1
            shown = text if self._kept <= KEPT_BYTES else TRUNCATED
            self._waiting.append(OutputLine(attempt=self._attempt, number=self._number, at=timezone.now(), text=shown))

    def flush(self) -> None:
        """Write the lines that wait."""
        with self._lock:
            if self._waiting:
                OutputLine.objects.bulk_create(self._waiting)
                self._waiting = []

    def spilled(self) -> str:
        """Keep the whole output as an artifact when it is longer than what is shown; returns its SHA-256."""
        if self._kept <= KEPT_BYTES:
            return ""
        return store_artifact("\n".join(self._all).encode(), media_type="text/plain", name="output.txt")

    def _beat(self) -> None:
        extended = time.monotonic()
        try:
            while not self._stop.wait(BEAT_SECONDS):
                now = time.monotonic()
                try:
                    # Past the step's time nobody keeps the lease: another worker may judge the try.
                    if now - extended > EXTEND_SECONDS and now < self._until:
                        RunbookRun.objects.filter(pk=self._run.pk, fence=self._run.fence).update(
                            lease_until=database_now() + LEASE
                        )
                        extended = now
                    self.flush()
                except Exception as error:  # noqa: BLE001 a missed beat costs nothing: the result is guarded by the fence
                    logger.debug("heartbeat of %s: %s", self._attempt, error)
        finally:
            connection.close()

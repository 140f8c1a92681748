"""Start runs, take them forward, and let people answer.

A step's attempt is committed as started before its effect. When the process dies, the run's lease expires, another
worker claims it, finds the attempt and goes on by what the action declares: look again, do it again under the same
key, or leave it unknown for a person.
"""

import hashlib
import re
import time
from datetime import timedelta
from typing import Any

import orjson
from django.db import transaction
from pydantic import TypeAdapter

from accounts.data import Capability, Principal
from accounts.selectors import users_with
from accounts.services import ensure_may, ensure_other_person
from core.clock import database_now
from core.events import publish
from core.identifiers import new_id
from core.leases import extend, settle
from core.parsing import refuse
from core.work import wake
from delivery.data import Channel
from delivery.services import send
from drivers.data import ActionResult, Idempotency, Risk
from drivers.services import action, run_action
from ledger.data.runbooks import RunbookRunFinished, StepOutcome
from ledger.services import record
from runbooks.data import ENDED, RunState, StepState
from runbooks.domain.documents import Expectation, Poll
from runbooks.events import ApprovalRequested, RunFinished, RunStarted, StepFinished
from runbooks.models import Runbook, RunbookRun, RunStep, StepAttempt
from runbooks.selectors import latest_revision, runbook_by_slug
from runbooks.services.documents import TEMPLATE

ADVANCE_QUEUE = "runbooks.advance"
LEASE_MARGIN = timedelta(seconds=30)
_DURATION = TypeAdapter(timedelta)


@transaction.atomic
def start_run(
    *,
    principal: Principal,
    runbook_slug: str,
    inputs: dict[str, Any],
    trigger: str,
    idempotency_key: str,
    incident_reference: str = "",
) -> RunbookRun:
    """Start a run of the revision in force; the same key again returns the run there is. Raises InputRefusedError."""
    known = RunbookRun.objects.filter(idempotency_key=idempotency_key).first()
    if known is not None:
        return known
    runbook = runbook_by_slug(slug=runbook_slug)
    if runbook is None:
        raise refuse("runbook", found=runbook_slug, allowed="the slug of a runbook is allowed")
    ensure_may(principal, Capability.RUNBOOK_RUN, team_id=runbook.team_id)
    revision = latest_revision(runbook=runbook)
    now = database_now()
    run = RunbookRun.objects.create(
        reference=new_id("rbr"),
        idempotency_key=idempotency_key,
        revision=revision,
        inputs=_inputs(runbook, revision.inputs, inputs),
        trigger=trigger[:200],
        operator=principal.reference,
        incident_reference=incident_reference,
        started_at=now,
        due_at=now,
    )
    RunStep.objects.bulk_create(
        [
            RunStep(run=run, position=position, step_id=block["id"], kind=block["kind"])
            for position, block in enumerate(revision.blocks)
        ]
    )
    publish(RunStarted(run_reference=run.reference, runbook=runbook.slug, incident_reference=incident_reference))
    wake(ADVANCE_QUEUE)
    return run


def advance(run: RunbookRun) -> None:
    """Take a claimed run as far as it goes without a person."""
    if run.state in ENDED:
        settle(run, finished_at=run.ended_at)
        return
    for block, step in zip(run.revision.blocks, run.steps.order_by("position"), strict=True):
        if step.state in {StepState.SUCCEEDED, StepState.SKIPPED}:
            continue
        if not _take(run, step, block):
            return
    _end(run, RunState.SUCCEEDED, "every step is done")


@transaction.atomic
def approve_step(*, principal: Principal, run: RunbookRun, step_id: str) -> None:
    """Agree to the steps that an approval guards, as their arguments are now. The operator cannot."""
    ensure_may(principal, Capability.APPROVE, team_id=run.revision.runbook.team_id)
    ensure_other_person(principal, requester=run.operator)
    _answer(run, step_id, kind="approve", answer="approved", by=principal)


@transaction.atomic
def reject_step(*, principal: Principal, run: RunbookRun, step_id: str) -> None:
    """Refuse what an approval guards; the run fails."""
    ensure_may(principal, Capability.APPROVE, team_id=run.revision.runbook.team_id)
    _answer(run, step_id, kind="approve", answer="rejected", by=principal)


@transaction.atomic
def confirm_step(*, principal: Principal, run: RunbookRun, step_id: str, answer: str) -> None:
    """Answer a question, or say what became of a step whose outcome is unknown (`done` or `failed`)."""
    ensure_may(principal, Capability.RUNBOOK_RUN, team_id=run.revision.runbook.team_id)
    step = _step(run, step_id)
    if step.state == StepState.UNKNOWN:
        if answer not in {"done", "retry", "failed"}:
            raise refuse("answer", found=answer, allowed="done, retry or failed is allowed")
        state = {"done": StepState.SUCCEEDED, "retry": StepState.PENDING, "failed": StepState.FAILED}[answer]
        RunStep.objects.filter(pk=step.pk, state=StepState.UNKNOWN).update(
            state=state, answer=answer, performed_by=principal.reference
        )
        step.attempts.filter(state=StepState.UNKNOWN).update(finished_at=database_now())
        _go_on(run)
        return
    block = run.revision.blocks[step.position]
    if step.kind != "confirm" or answer not in block["answers"]:
        raise refuse("answer", found=answer, allowed=f"one of {', '.join(block.get('answers', []))} is allowed")
    _answer(run, step_id, kind="confirm", answer=answer, by=principal)


@transaction.atomic
def cancel_run(*, principal: Principal, run: RunbookRun, reason: str) -> None:
    """End a run; what it has done stays done."""
    ensure_may(principal, Capability.RUNBOOK_RUN, team_id=run.revision.runbook.team_id)
    fresh = RunbookRun.objects.select_for_update().get(pk=run.pk)
    if fresh.state not in ENDED:
        _close(fresh, RunState.CANCELLED, f"{principal.label}: {reason}")


def resolve_arguments(run: RunbookRun, block: dict[str, Any]) -> dict[str, Any]:
    """Return a block's arguments with the run's inputs in place."""

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            whole = TEMPLATE.fullmatch(value)
            if whole:
                return run.inputs[whole[1]]
            return TEMPLATE.sub(lambda match: str(run.inputs[match[1]]), value)
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value.items()}
        return [fill(item) for item in value] if isinstance(value, list) else value

    filled: dict[str, Any] = fill(block["with"])
    return filled


def _take(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> bool:
    """Take one step; returns whether the run may go on at once."""
    if step.state == StepState.FAILED:
        _end(run, RunState.FAILED, f"{step.step_id} failed")
        return False
    if step.state == StepState.UNKNOWN:
        _park(run, None)
        return False
    if step.kind in {"confirm", "approve"}:
        return _ask(run, step, block)
    if step.kind == "step" and not _may_change(run, step):
        _park(run, None)
        return False
    return _act(run, step, block)


def _ask(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> bool:
    now = database_now()
    if step.state == StepState.PENDING:
        patience = _seconds(block["expires"] if step.kind == "approve" else block["timeout"])
        step.waiting_until = now + patience
        step.state = StepState.WAITING
        step.arguments_sha256 = _guarded_digest(run, block) if step.kind == "approve" else ""
        with transaction.atomic():
            step.save(update_fields=["state", "waiting_until", "arguments_sha256"])
            _tell(run, step, block)
    elif step.waiting_until is not None and step.waiting_until <= now:
        _finish_step(run, step, StepState.FAILED, "nobody answered in time")
        _end(run, RunState.FAILED, f"{step.step_id}: nobody answered in time")
        return False
    _park(run, step)
    return False


def _tell(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> None:
    team_id = run.revision.runbook.team_id
    link = f"/runbooks/runs/{run.reference}/"
    if step.kind == "approve":
        assert step.waiting_until is not None  # noqa: S101 set by the caller
        people = users_with(Capability.APPROVE, team_id=team_id)
        subject = f"Approve {', '.join(block['before'])} of {run.revision.runbook}"
        publish(
            ApprovalRequested(
                run_reference=run.reference,
                step=step.step_id,
                incident_reference=run.incident_reference,
                expires_at=step.waiting_until,
            )
        )
    else:
        people = users_with(Capability.RUNBOOK_RUN, team_id=team_id)
        subject = f"{run.revision.runbook}: {block['ask']}"
    for person in people:
        if f"user:{person.pk}" == run.operator and step.kind == "approve":
            continue
        send(
            channel=Channel.IN_APP,
            address=f"user:{person.pk}",
            idempotency_key=f"{run.reference}:{step.step_id}:{person.pk}",
            subject=subject[:200],
            text=f"Run {run.reference} waits for you.",
            link=link,
            about=f"runbook-run:{run.reference}",
        )


def _act(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> bool:
    declared = action(block["action"])
    open_attempt = step.attempts.filter(finished_at__isnull=True).order_by("-number").first()
    if open_attempt is not None and not _may_repeat(run, step, open_attempt, declared.idempotency, declared.risk):
        _park(run, None)
        return False
    arguments = resolve_arguments(run, block)
    digest = hashlib.sha256(orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS)).hexdigest()
    timeout = _seconds(block["timeout"])
    extend(run, lease_for=timeout + LEASE_MARGIN)
    number = step.attempts.count() + 1
    with transaction.atomic():
        step.state, step.arguments_sha256 = StepState.STARTED, digest
        step.save(update_fields=["state", "arguments_sha256"])
        attempt = StepAttempt.objects.create(
            step=step, number=number, idempotency_key=f"{run.reference}:{step.step_id}", started_at=database_now()
        )
    result = _perform(block, arguments, attempt.idempotency_key, timeout)
    good = result.ok and (step.kind != "check" or Expectation(**block["expect"]).holds(_value(result)))
    informs = step.kind == "check" and block.get("informs", False)
    state = StepState.SUCCEEDED if good or informs else StepState.FAILED
    detail = result.error or str(result.output.get("value", ""))
    StepAttempt.objects.filter(pk=attempt.pk).update(
        state=StepState.SUCCEEDED if good else StepState.FAILED,
        output=_bounded(result.output),
        error=result.error[:4000],
        finished_at=database_now(),
    )
    _finish_step(run, step, state, detail if good else f"{detail} (expected {block.get('expect', {})})")
    if state == StepState.FAILED:
        _end(run, RunState.FAILED, f"{step.step_id}: {detail}")
        return False
    return True


def _perform(block: dict[str, Any], arguments: dict[str, Any], key: str, timeout: timedelta) -> ActionResult:
    deadline = time.monotonic() + timeout.total_seconds()
    poll = Poll(**block["poll"]) if block.get("poll") else None
    if poll is not None:
        deadline = min(deadline, time.monotonic() + poll.for_.total_seconds())
    while True:
        result = run_action(block["action"], arguments, idempotency_key=key)
        if poll is None or (result.ok and Expectation(**block["expect"]).holds(_value(result))):
            return result
        if time.monotonic() + poll.every.total_seconds() > deadline:
            return result
        time.sleep(poll.every.total_seconds())


def _may_repeat(run: RunbookRun, step: RunStep, attempt: StepAttempt, idempotency: Idempotency, risk: Risk) -> bool:
    """Decide about an attempt whose process died: repeat it, or leave it unknown for a person."""
    if risk is Risk.READ or idempotency in {Idempotency.KEY, Idempotency.NATURAL}:
        StepAttempt.objects.filter(pk=attempt.pk).update(
            state=StepState.UNKNOWN, finished_at=database_now(), error="its process died; tried again as declared"
        )
        return True
    StepAttempt.objects.filter(pk=attempt.pk).update(state=StepState.UNKNOWN, error="its process died")
    RunStep.objects.filter(pk=step.pk).update(state=StepState.UNKNOWN)
    step.state = StepState.UNKNOWN
    publish(
        StepFinished(
            run_reference=run.reference,
            step=step.step_id,
            state=StepState.UNKNOWN,
            incident_reference=run.incident_reference,
            detail="its process died and the step cannot be repeated safely; a person must say what became of it",
        )
    )
    return False


def _may_change(run: RunbookRun, step: RunStep) -> bool:
    """Say whether a step that changes something may run: approved with these arguments, or run by a person."""
    blocks = run.revision.blocks
    guards = [block for block in blocks if block["kind"] == "approve" and step.step_id in block["before"]]
    for guard in guards:
        row = _step(run, guard["id"])
        if row.state != StepState.SUCCEEDED or row.arguments_sha256 != _guarded_digest(run, guard):
            return False
    return bool(guards) or run.operator.startswith("user:")


def _guarded_digest(run: RunbookRun, block: dict[str, Any]) -> str:
    guarded = [
        [other["id"], other["action"], resolve_arguments(run, other)]
        for other in run.revision.blocks
        if other["id"] in block["before"]
    ]
    return hashlib.sha256(orjson.dumps([run.revision.sha256, guarded], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _answer(run: RunbookRun, step_id: str, *, kind: str, answer: str, by: Principal) -> None:
    step = _step(run, step_id)
    now = database_now()
    if step.kind != kind or step.state != StepState.WAITING or (step.waiting_until and step.waiting_until <= now):
        raise refuse(
            "step", found=f"{step_id} ({step.state})", allowed=f"a waiting {kind} that has not expired is allowed"
        )
    block = run.revision.blocks[step.position]
    good = answer == "approved" if kind == "approve" else answer in block["go_on"]
    step.performed_by, step.answer = by.reference, answer
    step.save(update_fields=["performed_by", "answer"])
    _finish_step(run, step, StepState.SUCCEEDED if good else StepState.FAILED, f"{answer} by {by.label}")
    _go_on(run)


def _go_on(run: RunbookRun) -> None:
    RunbookRun.objects.filter(pk=run.pk).exclude(state__in=ENDED).update(state=RunState.RUNNING, due_at=database_now())
    wake(ADVANCE_QUEUE)


def _park(run: RunbookRun, step: RunStep | None) -> None:
    """Wait for a person without holding a worker; the row falls due again when the wait ends."""
    patience = step.waiting_until if step is not None and step.waiting_until else database_now() + timedelta(days=1)
    current = RunStep.objects.filter(pk=step.pk).values_list("state", flat=True).first() if step is not None else None
    answered = current is not None and current != StepState.WAITING
    settle(run, state=RunState.WAITING, due_at=database_now() if answered else patience, attempts=0)


def _finish_step(run: RunbookRun, step: RunStep, state: StepState, detail: str) -> None:
    with transaction.atomic():
        step.state, step.finished_at = state, database_now()
        step.save(update_fields=["state", "finished_at"])
        publish(
            StepFinished(
                run_reference=run.reference,
                step=step.step_id,
                state=state,
                detail=detail[:300],
                incident_reference=run.incident_reference,
            )
        )


def _end(run: RunbookRun, state: RunState, reason: str) -> None:
    with transaction.atomic():
        settle(run, finished_at=database_now())
        _close(run, state, reason)


def _close(run: RunbookRun, state: RunState, reason: str) -> None:
    now = database_now()
    if (
        not RunbookRun.objects.filter(pk=run.pk)
        .exclude(state__in=ENDED)
        .update(state=state, reason=reason[:1000], ended_at=now, finished_at=now)
    ):
        return
    run.state = state
    approvals = {
        name: _step(run, block["id"]).performed_by
        for block in run.revision.blocks
        if block["kind"] == "approve"
        for name in block["before"]
    }
    record(
        RunbookRunFinished(
            run=run.reference,
            runbook=run.revision.runbook.slug,
            revision=run.revision.sha256,
            trigger=run.trigger,
            operator=run.operator,
            incident=run.incident_reference,
            state=state,
            started_at=run.started_at,
            finished_at=now,
            steps=[
                StepOutcome(
                    step=step.step_id,
                    kind=step.kind,
                    state=step.state,
                    attempts=step.attempts.count(),
                    performed_by=step.performed_by,
                    approved_by=approvals.get(step.step_id, ""),
                )
                for step in run.steps.order_by("position")
            ],
        ),
        actor=run.operator,
        subject=f"runbook:{run.revision.runbook.slug}",
        occurred_at=now,
    )
    publish(
        RunFinished(
            run_reference=run.reference,
            runbook=run.revision.runbook.slug,
            state=state,
            incident_reference=run.incident_reference,
        )
    )


def _step(run: RunbookRun, step_id: str) -> RunStep:
    step = RunStep.objects.filter(run=run, step_id=step_id).first()
    if step is None:
        raise refuse("step", found=step_id, allowed="the id of a step of this run is allowed")
    return step


def _inputs(runbook: Runbook, specs: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    if unknown := set(given) - set(specs):
        raise refuse(
            f"{runbook.slug} inputs", found=min(unknown), allowed=f"one of {', '.join(specs) or 'none'} is allowed"
        )
    values: dict[str, Any] = {}
    for name, spec in specs.items():
        value = given.get(name, spec["default"])
        if value is None and spec["required"]:
            raise refuse(f"{runbook.slug} inputs.{name}", found="nothing", allowed="this input is required")
        if spec["type"] == "integer" and value is not None:
            if not re.fullmatch(r"-?[0-9]{1,18}", str(value)):
                raise refuse(f"{runbook.slug} inputs.{name}", found=str(value), allowed="a whole number is allowed")
            value = int(value)
        elif value is not None and not re.fullmatch(spec["pattern"], str(value)):
            raise refuse(
                f"{runbook.slug} inputs.{name}", found=str(value), allowed=f"text like {spec['pattern']} is allowed"
            )
        values[name] = value
    return values


def _value(result: ActionResult) -> Any:
    return result.output.get("value")


def _bounded(output: dict[str, Any]) -> dict[str, Any]:
    return (
        output
        if len(orjson.dumps(output, default=str)) <= 256 * 1024
        else {"truncated": True, "value": output.get("value")}
    )


def _seconds(value: str) -> timedelta:
    """Read a duration as pydantic wrote it into the revision (ISO 8601)."""
    return _DURATION.validate_python(value)

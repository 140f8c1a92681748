"""Take runs forward.

A step's attempt is committed as started before its effect. When the process dies, the run's lease expires, another
worker claims it, finds the attempt and goes on by what the step declares: look again, do it again under the same key,
verify first, or leave it unknown for a person. What comes next is always derived from the rows.
"""

from datetime import timedelta
from typing import Any

from django.db import transaction

from accounts.data import Capability
from accounts.selectors import principal_for_user, user_by_id
from core.clock import database_now
from core.leases import settle
from drivers.data import Risk
from runbooks.data import ENDED, RunState, StepState
from runbooks.domain.expressions import ExpressionError, evaluate
from runbooks.domain.machine import Block, Do, Move, Row, next_move, undoable
from runbooks.models import RunbookRun, RunStep
from runbooks.selectors import is_one_of
from runbooks.services.acting import act
from runbooks.services.arguments import guarded_digest, known_steps
from runbooks.services.asking import ask, escalate, notify
from runbooks.services.ending import end_run, finish_step
from runbooks.services.linting import is_by_hand, risk_of
from runbooks.services.starting import seconds_of

MOST_MOVES = 2000
PATIENCE = timedelta(days=1)
HUMAN_KINDS = frozenset({"confirm", "approve"})


def advance(run: RunbookRun) -> None:
    """Take a claimed run as far as it goes without a person."""
    if run.state in ENDED:
        settle(run, finished_at=run.ended_at)
        return
    blocks = [Block.of(block) for block in run.revision.blocks]
    for _ in range(MOST_MOVES):
        fresh = RunbookRun.objects.values("paused_at", "rolling_back", "operator", "inputs").get(pk=run.pk)
        run.rolling_back, run.operator = fresh["rolling_back"], fresh["operator"]
        if fresh["paused_at"] is not None:
            _rest(run, None, state=RunState.PAUSED, until=database_now() + PATIENCE)
            return
        steps = list(run.steps.all())
        if not run.rolling_back and run.deadline_at is not None and run.deadline_at <= database_now():
            move = Move(Do.FAIL, None, "it took longer than the whole run may")
        else:
            move = _move(run, blocks, steps)
        if not _carry_out(run, blocks, steps, move):
            return
    end_run(run, RunState.FAILED, f"no end after {MOST_MOVES} moves")


def _move(run: RunbookRun, blocks: list[Block], steps: list[RunStep]) -> Move:
    def holds(block: Block, row: Row) -> bool:
        step = _of(steps, row)
        return bool(evaluate(block.when, inputs=run.inputs, steps=known_steps(run), item=step.item or None))

    return next_move(blocks, rows_of(steps), rolling_back=run.rolling_back, holds=holds)


def rows_of(steps: list[RunStep]) -> list[Row]:
    """Return what the rules see of a run's steps."""
    instants = sorted({step.began_at for step in steps if step.began_at is not None})
    return [
        Row(
            id=step.step_id,
            state=step.state,
            item=step.item_index,
            effect=step.effect,
            began=instants.index(step.began_at) + 1 if step.began_at is not None else 0,
            answer=step.answer,
        )
        for step in steps
    ]


def _of(steps: list[RunStep], row: Row) -> RunStep:
    return next(step for step in steps if step.step_id == row.id and step.item_index == row.item)


def _carry_out(run: RunbookRun, blocks: list[Block], steps: list[RunStep], move: Move) -> bool:
    """Do a move; returns whether the run may go on at once."""
    if move.do is Do.END:
        end_run(
            run, RunState(move.state), move.reason if move.state != "rolled_back" else f"{run.reason}; {move.reason}"
        )
        return False
    if move.do is Do.FAIL:
        return _fail(run, blocks, steps, move)
    assert move.row is not None  # noqa: S101 every other move names its row
    step = _of(steps, move.row)
    if move.do is Do.PARK:
        _rest(run, step, state=RunState.WAITING, until=database_now() + PATIENCE)
        return False
    if move.do is Do.SKIP:
        finish_step(run, step, StepState.SKIPPED, move.reason)
        return True
    return _take(run, step, run.revision.blocks[step.position])


def _fail(run: RunbookRun, blocks: list[Block], steps: list[RunStep], move: Move) -> bool:
    reason = move.reason
    if move.row is not None:
        step = _of(steps, move.row)
        if step.state == StepState.FAILED:
            reason = f"{step.step_id}: {step.detail}" if step.detail else reason
        else:
            finish_step(run, step, StepState.FAILED, reason)
            reason = f"{step.step_id}: {reason}"
    if not undoable(blocks, rows_of(steps)):
        end_run(run, RunState.FAILED, reason)
        return False
    RunbookRun.objects.filter(pk=run.pk).update(rolling_back=True, reason=reason[:900])
    run.reason = reason
    return True


def _take(  # noqa: PLR0911 one return for each kind
    run: RunbookRun, step: RunStep, block: dict[str, Any]
) -> bool:
    """Take one step; returns whether the run may go on at once."""
    if step.state == StepState.WAITING:
        return _wait(run, step, block)
    if step.kind in HUMAN_KINDS or (step.kind == "decide" and block["ask"]):
        ask(run, step, block)
        return True
    if step.kind == "decide":
        _choose(run, step, block)
        return True
    if step.kind == "notify":
        notify(run, step, block)
        return True
    if step.kind == "wait":
        now = database_now()
        RunStep.objects.filter(pk=step.pk).update(
            state=StepState.WAITING, waiting_until=now + seconds_of(block["for"]), began_at=now
        )
        return True
    if step.state == StepState.PENDING and step.waiting_until is not None and step.waiting_until > database_now():
        _rest(run, step, state=RunState.TIMER, until=step.waiting_until)
        return False
    if step.kind == "step" and step.state == StepState.PENDING:
        allowed = _may_change(run, step, block)
        if allowed is not None:
            return allowed
    if is_by_hand(block):
        ask(run, step, block)
        return True
    act(run, step, block)
    return True


def _wait(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> bool:
    now = database_now()
    if step.waiting_until is None or step.waiting_until > now:
        state = RunState.TIMER if step.kind == "wait" else RunState.WAITING
        _rest(run, step, state=state, until=step.waiting_until or now + PATIENCE)
        return False
    if step.kind == "wait":
        finish_step(run, step, StepState.SUCCEEDED, f"waited {seconds_of(block['for'])}")
        return True
    if block.get("on_timeout") == "escalate" and step.escalated_at is None:
        escalate(run, step, "nobody answered in time")
        patience = seconds_of(block.get("expires") or block["timeout"])
        RunStep.objects.filter(pk=step.pk).update(waiting_until=now + patience)
        return True
    finish_step(run, step, StepState.FAILED, "nobody answered in time")
    return True


def _choose(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> None:
    try:
        way = str(evaluate(block["choose"], inputs=run.inputs, steps=known_steps(run)))
    except ExpressionError as error:
        finish_step(run, step, StepState.FAILED, str(error))
        return
    if way not in block["branches"]:
        finish_step(run, step, StepState.FAILED, f"{way!r} is none of {', '.join(block['branches'])}")
        return
    step.answer = way
    finish_step(run, step, StepState.SUCCEEDED, f"takes the way {way}")


def _may_change(  # noqa: PLR0911 one return for each rule
    run: RunbookRun, step: RunStep, block: dict[str, Any]
) -> bool | None:
    """Say whether a step that changes something may run: None when it may, else whether the run may go on at once.

    1. Undoing is covered by what allowed the step that it undoes.
    2. Every approval that guards it must hold now: for these arguments, by people who still may.
    3. Without one, somebody must run it or let it go on; what destroys never goes without an approval.
    """
    if block.get("on_rollback"):
        return None
    guards = [other for other in run.revision.blocks if other["kind"] == "approve" and step.step_id in other["before"]]
    asked = [guard for guard in guards if _row(run, guard["id"]).state != StepState.SKIPPED]
    for guard in asked:
        row = _row(run, guard["id"])
        if (problem := why_not_approved(run, row, guard)) and row.state == StepState.SUCCEEDED:
            # What was agreed to is not what would be done: ask again.
            row.answer = row.performed_by = ""
            row.state, row.waiting_until, row.detail = StepState.PENDING, None, problem
            row.save(update_fields=["state", "waiting_until", "detail", "answer", "performed_by"])
            return True
        if problem:
            _rest(run, row, state=RunState.WAITING, until=database_now() + PATIENCE)
            return False
    if asked:
        return None
    if risk_of(block) is Risk.DESTRUCTIVE:
        finish_step(run, step, StepState.FAILED, "nobody has approved it")
        return True
    if run.operator.startswith("user:") or step.released_by or _is_unattended(run):
        return None
    ask(run, step, block)
    return True


def why_not_approved(run: RunbookRun, row: RunStep, guard: dict[str, Any]) -> str:
    """Return why an approval does not hold now, or nothing."""
    digest = guarded_digest(run, guard)
    wanted = guard.get("approvers") or {"count": 1, "from": []}
    valid = 0
    for approval in row.approvals.all():
        if approval.arguments_sha256 != digest:
            continue
        user = user_by_id(user_id=approval.user_id) if approval.user_id else None
        if approval.break_glass_reason:
            return ""
        if user is None:
            continue
        principal, team_id = principal_for_user(user=user), run.revision.runbook.team_id
        if principal.may(Capability.APPROVE, team_id=team_id) and (
            not wanted["from"] or is_one_of(principal, wanted["from"], team_id=team_id)
        ):
            valid += 1
    if valid >= wanted["count"]:
        return ""
    if row.approvals.exists() and row.arguments_sha256 != digest:
        return "the arguments have changed since it was approved"
    return "who approved it may not any more" if row.approvals.exists() else "nobody has approved it"


def _is_unattended(run: RunbookRun) -> bool:
    """Say whether policy lets steps that change go on without a person, for every service of the runbook."""
    allowed = {(one["service"], one["environment"]) for one in run.revision.policy.get("unattended", [])}
    services = set(run.revision.runbook.services.values_list("slug", "environment__slug"))
    return bool(services) and services <= allowed


def _row(run: RunbookRun, step_id: str) -> RunStep:
    return run.steps.get(step_id=step_id, item_index=0)


def _rest(run: RunbookRun, step: RunStep | None, *, state: RunState, until: Any) -> None:
    """Give the worker back; the row falls due again when the wait ends, or at once if an answer came in between."""
    if run.deadline_at is not None and not run.rolling_back:
        until = min(until, run.deadline_at)
    with transaction.atomic():
        settle(run, state=state, due_at=until, attempts=0)
        now = database_now()
        paused = RunbookRun.objects.filter(pk=run.pk, paused_at__isnull=False).exists()
        if paused != (state == RunState.PAUSED):
            RunbookRun.objects.filter(pk=run.pk).update(due_at=now)
        elif step is not None and RunStep.objects.filter(pk=step.pk).exclude(state=step.state).exists():
            RunbookRun.objects.filter(pk=run.pk).update(due_at=now, state=RunState.RUNNING)

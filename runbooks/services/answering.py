"""What people do with a run: agree, answer, say what became of a step, pause, take over, override, end."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import principal_for_user, user_by_username
from accounts.services import ensure_may, ensure_other_person
from core.clock import database_now
from core.parsing import refuse
from core.work import wake
from ledger.data.access import AuditedAction
from ledger.services import record
from runbooks.data import ENDED, UNKNOWN_EXITS, RunState, StepState
from runbooks.models import FenceTick, RunbookRun, RunStep, StepApproval
from runbooks.selectors import is_one_of, step_of
from runbooks.services.arguments import guarded_digest
from runbooks.services.asking import escalate, note, tell_owners
from runbooks.services.ending import close_run, finish_step
from runbooks.services.linting import is_by_hand
from runbooks.services.starting import ADVANCE_QUEUE, ensure_may_run

SHORTEST_REASON = 10


@transaction.atomic
def answer_step(
    *, principal: Principal, run: RunbookRun, step_id: str, answer: str, evidence: str = "", reason: str = ""
) -> None:
    """Answer whatever a step asks: approve, reject or break-glass an approval, else one of its answers."""
    step = _step(run, step_id)
    if step.kind == "approve" and step.state == StepState.WAITING:
        if answer not in {"approve", "reject", "break-glass"}:
            raise refuse("answer", found=answer, allowed="approve, reject or break-glass is allowed")
        if answer == "approve":
            approve_step(principal=principal, run=run, step_id=step_id)
        elif answer == "reject":
            reject_step(principal=principal, run=run, step_id=step_id)
        else:
            break_glass(principal=principal, run=run, step_id=step_id, reason=reason)
        return
    confirm_step(principal=principal, run=run, step_id=step_id, answer=answer, evidence=evidence)


@transaction.atomic
def approve_step(*, principal: Principal, run: RunbookRun, step_id: str) -> None:
    """Agree to the steps that an approval guards, as their arguments are now. Nobody who operated the run can."""
    step, block = _waiting(run, step_id, kind="approve")
    _ensure_approver(principal, run, block)
    now = RunbookRun.objects.get(pk=run.pk)
    for operator in {now.operator, *(now.operated_by or ())}:
        ensure_other_person(principal, requester=operator)
    digest = guarded_digest(run, block)
    if digest != step.arguments_sha256:
        step.arguments_sha256 = digest
        step.save(update_fields=["arguments_sha256"])
    _, fresh = StepApproval.objects.get_or_create(
        step=step,
        by=f"user:{principal.user_id}",
        arguments_sha256=digest,
        defaults={"by_label": principal.label, "user_id": principal.user_id, "at": database_now()},
    )
    if not fresh:
        raise refuse("step", found=f"a second approval by {principal.label}", allowed="other people's are allowed")
    given = step.approvals.filter(arguments_sha256=digest)
    needed = (block.get("approvers") or {"count": 1})["count"]
    step.answer, step.performed_by = "approved", ", ".join(one.by for one in given)[:80]
    if given.count() < needed:
        step.save(update_fields=["performed_by"])
        return
    finish_step(run, step, StepState.SUCCEEDED, f"approved by {', '.join(one.by_label for one in given)}")
    _go_on(run)


@transaction.atomic
def reject_step(*, principal: Principal, run: RunbookRun, step_id: str) -> None:
    """Refuse what an approval guards; the run fails."""
    step, block = _waiting(run, step_id, kind="approve")
    _ensure_approver(principal, run, block)
    step.answer, step.performed_by = "rejected", principal.reference
    finish_step(run, step, StepState.FAILED, f"rejected by {principal.label}")
    _go_on(run)


@transaction.atomic
def break_glass(*, principal: Principal, run: RunbookRun, step_id: str, reason: str) -> None:
    """Go on without a second person, in an emergency: the owner is paged, the ledger and the review show it."""
    step, block = _waiting(run, step_id, kind="approve")
    ensure_may_run(principal, run.revision.runbook, run.revision)
    if principal.user_id is None:
        raise PermissionDenied("Only a person can go on without an approval.")
    if len(reason.strip()) < SHORTEST_REASON:
        raise refuse("reason", found=reason or "nothing", allowed=f"at least {SHORTEST_REASON} characters are needed")
    StepApproval.objects.create(
        step=step,
        by=principal.reference,
        by_label=principal.label,
        user_id=principal.user_id,
        at=database_now(),
        arguments_sha256=guarded_digest(run, block),
        break_glass_reason=reason.strip()[:2000],
    )
    step.answer, step.performed_by = "break-glass", principal.reference
    finish_step(run, step, StepState.SUCCEEDED, f"{principal.label} broke the glass: {reason.strip()}")
    words = f"{principal.label} broke the glass before {', '.join(block['before'])}: {reason.strip()}"
    note(run, text=words, by=principal.reference, label=principal.label, break_glass=True)
    tell_owners(run, f"{step.step_id}:break-glass", f"{run.revision.runbook}: {words}")
    record(
        AuditedAction(
            action="runbook.break_glass", target=f"{run.reference} {step.step_id}", reason=reason.strip()[:500]
        ),
        actor=principal.reference,
        subject=f"runbook:{run.revision.runbook.slug}",
    )
    _go_on(run)


@transaction.atomic
def confirm_step(*, principal: Principal, run: RunbookRun, step_id: str, answer: str, evidence: str = "") -> None:
    """Answer a question, let a step go on, or say what became of one whose outcome is unknown."""
    ensure_may_run(principal, run.revision.runbook, run.revision)
    step = _step(run, step_id)
    if step.state == StepState.UNKNOWN:
        _settle_unknown(principal, run, step, answer, evidence)
        return
    step, block = _waiting(run, step_id, kind=step.kind if step.kind != "approve" else "confirm")
    step.performed_by, step.evidence = principal.reference, evidence.strip()[:4000]
    if step.kind == "step":
        _release(principal, run, step, block, answer)
        return
    answers = list(block["branches"]) if step.kind == "decide" else block["answers"]
    if answer not in answers:
        raise refuse("answer", found=answer, allowed=f"one of {', '.join(answers)} is allowed")
    if step.kind == "confirm" and answer == "escalate" and answer not in block["go_on"]:
        escalate(run, step, f"{principal.label} asks for the owner")
        return
    if block.get("evidence") == "required" and not step.evidence:
        raise refuse("evidence", found="nothing", allowed="a link or a text that the answer rests on is needed")
    step.answer = answer
    step.save(update_fields=["evidence"])
    good = step.kind == "decide" or answer in block["go_on"]
    finish_step(run, step, StepState.SUCCEEDED if good else StepState.FAILED, f"{answer} by {principal.label}")
    _go_on(run)


@transaction.atomic
def pause_run(*, principal: Principal, run: RunbookRun, reason: str = "") -> None:
    """Take no further step until somebody resumes; what is under way comes to its end."""
    ensure_may_run(principal, run.revision.runbook, run.revision)
    if _change(run, paused_at=None, then={"paused_at": database_now(), "due_at": database_now()}):
        note(run, text=f"paused: {reason}" if reason else "paused", by=principal.reference, label=principal.label)
        wake(ADVANCE_QUEUE)


@transaction.atomic
def resume_run(*, principal: Principal, run: RunbookRun) -> None:
    """Let a paused run go on."""
    ensure_may_run(principal, run.revision.runbook, run.revision)
    if RunbookRun.objects.filter(pk=run.pk, paused_at__isnull=False).update(paused_at=None):
        note(run, text="resumed", by=principal.reference, label=principal.label)
        _go_on(run)


@transaction.atomic
def take_over_run(*, principal: Principal, run: RunbookRun) -> None:
    """Become the operator. Approvals that one gave oneself no longer count: nobody agrees to their own run."""
    ensure_may_run(principal, run.revision.runbook, run.revision)
    if principal.user_id is None:
        raise PermissionDenied("Only a person can take a run over.")
    _hand(run, f"user:{principal.user_id}", "taken over", principal)


@transaction.atomic
def hand_over_run(*, principal: Principal, run: RunbookRun, to: str) -> None:
    """Make somebody else, by user name, the operator; they must be allowed to run it."""
    ensure_may_run(principal, run.revision.runbook, run.revision)
    user = user_by_username(username=to)
    if user is None:
        raise refuse("to", found=to, allowed="the user name of an active person is allowed")
    ensure_may_run(principal_for_user(user=user), run.revision.runbook, run.revision)
    _hand(run, f"user:{user.pk}", f"handed over to {user}", principal)


@transaction.atomic
def cancel_run(*, principal: Principal, run: RunbookRun, reason: str, roll_back: bool = False) -> None:
    """End a run. What it has done stays done, unless it is to be rolled back."""
    ensure_may_run(principal, run.revision.runbook, run.revision)
    fresh = RunbookRun.objects.select_for_update(of=("self",)).select_related("revision__runbook").get(pk=run.pk)
    if fresh.state in ENDED:
        return
    if roll_back:
        RunbookRun.objects.filter(pk=run.pk).update(rolling_back=True, reason=f"{principal.label}: {reason}"[:900])
        fresh.steps.filter(state=StepState.WAITING).update(state=StepState.SKIPPED, detail="the run was cancelled")
        note(fresh, text=f"cancelled and rolled back: {reason}", by=principal.reference, label=principal.label)
        _go_on(fresh)
        return
    close_run(fresh, RunState.CANCELLED, f"{principal.label}: {reason}")


@transaction.atomic
def tick_command(*, principal: Principal, run: RunbookRun, position: int, done: bool) -> None:
    """Say that a command of the text was run by hand, or that it was not. It drives nothing."""
    ensure_may_run(principal, run.revision.runbook, run.revision)
    if not done:
        FenceTick.objects.filter(run=run, position=position).delete()
        return
    FenceTick.objects.get_or_create(
        run=run, position=position, defaults={"by_label": principal.label[:200], "at": database_now()}
    )


def _settle_unknown(principal: Principal, run: RunbookRun, step: RunStep, answer: str, evidence: str) -> None:
    """Take one of the four exits: it is done (evidence), look by its check, try again, or roll back."""
    block = run.revision.blocks[step.position]
    if answer not in UNKNOWN_EXITS:
        raise refuse(
            "answer", found=answer, allowed=f"{', '.join(UNKNOWN_EXITS[:-1])} or {UNKNOWN_EXITS[-1]} is allowed"
        )
    if answer == "verify" and not block.get("verify"):
        raise refuse("answer", found=answer, allowed="this step declares no verify; done, retry or rollback is allowed")
    if answer == "done" and not evidence.strip():
        raise refuse("evidence", found="nothing", allowed="a link or a text that shows it is done is needed")
    step.answer, step.performed_by, step.evidence = answer, principal.reference, evidence.strip()[:4000]
    step.save(update_fields=["answer", "performed_by", "evidence"])
    note(run, text=f"{step.step_id} was unknown: {answer}", by=principal.reference, label=principal.label)
    if answer == "done":
        finish_step(run, step, StepState.SUCCEEDED, f"done, says {principal.label}")
    elif answer == "rollback":
        finish_step(run, step, StepState.FAILED, f"unknown; {principal.label} rolls back")
    else:
        state = StepState.VERIFYING if answer == "verify" else StepState.PENDING
        RunStep.objects.filter(pk=step.pk).update(state=state)
    if answer == "retry":
        _ask_again(run, step)
    _go_on(run)


def _ask_again(run: RunbookRun, step: RunStep) -> None:
    """A second try of something that may have happened needs a fresh approval."""
    for block in run.revision.blocks:
        if block["kind"] == "approve" and step.step_id in block["before"]:
            guard = run.steps.get(step_id=block["id"], item_index=0)
            guard.approvals.all().delete()
            RunStep.objects.filter(pk=guard.pk).exclude(state=StepState.SKIPPED).update(
                state=StepState.PENDING, waiting_until=None, answer="", performed_by=""
            )


def _release(principal: Principal, run: RunbookRun, step: RunStep, block: dict[str, Any], answer: str) -> None:
    allowed = ("done", "failed") if is_by_hand(block) else ("go", "failed")
    if answer not in allowed:
        raise refuse("answer", found=answer, allowed=f"{' or '.join(allowed)} is allowed")
    if answer == "go":
        RunStep.objects.filter(pk=step.pk).update(
            state=StepState.PENDING, released_by=principal.reference, waiting_until=None
        )
    else:
        step.answer = answer
        step.save(update_fields=["evidence"])
        state = StepState.FAILED if answer == "failed" else StepState.SUCCEEDED
        step.effect = state == StepState.SUCCEEDED
        RunStep.objects.filter(pk=step.pk).update(began_at=database_now())
        finish_step(run, step, state, f"{answer}, says {principal.label}")
    _go_on(run)


@transaction.atomic
def withdraw_approvals_of(*, principal: Principal, user_id: int, username: str) -> int:
    """End the approvals that somebody gave to steps that still wait; returns how many there were."""
    waiting = StepApproval.objects.filter(
        user_id=user_id, step__finished_at__isnull=True, step__state=StepState.WAITING
    )
    withdrawn, _ = waiting.exclude(step__run__state__in=ENDED).delete()
    if withdrawn:
        action = AuditedAction(
            action="runbook.approvals_withdrawn",
            target=username,
            after={"approvals": str(withdrawn)},
            reason="they left",
        )
        record(action, actor=principal.reference, subject=f"user:{username}")
    return withdrawn


def _ensure_approver(principal: Principal, run: RunbookRun, block: dict[str, Any]) -> None:
    team_id = run.revision.runbook.team_id
    ensure_may(principal, Capability.APPROVE, team_id=team_id)
    for wanted in (
        (block.get("approvers") or {}).get("from"),
        run.revision.policy.get("permissions", {}).get("approve"),
    ):
        if wanted and not is_one_of(principal, wanted, team_id=team_id):
            raise PermissionDenied(f"This is approved by {', '.join(wanted)} only.")


def _waiting(run: RunbookRun, step_id: str, *, kind: str) -> tuple[RunStep, dict[str, Any]]:
    step = _step(run, step_id)
    expired = step.waiting_until is not None and step.waiting_until <= database_now()
    ended = RunbookRun.objects.filter(pk=run.pk, state__in=ENDED).exists()
    if step.kind != kind or step.state != StepState.WAITING or expired or ended:
        state = "the run has ended" if ended else "expired" if expired else step.state
        raise refuse("step", found=f"{step_id} ({state})", allowed=f"a waiting {kind} that has not expired is allowed")
    return step, run.revision.blocks[step.position]


def _step(run: RunbookRun, step_id: str) -> RunStep:
    step = step_of(run=run, step_id=step_id)
    if step is None:
        raise refuse("step", found=step_id, allowed="the id of a step of this run is allowed")
    return step


def _hand(run: RunbookRun, to: str, text: str, principal: Principal) -> None:
    fresh = RunbookRun.objects.select_for_update(of=("self",)).get(pk=run.pk)
    operated_by = [*(fresh.operated_by or ()), fresh.operator, to]
    if not _change(run, then={"operator": to, "operated_by": operated_by, "due_at": database_now()}):
        raise refuse("run", found="one that has ended", allowed="a run under way is allowed")
    run.operator, run.operated_by = to, operated_by
    for step in run.steps.filter(kind="approve", approvals__by=to):
        step.approvals.filter(by=to, break_glass_reason="").delete()
    note(run, text=text, by=principal.reference, label=principal.label)
    wake(ADVANCE_QUEUE)


def _change(run: RunbookRun, *, then: dict[str, Any], **expected: Any) -> bool:
    found = RunbookRun.objects.filter(pk=run.pk, **{f"{k}__isnull": True for k in expected}).exclude(state__in=ENDED)
    return bool(found.update(**then))


def _go_on(run: RunbookRun) -> None:
    RunbookRun.objects.filter(pk=run.pk, paused_at__isnull=True).exclude(state__in=ENDED).update(
        state=RunState.RUNNING, due_at=database_now()
    )
    wake(ADVANCE_QUEUE)

"""The ends of steps and runs: state, event and ledger entry in one transaction."""

from django.db import transaction
from django.db.models import F

from core.clock import database_now
from core.events import publish
from core.leases import settle
from ledger.data.runbooks import AttemptOutcome, RunbookRunFinished, StepOutcomeInFull
from ledger.services import record
from runbooks.data import ENDED, RunState, StepState
from runbooks.events import RunFinished, StepFinished
from runbooks.models import RunbookRun, RunStep, StepAttempt
from runbooks.services.linting import risk_of


def finish_step(run: RunbookRun, step: RunStep, state: StepState, detail: str) -> None:
    """Write a step's end and announce it."""
    # Inside the caller's transaction it is part of that: a savepoint would cost two more questions for nothing.
    with transaction.atomic(savepoint=False):
        step.state, step.finished_at, step.detail = state, database_now(), detail[:1000]
        step.save(update_fields=["state", "finished_at", "detail", "answer", "performed_by", "waiting_until", "effect"])
        if state == StepState.SKIPPED:
            return
        publish(
            StepFinished(
                run_reference=run.reference,
                step=f"{step.step_id} {step.item}".strip(),
                state=state,
                detail=detail[:300],
                incident_reference=run.incident_reference,
            )
        )


def end_run(run: RunbookRun, state: RunState, reason: str) -> None:
    """End a claimed run; raises StaleFenceError when the claim is lost."""
    with transaction.atomic():
        settle(run, finished_at=database_now())
        close_run(run, state, reason)


def close_run(run: RunbookRun, state: RunState, reason: str) -> None:
    """End a run, whoever holds it: what is under way can no longer write, and its outcome is told as unknown."""
    now = database_now()
    if (
        not RunbookRun.objects.filter(pk=run.pk)
        .exclude(state__in=ENDED)
        .update(
            state=state, reason=reason[:1000], ended_at=now, finished_at=now, lease_until=None, fence=F("fence") + 1
        )
    ):
        return
    run.state, run.reason = state, reason
    run.steps.filter(state=StepState.WAITING).update(state=StepState.SKIPPED, detail="the run ended")
    under_way = StepAttempt.objects.filter(step__run=run, finished_at__isnull=True)
    RunStep.objects.filter(attempts__in=under_way).update(state=StepState.UNKNOWN)
    under_way.update(state=StepState.UNKNOWN, finished_at=now, error="the run ended while it was under way")
    runbook = run.revision.runbook
    record(
        RunbookRunFinished(
            run=run.reference,
            runbook=runbook.slug,
            revision=run.revision.sha256,
            trigger=run.trigger,
            operator=run.operator,
            incident=run.incident_reference,
            services=sorted(runbook.services.values_list("slug", flat=True)),
            state=state,
            reason=reason[:300],
            started_at=run.started_at,
            finished_at=now,
            steps=_outcomes(run),
        ),
        actor=run.operator,
        subject=f"runbook:{runbook.slug}",
        occurred_at=now,
    )
    publish(
        RunFinished(
            run_reference=run.reference,
            runbook=runbook.slug,
            state=state,
            incident_reference=run.incident_reference,
        )
    )


def _outcomes(run: RunbookRun) -> list[StepOutcomeInFull]:
    blocks = run.revision.blocks
    steps = list(run.steps.prefetch_related("attempts", "approvals"))
    agreed: dict[str, str] = {}
    forced: dict[str, str] = {}
    for step in steps:
        valid = [one for one in step.approvals.all() if one.arguments_sha256 == step.arguments_sha256]
        for name in blocks[step.position].get("before", ()) if step.kind == "approve" else ():
            agreed[name] = ", ".join(one.by for one in valid)
            forced[name] = "; ".join(one.break_glass_reason for one in valid if one.break_glass_reason)
    return [
        StepOutcomeInFull(
            step=step.step_id,
            item=step.item,
            kind=step.kind,
            state=step.state,
            risk=risk_of(blocks[step.position]).value if step.kind in {"check", "step"} else "",
            attempts=len(step.attempts.all()),
            performed_by=step.performed_by or step.released_by,
            approved_by=agreed.get(step.step_id, ""),
            break_glass=forced.get(step.step_id, ""),
            answer=step.answer,
            tries=[
                AttemptOutcome(
                    number=one.number,
                    state=one.state,
                    idempotency_key=one.idempotency_key,
                    started_at=one.started_at,
                    finished_at=one.finished_at,
                )
                for one in step.attempts.all()
            ],
        )
        for step in steps
    ]

"""Ask people, tell people, and call the owner when nobody answers."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import transaction

from accounts.data import Capability
from accounts.selectors import team_by_slug, user_by_id, user_by_username, users_with
from core.clock import database_now
from core.events import publish
from delivery.data import Channel
from delivery.services import send
from runbooks.data import StepState
from runbooks.events import ApprovalRequested, RunNoted
from runbooks.models import RunbookRun, RunNote, RunStep
from runbooks.services.arguments import fill, guarded_digest, known_steps
from runbooks.services.ending import finish_step
from runbooks.services.linting import is_by_hand
from runbooks.services.starting import seconds_of

RELEASE_PATIENCE = timedelta(days=1)
URGENT = 1


def ask(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> None:
    """Put a question to people; from here on the row waits, no worker does."""
    now = database_now()
    patience = block.get("expires") or block.get("timeout")
    answers = step.kind != "step" or is_by_hand(block)
    step.waiting_until = now + (seconds_of(patience) if patience and answers else RELEASE_PATIENCE)
    step.state = StepState.WAITING
    if step.kind != "step":
        step.began_at = step.began_at or now
    step.arguments_sha256 = guarded_digest(run, block) if step.kind == "approve" else step.arguments_sha256
    with transaction.atomic():
        step.save(update_fields=["state", "waiting_until", "arguments_sha256", "began_at"])
        _tell(run, step, block)


def escalate(run: RunbookRun, step: RunStep, reason: str) -> None:
    """Call the owner: everybody of the team at once, or everybody who may run it. Once for each question."""
    with transaction.atomic():
        note(run, text=f"{step.step_id}: {reason}; the owner was called", by="system:runbooks", label="Runbooks")
        RunStep.objects.filter(pk=step.pk).update(escalated_at=database_now())
        for person in owners(run):
            _send(run, person, f"{step.step_id}:escalated", f"{run.revision.runbook} needs you: {reason}", urgent=True)


def note(run: RunbookRun, *, text: str, by: str, label: str, break_glass: bool = False) -> None:
    """Write down what people did with a run, and announce it."""
    written = RunNote.objects.create(run=run, at=database_now(), by=by, by_label=label[:200], text=text)
    publish(
        RunNoted(
            run_reference=run.reference,
            runbook=run.revision.runbook.slug,
            note_id=written.pk,
            text=text[:500],
            by=label,
            incident_reference=run.incident_reference,
            break_glass=break_glass,
        )
    )


def notify(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> None:
    """Put messages into the outbox in the transaction that ends the step: each goes out once, whoever dies when."""
    known = {"inputs": run.inputs, "steps": known_steps(run, block), "item": step.item}
    text = str(fill(block["message"], **known))
    subject = str(fill(block["subject"], **known)) or f"{run.revision.runbook}: {text[:80]}"
    told: list[str] = []
    with transaction.atomic():
        for address in block["to"]:
            kind, _, name = address.partition(":")
            if kind == "endpoint":
                send(
                    channel=Channel.WEBHOOK,
                    address=name,
                    idempotency_key=f"{run.reference}:{step.step_id}:{address}",
                    subject=subject[:200],
                    text=text,
                    link=link_of(run),
                    about=f"runbook-run:{run.reference}",
                )
                told.append(address)
                continue
            for person in _addressed(run, kind, name):
                _send(run, person, step.step_id, subject, text=text, urgent=block["urgent"], mail=True)
                told.append(person.username)
        if told:
            finish_step(run, step, StepState.SUCCEEDED, f"told {', '.join(dict.fromkeys(told))}"[:300])
        else:
            finish_step(run, step, StepState.FAILED, f"nobody answers to {', '.join(block['to'])}")


def owners(run: RunbookRun) -> Sequence[AbstractUser]:
    """Return the active members of the owning team, or everybody who may run it."""
    runbook = run.revision.runbook
    members = list(runbook.team.members.filter(is_active=True)) if runbook.team is not None else []
    return members or list(users_with(Capability.RUNBOOK_RUN, team_id=runbook.team_id))


def link_of(run: RunbookRun) -> str:
    """Return the page of a run."""
    return f"/runbooks/runs/{run.reference}/"


def tell_owners(run: RunbookRun, key: str, subject: str) -> None:
    """Page everybody of the owning team."""
    for person in owners(run):
        _send(run, person, key, subject, urgent=True, mail=True)


def _addressed(run: RunbookRun, kind: str, name: str) -> Sequence[AbstractUser]:
    if kind == "owner":
        return owners(run)
    if kind == "operator":
        kind, _, key = run.operator.partition(":")
        found = user_by_id(user_id=int(key)) if kind == "user" else None
        return [found] if found else []
    if kind == "user":
        found = user_by_username(username=name)
        return [found] if found else []
    team = team_by_slug(slug=name)
    return list(team.members.filter(is_active=True)) if team else []


def _tell(run: RunbookRun, step: RunStep, block: dict[str, Any]) -> None:
    runbook = run.revision.runbook
    if step.kind == "approve":
        assert step.waiting_until is not None  # noqa: S101 set by the caller
        people = users_with(Capability.APPROVE, team_id=runbook.team_id)
        subject = f"Approve {', '.join(block['before'])} of {runbook}"
        publish(
            ApprovalRequested(
                run_reference=run.reference,
                step=step.step_id,
                incident_reference=run.incident_reference,
                expires_at=step.waiting_until,
            )
        )
    else:
        people = users_with(Capability.RUNBOOK_RUN, team_id=runbook.team_id)
        words = block.get("ask") or f"{step.step_id} is ready and waits for somebody to let it go on"
        subject = f"{runbook}: {fill(words, inputs=run.inputs, steps=known_steps(run, words), item=step.item)}"
    for person in people:
        if f"user:{person.pk}" == run.operator and step.kind == "approve":
            continue
        _send(run, person, f"{step.step_id}:{step.arguments_sha256[:12]}", subject)


def _send(
    run: RunbookRun,
    person: AbstractUser,
    key: str,
    subject: str,
    *,
    text: str = "",
    urgent: bool = False,
    mail: bool = False,
) -> None:
    common: dict[str, Any] = {
        "subject": subject[:200],
        "text": text or f"Run {run.reference} waits for you.",
        "link": link_of(run),
        "about": f"runbook-run:{run.reference}",
        **({"priority": URGENT} if urgent else {}),
    }
    whole = f"{run.reference}:{key}:{person.pk}"
    send(channel=Channel.IN_APP, address=f"user:{person.pk}", idempotency_key=whole, **common)
    if mail and person.email:
        send(channel=Channel.EMAIL, address=person.email, idempotency_key=f"{whole}:mail", **common)

"""Approval of a plan by another person: asked for, given, bound to the plan as it was."""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction

from accounts.data import Capability, Principal
from accounts.selectors import name_of, users_with
from accounts.services import ensure_may, ensure_other_person
from chaos.models import ApprovalRequest, Experiment, PlanApproval
from chaos.services.planning import RunPlan, plan_run
from core.clock import database_now
from delivery.data import Channel
from delivery.services import send
from ledger.data.access import AuditedAction
from ledger.data.chaos import ChaosPlanApproved
from ledger.services import record

APPROVAL_LIFE = timedelta(hours=1)


def ask_for_approval(*, principal: Principal, experiment: Experiment) -> ApprovalRequest:
    """Ask those who may approve to look at the plan as it is now. Asking twice for the same plan is one request.

    Everybody who may approve, apart from the author and the asker, is told on the site. Raises InputRefusedError
    where the targets cannot be resolved.
    """
    for service in experiment.services.all():
        ensure_may(principal, Capability.CHAOS_RUN, team_id=service.team_id)
    # Hosts are asked before the transaction: an agent would wait for its end to see what it is asked.
    return _ask(principal, experiment, plan_run(experiment=experiment))


@transaction.atomic
def _ask(principal: Principal, experiment: Experiment, plan: RunPlan) -> ApprovalRequest:
    request, new = ApprovalRequest.objects.get_or_create(
        revision=plan.revision,
        plan_sha256=plan.sha256,
        settled_at=None,
        defaults={"asked_by": principal.reference, "asked_at": database_now()},
    )
    if new:
        for user in users_with(Capability.APPROVE):
            if f"user:{user.pk}" in {principal.reference, plan.revision.author}:
                continue
            send(
                channel=Channel.IN_APP,
                address=f"user:{user.pk}",
                idempotency_key=f"chaos:approval:{request.pk}:{user.pk}",
                subject=f"{name_of(principal.reference)} asks for approval of {experiment.title}",
                text=f"It would hurt: {', '.join(plan.target_names)}.",
                link=f"/chaos/{experiment.slug}/",
                about=f"experiment:{experiment.slug}",
            )
    return request


def approve_plan(*, principal: Principal, experiment: Experiment) -> PlanApproval:
    """Agree to the plan as it is now, for an hour. The author of the revision cannot."""
    return _approve(principal, experiment, plan_run(experiment=experiment))


@transaction.atomic
def _approve(principal: Principal, experiment: Experiment, plan: RunPlan) -> PlanApproval:
    ensure_may(principal, Capability.APPROVE)
    ensure_other_person(principal, requester=plan.revision.author)
    now = database_now()
    approval = PlanApproval.objects.create(
        revision=plan.revision,
        plan_sha256=plan.sha256,
        approved_by=principal.reference,
        approved_at=now,
        expires_at=now + APPROVAL_LIFE,
    )
    ApprovalRequest.objects.filter(revision__experiment=experiment, settled_at=None).update(settled_at=now)
    record(
        ChaosPlanApproved(
            experiment=experiment.slug,
            plan_sha256=plan.sha256,
            author=plan.revision.author,
            approved_at=now,
            expires_at=approval.expires_at,
        ),
        actor=principal.reference,
        subject=f"experiment:{experiment.slug}",
    )
    return approval


@transaction.atomic
def withdraw_approvals_of(*, principal: Principal, references: Sequence[str], username: str) -> int:
    """End the approvals that somebody gave and no run has used up, and the requests that they made."""
    now = database_now()
    given = PlanApproval.objects.filter(approved_by__in=references, expires_at__gt=now).update(expires_at=now)
    asked = ApprovalRequest.objects.filter(asked_by__in=references, settled_at__isnull=True).update(settled_at=now)
    if given or asked:
        after = {"approvals": str(given), "requests": str(asked)}
        action = AuditedAction(action="chaos.approvals_withdrawn", target=username, after=after, reason="they left")
        record(action, actor=principal.reference, subject=f"user:{username}")
    return given + asked

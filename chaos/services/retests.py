"""Retests: what is said to be mended is tried again within its period, or somebody says why it is not."""

from datetime import timedelta

from django.db import transaction

from accounts.data import Capability, Principal, system_principal
from accounts.selectors import users_with
from accounts.services import ensure_may
from catalog.data import ActionItemState
from catalog.services import close_action_item, open_action_item
from chaos.data import RunState
from chaos.domain.program_documents import RetestPolicySpec
from chaos.domain.retests import RETEST_WITHIN, retest_within
from chaos.models import ChaosRun, ExperimentSchedule
from chaos.program_models import ChaosFinding, FindingState, RetestPolicy
from chaos.services.findings import record_finding
from core.clock import database_now
from core.parsing import refuse
from delivery.data import Channel
from delivery.services import send

REMINDER = system_principal("chaos-retests")


def retest_periods() -> dict[int, timedelta]:
    """Return within what time a mended finding must be tried again, by tier."""
    policy = RetestPolicy.objects.first()
    return RetestPolicySpec.model_validate(policy.definition).periods if policy else dict(RETEST_WITHIN)


@transaction.atomic
def mend_finding(*, principal: Principal, finding: ChaosFinding, how: str) -> bool:
    """Say that a finding is mended: its follow-up is closed, a retest is due, and a schedule tries it at once.

    Returns whether it was open.
    """
    _ensure_may_settle(principal, finding)
    now = database_now()
    services = list(finding.experiment.services.order_by("tier", "slug"))
    due = now + retest_within([service.tier for service in services], stated=retest_periods())
    mended = ChaosFinding.objects.filter(pk=finding.pk, state=FindingState.OPEN).update(
        state=FindingState.MENDED,
        mended_by=principal.reference,
        mended_at=now,
        mended_how=how[:500],
        retest_due_at=due,
        overdue_told_at=None,
    )
    if mended:
        finding.refresh_from_db()
        _close_follow_ups(finding)
        open_action_item(
            source_key=finding.retest_key,
            title=f"Retest: {finding}",
            service_id=services[0].pk if services else None,
            due_on=due.date(),
            url=finding.get_absolute_url(),
        )
        ExperimentSchedule.objects.filter(experiment=finding.experiment, due_at__gt=now).update(
            due_at=now, nominal_at=now
        )
        record_finding(finding, finding.found_in, actor=principal.reference)
    return bool(mended)


@transaction.atomic
def waive_retest(*, principal: Principal, finding: ChaosFinding, reason: str) -> bool:
    """Close a finding without a retest, for a reason that the ledger keeps. Returns whether it was not closed yet.

    Raises InputRefusedError without a reason.
    """
    _ensure_may_settle(principal, finding)
    if not (reason := reason.strip()):
        raise refuse("reason", found="nothing", allowed="why no run needs to show that it is mended")
    waived = ChaosFinding.objects.filter(pk=finding.pk, state__in=[FindingState.OPEN, FindingState.MENDED]).update(
        state=FindingState.WAIVED,
        waived_by=principal.reference,
        waived_at=database_now(),
        waived_reason=reason[:500],
        retest_due_at=None,
    )
    if waived:
        finding.refresh_from_db()
        _close_follow_ups(finding, state=ActionItemState.DROPPED)
        record_finding(finding, finding.found_in, actor=principal.reference, reason=finding.waived_reason)
    return bool(waived)


def tell_overdue_retests() -> int:
    """Tell those who may run them, once, of retests that nobody has made in time; returns how many there are."""
    now = database_now()
    overdue = ChaosFinding.objects.filter(
        state=FindingState.MENDED, retest_due_at__lte=now, overdue_told_at=None
    ).select_related("experiment", "found_in")
    told = 0
    for finding in overdue:
        with transaction.atomic():
            if not ChaosFinding.objects.filter(pk=finding.pk, overdue_told_at=None).update(overdue_told_at=now):
                continue
            told += 1
            record_finding(finding, finding.found_in, actor=REMINDER.reference, state="overdue")
            teams = {service.team_id for service in finding.experiment.services.all()}
            people = {user.pk for team in teams for user in users_with(Capability.CHAOS_RUN, team_id=team)}
            for person in sorted(people):
                send(
                    channel=Channel.IN_APP,
                    address=f"user:{person}",
                    idempotency_key=f"{finding.retest_key}:overdue:{person}",
                    subject=f"Retest overdue: {finding}"[:150],
                    text="It is said to be mended, and no run has shown it in time.",
                    link=finding.get_absolute_url(),
                    about=finding.source_key,
                )
    return told


def retest_is_running(finding: ChaosFinding) -> bool:
    """Say whether a run that may prove the finding mended goes on now."""
    return (
        ChaosRun.objects.filter(revision__experiment=finding.experiment, requested_at__gte=finding.mended_at)
        .exclude(state=RunState.FINISHED)
        .exists()
    )


def _ensure_may_settle(principal: Principal, finding: ChaosFinding) -> None:
    teams = {service.team_id for service in finding.experiment.services.all()}
    for team in teams or {None}:
        ensure_may(principal, Capability.CHAOS_RUN, team_id=team)


def _close_follow_ups(finding: ChaosFinding, *, state: ActionItemState = ActionItemState.DONE) -> None:
    for number in range(1, finding.times + 1):
        close_action_item(source_key=f"{finding.source_key}:{number}", state=state)
        close_action_item(source_key=f"{finding.source_key}:retest:{number}", state=state)

"""What time brings: scheduled runs, and the runbooks that nobody has exercised."""

from datetime import timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim
from django.db import transaction

from accounts.data import Capability, system_principal
from accounts.selectors import users_with
from catalog.services import close_action_item, open_action_item
from core.clock import database_now
from core.parsing import InputRefusedError
from delivery.data import Channel
from delivery.services import send
from ledger.data.runbooks import RunbookExerciseJudged
from ledger.services import record
from runbooks.data import EXERCISE_DAYS, RunState
from runbooks.models import Runbook, RunbookRun
from runbooks.services.starting import start_run

SCHEDULER = system_principal("runbook-schedule")
TIER_ONE = 1


def start_scheduled_runs() -> int:
    """Start a run for the latest turn of each schedule that has come; a turn that was missed runs once, late."""
    now = database_now()
    started = 0
    for runbook in Runbook.objects.exclude(schedule=None):
        assert runbook.schedule is not None  # noqa: S101 the query says so
        if runbook.scheduled_until is None:
            Runbook.objects.filter(pk=runbook.pk).update(scheduled_until=now)
            continue
        zone = ZoneInfo(runbook.schedule["zone"])
        turn = next(CronSim(runbook.schedule["cron"], now.astimezone(zone), reverse=True))
        if turn <= runbook.scheduled_until:
            continue
        with transaction.atomic():
            if not Runbook.objects.filter(pk=runbook.pk, scheduled_until=runbook.scheduled_until).update(
                scheduled_until=turn
            ):
                continue
            started += _start(runbook, turn.isoformat())
    return started


def _start(runbook: Runbook, turn: str) -> int:
    key = f"schedule:{runbook.slug}:{turn}"
    try:
        start_run(
            principal=SCHEDULER, runbook_slug=runbook.slug, inputs={}, trigger=f"schedule {turn}", idempotency_key=key
        )
    except InputRefusedError as error:
        for person in users_with(Capability.RUNBOOK_EDIT, team_id=runbook.team_id):
            send(
                channel=Channel.IN_APP,
                address=f"user:{person.pk}",
                idempotency_key=f"{key}:{person.pk}",
                subject=f"{runbook} could not be started",
                text=str(error),
                link=f"/runbooks/{runbook.slug}/",
                about=f"runbook:{runbook.slug}",
            )
        return 0
    return 1


def judge_exercises() -> list[str]:
    """Record for each runbook of a tier-1 service whether it was exercised; return those that are overdue.

    A follow-up is opened for each that is overdue and closed when it was exercised.
    """
    now = database_now()
    overdue: list[str] = []
    for runbook in Runbook.objects.filter(services__tier=TIER_ONE).select_related("team").distinct():
        services = list(runbook.services.filter(tier=TIER_ONE))
        last = (
            RunbookRun.objects.filter(revision__runbook=runbook, state=RunState.SUCCEEDED)
            .order_by("-ended_at")
            .values_list("ended_at", flat=True)
            .first()
        )
        known_since = runbook.revisions.order_by("created_at").values_list("created_at", flat=True).first() or now
        is_overdue = (last or known_since) < now - timedelta(days=EXERCISE_DAYS)
        with transaction.atomic():
            record(
                RunbookExerciseJudged(
                    runbook=runbook.slug,
                    services=[service.slug for service in services],
                    last_exercised_at=last,
                    allowed_days=EXERCISE_DAYS,
                    overdue=is_overdue,
                ),
                actor=SCHEDULER.reference,
                subject=f"runbook:{runbook.slug}",
            )
            if is_overdue:
                overdue.append(runbook.slug)
                open_action_item(
                    source_key=f"runbook-exercise:{runbook.slug}",
                    title=f"Exercise the runbook “{runbook.title}”: no run has succeeded in {EXERCISE_DAYS} days",
                    service_id=services[0].pk,
                    due_on=(now + timedelta(days=14)).date(),
                    url=f"/runbooks/{runbook.slug}/",
                )
            else:
                close_action_item(source_key=f"runbook-exercise:{runbook.slug}")
    return overdue

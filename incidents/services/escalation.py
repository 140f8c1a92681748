"""Page people step by step until somebody acknowledges, from a snapshot of the policy; one row holds the next step."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F

from accounts.data import Capability
from accounts.selectors import users_with
from core.clock import database_now
from core.leases import finish, settle
from core.work import wake
from delivery.data import Channel, DeliveryState
from delivery.selectors import deliveries_about
from delivery.services import send, withdraw_pending
from incidents.data import EscalationState, IncidentStatus, OnCallPerson, TimelineKind
from incidents.domain.conditions import Person, conditions_from
from incidents.domain.wall_time import wall_of
from incidents.models import EscalationPolicy, EscalationRun, Incident, Schedule
from incidents.selectors.oncall import is_absent, on_call_now_in, person_as_on_call, public_holidays
from incidents.services.paging import PAGE_PRIORITY, PAGER, about, page_person
from incidents.services.timeline import add_timeline_entry

ESCALATION_QUEUE = "incidents.escalation"
# How often a step that waits for its conditions looks again.
RECHECK = timedelta(minutes=1)


def start_escalation(*, incident: Incident, policy: EscalationPolicy) -> EscalationRun:
    """Put a policy to work on an incident, once, from a snapshot; the first step is due at once."""
    now = database_now()
    steps = list(policy.steps.select_related("schedule").order_by("position"))
    takes_turns = any(step.round_robin for step in steps)
    snapshot = {
        "policy": policy.slug,
        "repeat": policy.repeat,
        "turn": EscalationRun.objects.filter(policy=policy).count() if takes_turns else 0,
        "steps": [
            {
                "schedule_id": step.schedule_id,
                "schedule": step.schedule.slug if step.schedule else "",
                "user_id": step.user_id,
                "wait_seconds": step.wait.total_seconds(),
                "when": step.conditions,
                "round_robin": step.round_robin,
            }
            for step in steps
        ],
    }
    run, created = EscalationRun.objects.get_or_create(
        incident=incident, policy=policy, defaults={"snapshot": snapshot, "started_at": now, "due_at": now}
    )
    if created:
        wake(ESCALATION_QUEUE)
    return run


def stop_escalation(*, incident: Incident, reason: str) -> None:
    """End the run and withdraw pages that no channel has yet; a worker that holds the run cannot go on with it."""
    now = database_now()
    for run in EscalationRun.objects.filter(incident=incident, state=EscalationState.RUNNING):
        EscalationRun.objects.filter(pk=run.pk).update(
            state=EscalationState.STOPPED,
            stopped_at=now,
            finished_at=now,
            fence=F("fence") + 1,
            lease_owner="",
            lease_until=None,
            last_error=reason,
        )
        withdraw_pending(about=about(incident), keys_starting_with=f"escalation:{run.pk}:")


def take_step(run: EscalationRun) -> None:
    """Take the due step of a claimed run and set when the next is due. Runs in one transaction with the settling.

    A step that finds nobody costs no waiting time: the next one is due at once.
    """
    incident = Incident.objects.select_for_update().get(pk=run.incident_id)
    if incident.status != IncidentStatus.TRIGGERED:
        finish(run, state=EscalationState.STOPPED, stopped_at=database_now())
        return
    steps: list[dict[str, Any]] = run.snapshot["steps"]
    if run.step >= len(steps) and not _next_loop(run, len(steps)):
        _exhaust(run, incident)
        return
    step = steps[run.step]
    people, refusals = _who(run, incident, step)
    if refusals:
        _note_refusals(run, incident, refusals)
    if not people and refusals and step.get("when", {}).get("otherwise") == "wait":
        settle(run, loop=run.loop, step=run.step, due_at=database_now() + RECHECK, attempts=0, last_error="")
        return
    folded = [not page_person(run, incident, person) for person in people]
    if not people and not refusals:
        _note_nobody(run, incident, step)
    wait = timedelta(seconds=step["wait_seconds"]) if people else timedelta(0)
    now = database_now()
    if people and not all(folded) and incident.first_notified_at is None:
        Incident.objects.filter(pk=incident.pk, first_notified_at=None).update(first_notified_at=now)
    settle(
        run,
        step=run.step + 1,
        loop=run.loop,
        people_paged=run.people_paged + len(people),
        due_at=now + wait,
        attempts=0,
        last_error="",
    )


def advance_after_dead_page(*, incident_id: int, run_id: int, position: str) -> None:
    """Bring the next step forward when every mail of a step is given up: a dead channel costs no waiting time."""
    incident = Incident.objects.get(pk=incident_id)
    prefix = f"escalation:{run_id}:{position}:"
    states = [
        row.state
        for row in deliveries_about(about=about(incident)).filter(idempotency_key__startswith=prefix)
        if row.channel != Channel.IN_APP
    ]
    if states and all(state == DeliveryState.DEAD for state in states):
        EscalationRun.objects.filter(pk=run_id, state=EscalationState.RUNNING, lease_owner="").update(
            due_at=database_now()
        )
        wake(ESCALATION_QUEUE)


def _targets(step: dict[str, Any]) -> list[OnCallPerson]:
    if step["user_id"]:
        person = person_as_on_call(user_id=step["user_id"], why="named in the escalation policy")
        return [person] if person else []
    schedule = Schedule.objects.filter(pk=step["schedule_id"]).first()
    return on_call_now_in(schedule=schedule, at=database_now()) if schedule else []


def _who(run: EscalationRun, incident: Incident, step: dict[str, Any]) -> tuple[list[OnCallPerson], list[str]]:
    """Return whom the step pages now, and why the others are not paged."""
    when = step.get("when") or {}
    conditions = conditions_from(when)
    if refused := conditions.refuses_severity(incident.severity):
        return [], [refused]
    people = _targets(step)
    if step.get("round_robin") and len(people) > 1:
        people = [people[(run.snapshot.get("turn", 0) + run.loop) % len(people)]]
    now = database_now()
    kept, refusals = [], []
    for person in people:
        if refused := conditions.refuses(person_for_conditions(person, when, now)):
            refusals.append(refused)
        else:
            kept.append(person)
    return kept, refusals


def person_for_conditions(person: OnCallPerson, when: Mapping[str, Any], now: datetime) -> Person:
    """Return what a step's conditions look at for this person now."""
    local = wall_of(now, person.time_zone)
    off = when.get("holidays") or {}
    days = public_holidays(off["country"], off.get("subdivision", ""), (local.year,)) if off else frozenset()
    away = bool(when.get("skip_absent")) and is_absent(user_id=person.user_id, at=now)
    return Person(person.name, local, is_holiday=local.date() in days, is_absent=away)


def _note_refusals(run: EscalationRun, incident: Incident, refusals: list[str]) -> None:
    for number, refused in enumerate(refusals):
        add_timeline_entry(
            incident=incident,
            kind=TimelineKind.PAGE,
            text=f"Not paged (step {run.step + 1}, round {run.loop + 1}): {refused}",
            source_key=f"escalation:{run.pk}:{run.step}:{run.loop}:refused:{number}",
            principal=PAGER,
        )


def _next_loop(run: EscalationRun, steps: int) -> bool:
    if not steps or run.loop + 1 >= run.snapshot["repeat"]:
        return False
    run.loop += 1
    run.step = 0
    return True


def _note_nobody(run: EscalationRun, incident: Incident, step: dict[str, Any]) -> None:
    add_timeline_entry(
        incident=incident,
        kind=TimelineKind.PAGE,
        text=f"Nobody is on call in {step['schedule'] or 'this step'}; going on with the next step",
        source_key=f"escalation:{run.pk}:{run.step}:{run.loop}:nobody",
        principal=PAGER,
    )


def _exhaust(run: EscalationRun, incident: Incident) -> None:
    """Say that nobody answered, and tell the administrators: an incident must not wait unheard."""
    add_timeline_entry(
        incident=incident,
        kind=TimelineKind.PAGE,
        text=f"All steps are done and nobody has acknowledged ({run.people_paged} pages); telling the administrators",
        source_key=f"escalation:{run.pk}:exhausted",
        principal=PAGER,
    )
    for user in users_with(Capability.SITE_ADMIN):
        send(
            channel=Channel.IN_APP,
            address=f"user:{user.pk}",
            idempotency_key=f"escalation:{run.pk}:exhausted:{user.pk}",
            subject=f"Nobody acknowledges {incident.reference} {incident.title}",
            text="Every step of its escalation policy was taken.",
            link=f"/incidents/{incident.reference}/",
            priority=PAGE_PRIORITY,
            about=about(incident),
        )
    finish(run, state=EscalationState.EXHAUSTED, exhausted_at=database_now())

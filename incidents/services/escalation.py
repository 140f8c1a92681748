"""Page people step by step until somebody acknowledges, from a snapshot of the policy; one row holds the next step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F

from accounts.data import Capability
from accounts.selectors import users_with
from core.clock import database_now
from core.leases import settle_many
from core.work import wake
from delivery.data import Channel, DeliveryState, Outgoing
from delivery.selectors import deliveries_about
from delivery.services import send_many, withdraw_pending
from incidents.data import EscalationState, IncidentStatus, OnCallPerson, TimelineKind
from incidents.domain.conditions import Person, conditions_from
from incidents.domain.wall_time import wall_of
from incidents.models import EscalationPolicy, EscalationRun, EscalationStep, Incident, Schedule, TimelineEntry
from incidents.selectors.oncall import is_absent, on_call_now_in, person_as_on_call, public_holidays
from incidents.services.paging import PAGE_PRIORITY, PAGER, Call, about, page_people
from incidents.services.timeline import add_timeline_entries, timeline_entry

ESCALATION_QUEUE = "incidents.escalation"
# How often a step that waits for its conditions looks again.
RECHECK = timedelta(minutes=1)


def start_escalation(*, incident: Incident, policy: EscalationPolicy) -> EscalationRun:
    """Put a policy to work on an incident, once, from a snapshot; the first step is due at once."""
    now = database_now()
    snapshot = _snapshots([policy])[policy.pk]
    run, created = EscalationRun.objects.get_or_create(
        incident=incident, policy=policy, defaults={"snapshot": snapshot, "started_at": now, "due_at": now}
    )
    if created:
        wake(ESCALATION_QUEUE)
    return run


def start_escalations(pairs: Sequence[tuple[Incident, EscalationPolicy]]) -> None:
    """Put policies to work on incidents that have no escalation yet, each from a snapshot."""
    if not pairs:
        return
    now = database_now()
    snapshots = _snapshots([policy for _, policy in pairs])
    runs = []
    for incident, policy in pairs:
        snapshot = snapshots[policy.pk]
        runs.append(
            EscalationRun(incident=incident, policy=policy, snapshot=dict(snapshot), started_at=now, due_at=now)
        )
        if _takes_turns(snapshot):
            snapshot["turn"] += 1
    EscalationRun.objects.bulk_create(runs)
    wake(ESCALATION_QUEUE)


def _snapshots(policies: Iterable[EscalationPolicy]) -> dict[int, dict[str, Any]]:
    """Return each policy as a run that begins now keeps it."""
    by_key = {policy.pk: policy for policy in policies}
    found: dict[int, dict[str, Any]] = {
        policy.pk: {"policy": policy.slug, "repeat": policy.repeat, "turn": 0, "steps": []}
        for policy in by_key.values()
    }
    steps = EscalationStep.objects.filter(policy__in=list(by_key)).select_related("schedule")
    for step in steps.order_by("policy_id", "position"):
        found[step.policy_id]["steps"].append(
            {
                "schedule_id": step.schedule_id,
                "schedule": step.schedule.slug if step.schedule else "",
                "user_id": step.user_id,
                "wait_seconds": step.wait.total_seconds(),
                "when": step.conditions,
                "round_robin": step.round_robin,
            }
        )
    for key, snapshot in found.items():
        if _takes_turns(snapshot):
            snapshot["turn"] = EscalationRun.objects.filter(policy=key).count()
    return found


def _takes_turns(snapshot: Mapping[str, Any]) -> bool:
    return any(step["round_robin"] for step in snapshot["steps"])


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
    take_steps([run])


def take_steps(runs: Sequence[EscalationRun]) -> None:
    """Take the due steps of claimed runs, in this order, as one after the other would, and settle the runs."""
    # Always in one order, so that two workers do not wait for each other; rows that refer to them may be written.
    locked = Incident.objects.select_for_update(no_key=True).prefetch_related("services").order_by("pk")
    incidents = {one.pk: one for one in locked.filter(pk__in={run.incident_id for run in runs})}
    people = _People(database_now())
    steps = [_Step(run, incidents[run.incident_id]) for run in runs]
    for step in steps:
        _plan(step, people)
    calls = [Call(step.run, step.incident, person) for step in steps for person in step.people]
    went_out = iter(page_people(calls, now=people.now))
    notified = set()
    for step in steps:
        if [True for _ in step.people if next(went_out)]:
            notified.add(step.incident.pk)
    add_timeline_entries(entry for step in steps for entry in step.entries)
    send_many([message for step in steps for message in step.messages])
    # The waiting begins once the pages are written.
    now = database_now()
    Incident.objects.filter(pk__in=notified, first_notified_at=None).update(first_notified_at=now)
    settle_many([(step.run, _settled(step, now)) for step in steps])


class _People:
    """Who is meant by steps at an instant; asked once for all runs that are taken together."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._of: dict[tuple[str, int], list[OnCallPerson]] = {}

    def named_in(self, step: Mapping[str, Any]) -> list[OnCallPerson]:
        key = ("user", step["user_id"]) if step["user_id"] else ("schedule", step["schedule_id"])
        if key not in self._of:
            self._of[key] = self._look_up(*key)
        return self._of[key]

    def _look_up(self, kind: str, key: int) -> list[OnCallPerson]:
        if kind == "user":
            person = person_as_on_call(user_id=key, why="named in the escalation policy")
            return [person] if person else []
        schedule = Schedule.objects.filter(pk=key).first()
        return on_call_now_in(schedule=schedule, at=self.now) if schedule else []


@dataclass
class _Step:
    """The due step of a run, and what is to be done for it."""

    run: EscalationRun
    incident: Incident
    people: list[OnCallPerson] = field(default_factory=list)
    entries: list[TimelineEntry] = field(default_factory=list)
    messages: list[Outgoing] = field(default_factory=list)
    # How the run is settled: it goes on after `wait`, or looks again (`again`), or has ended in a state.
    wait: timedelta = timedelta(0)
    again: bool = False
    ended: EscalationState | None = None

    def note(self, text: str, source_key: str, *, now: datetime) -> None:
        self.entries.append(
            timeline_entry(
                incident=self.incident,
                kind=TimelineKind.PAGE,
                text=text,
                source_key=f"escalation:{self.run.pk}:{source_key}",
                principal=PAGER,
                recorded_at=now,
            )
        )


def _plan(step: _Step, people: _People) -> None:
    run = step.run
    if step.incident.status != IncidentStatus.TRIGGERED:
        step.ended = EscalationState.STOPPED
        return
    steps: list[dict[str, Any]] = run.snapshot["steps"]
    if run.step >= len(steps) and not _next_loop(run, len(steps)):
        _exhaust(step, people.now)
        return
    policy_step = steps[run.step]
    step.people, refusals = _who(run, step.incident, policy_step, people)
    for number, refused in enumerate(refusals):
        text = f"Not paged (step {run.step + 1}, round {run.loop + 1}): {refused}"
        step.note(text, f"{run.step}:{run.loop}:refused:{number}", now=people.now)
    if step.people:
        step.wait = timedelta(seconds=policy_step["wait_seconds"])
    elif not refusals:
        text = f"Nobody is on call in {policy_step['schedule'] or 'this step'}; going on with the next step"
        step.note(text, f"{run.step}:{run.loop}:nobody", now=people.now)
    elif policy_step.get("when", {}).get("otherwise") == "wait":
        step.again = True


def _settled(step: _Step, now: datetime) -> dict[str, Any]:
    """Return all that settling may change of a run, whatever became of it."""
    run = step.run
    changes: dict[str, Any] = {
        "state": step.ended or run.state,
        "loop": run.loop,
        "step": run.step,
        "people_paged": run.people_paged + len(step.people),
        "due_at": run.due_at,
        "attempts": run.attempts,
        "last_error": "",
        "stopped_at": now if step.ended is EscalationState.STOPPED else run.stopped_at,
        "exhausted_at": now if step.ended is EscalationState.EXHAUSTED else run.exhausted_at,
        "finished_at": now if step.ended else None,
    }
    if step.again:
        return {**changes, "attempts": 0, "due_at": now + RECHECK}
    if step.ended is None:
        return {**changes, "attempts": 0, "due_at": now + step.wait, "step": run.step + 1}
    return changes


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


def _who(
    run: EscalationRun, incident: Incident, step: dict[str, Any], known: _People
) -> tuple[list[OnCallPerson], list[str]]:
    """Return whom the step pages now, and why the others are not paged."""
    when = step.get("when") or {}
    conditions = conditions_from(when)
    if refused := conditions.refuses_severity(incident.severity):
        return [], [refused]
    people = known.named_in(step)
    if step.get("round_robin") and len(people) > 1:
        people = [people[(run.snapshot.get("turn", 0) + run.loop) % len(people)]]
    kept, refusals = [], []
    for person in people:
        if refused := conditions.refuses(person_for_conditions(person, when, known.now)):
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


def _next_loop(run: EscalationRun, steps: int) -> bool:
    if not steps or run.loop + 1 >= run.snapshot["repeat"]:
        return False
    run.loop += 1
    run.step = 0
    return True


def _exhaust(step: _Step, now: datetime) -> None:
    """Say that nobody answered, and tell the administrators: an incident must not wait unheard."""
    run, incident = step.run, step.incident
    step.ended = EscalationState.EXHAUSTED
    text = f"All steps are done and nobody has acknowledged ({run.people_paged} pages); telling the administrators"
    step.note(text, "exhausted", now=now)
    step.messages = [
        Outgoing(
            channel=Channel.IN_APP,
            address=f"user:{user.pk}",
            idempotency_key=f"escalation:{run.pk}:exhausted:{user.pk}",
            subject=f"Nobody acknowledges {incident.reference} {incident.title}",
            text="Every step of its escalation policy was taken.",
            link=f"/incidents/{incident.reference}/",
            priority=PAGE_PRIORITY,
            about=about(incident),
        )
        for user in users_with(Capability.SITE_ADMIN)
    ]

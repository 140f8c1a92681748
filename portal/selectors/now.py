"""What needs the reader now."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from accounts.data import Capability, Principal, Role
from accounts.selectors import is_same_person, name_of
from catalog.data import ActivityKind
from catalog.selectors import activities_by_keys, open_action_items, open_activities, services_visible
from chaos.selectors import next_recovery_tests, retests_visible, schedules_visible, waiting_requests
from compliance.selectors import access_of, coming_due, controls_visible, engagements_visible, open_requests
from core.states import Tone, tone_of
from delivery.selectors import notifications_for
from incidents.data import IncidentStatus
from incidents.selectors import incidents_visible
from portal.data import BudgetLine, Line, Now, ServiceLine
from portal.links import page
from portal.selectors.budgets import standing_budgets
from portal.selectors.standing import incident_counts, service_lines
from reliability.selectors import slos_visible
from runbooks.selectors import waiting_approvals, waiting_confirmations

SHOWN = 8
INCIDENTS_SHOWN = 20
BUDGETS_SHOWN = 20
COMING_SHOWN = 4
REQUESTS_SHOWN = 20
TONE_OF_REQUEST = {"open": Tone.RISK, "flagged": Tone.BAD, "submitted": Tone.ACTIVE}


def now_for(*, viewer: Principal, username: str, now: datetime) -> Now:
    """Return the home page for a reader; `shows` names the cards that their roles open."""
    shows = set()
    mine = _waiting(viewer, now) + _mine(viewer, username, now)
    access = access_of(viewer, now=now)
    evidence: Sequence[Line] = ()
    engagements: Sequence[Line] = ()
    requests: Sequence[Line] = ()
    if access.everything:
        shows |= {"evidence"}
        evidence = _going_stale(access, now)
        if viewer.may(Capability.COMPLIANCE_EDIT):
            # What has been handed over waits for the auditor, and for nobody here.
            asked = open_requests(access=access).exclude(state="submitted")[:SHOWN]
            mine += [_request_line(one, now) for one in asked]
    elif Role.AUDITOR in viewer.site_roles or access.anything:
        shows |= {"engagements"}
        engagements = [_engagement_line(one) for one in engagements_visible(access=access)]
        lines = [_request_line(one, now) for one in open_requests(access=access)]
        # What can be looked at comes before what others have to hand over.
        requests = sorted(lines, key=lambda one: one.state != "submitted")[:REQUESTS_SHOWN]
    incidents: list[Any] = []
    services: list[ServiceLine] = []
    budgets: list[BudgetLine] = []
    budget_count = 0
    experiments: Sequence[Line] = ()
    if viewer.may_somewhere(Capability.OPERATIONS_VIEW):
        shows |= {"operations", "budgets"}
        incidents = list(
            incidents_visible(viewer=viewer)
            .exclude(status=IncidentStatus.RESOLVED)
            .prefetch_related("services")
            .order_by("severity", "-pk")
        )
        slos = slos_visible(viewer=viewer)
        states, budget_count, budgets = standing_budgets(slos, now=now, shown=BUDGETS_SHOWN)
        services = service_lines(services_visible(viewer=viewer), states, incident_counts(incidents))
        experiments = _experiments(viewer) + _coming(viewer, now)
    return Now(
        mine=mine,
        incidents=incident_lines(incidents[:INCIDENTS_SHOWN]),
        incident_count=len(incidents),
        services=services,
        budgets=budgets,
        budget_count=budget_count,
        experiments=experiments,
        evidence=evidence,
        engagements=engagements,
        requests=requests,
        shows=frozenset(shows),
    )


def incident_lines(incidents: Sequence[Any]) -> list[Line]:
    """Return incidents as lines; what has declared itself as the cause is named and leads to its page."""
    causes = activities_by_keys(source_keys={one.caused_by for one in incidents if one.caused_by})
    return [_incident_line(incident, causes.get(incident.caused_by)) for incident in incidents]


def _incident_line(incident: Any, cause: Any) -> Line:
    return Line(
        title=incident.title,
        url=page("incidents:incident_detail", incident.reference),
        detail=f"{incident.reference} · {incident.severity.upper()}" + (" · caused by" if incident.caused_by else ""),
        cause=cause.title if cause else incident.caused_by,
        cause_url=cause.url if cause else "",
        state=incident.status,
        at=incident.triggered_at,
    )


def activity_line(activity: Any) -> Line:
    """Return an activity as a line."""
    return Line(
        title=activity.title,
        url=activity.url,
        detail=ActivityKind(activity.kind).label,
        state="finished" if activity.ended_at else "running",
        tone=Tone.PLAIN if activity.ended_at else Tone.ACTIVE,
        at=activity.started_at,
    )


def follow_up_line(item: Any, *, now: datetime) -> Line:
    """Return a follow-up as a line, marked when it is overdue or due within a week."""
    state = ""
    if item.due_on is not None:
        today = now.date()
        state = "overdue" if item.due_on < today else "due" if item.due_on <= today + timedelta(days=7) else ""
    detail = f"due {item.due_on:%d %b}" if item.due_on else "no date"
    if item.service_id:
        detail += f" · {item.service.name}"
    return Line(title=item.title, url=item.url, detail=detail, state=state, tone=tone_of(state) if state else None)


def _waiting(viewer: Principal, now: datetime) -> list[Line]:
    """Return the steps of runbook runs that wait for an answer that the viewer may give."""
    lines = []
    verbs = {Capability.APPROVE: "Approve", Capability.RUNBOOK_RUN: "Answer"}
    for step, capability in [
        *((step, Capability.APPROVE) for step in waiting_approvals()),
        *((step, Capability.RUNBOOK_RUN) for step in waiting_confirmations()),
    ]:
        run = step.run
        runbook = run.revision.runbook
        operators = {run.operator, *(run.operated_by or ())} if capability is Capability.APPROVE else set()
        own_approval = any(is_same_person(viewer, reference=one) for one in operators)
        if own_approval or not viewer.may(capability, team_id=runbook.team_id):
            continue
        lines.append(
            Line(
                title=f"{verbs[capability]} {step.step_id} of {runbook.title}",
                url=page("runbooks:run_detail", run.reference),
                detail=run.incident_reference or run.trigger,
                state="waiting",
                at=step.waiting_until,
            )
        )
    lines += [
        Line(
            title=f"Approve {asked.revision.experiment}",
            url=page("chaos:experiment_detail", asked.revision.experiment.slug),
            detail=f"a chaos experiment, asked for by {name_of(asked.asked_by)}",
            state="waiting",
            at=asked.asked_at,
        )
        for asked in waiting_requests(viewer=viewer)[:SHOWN]
        if not is_same_person(viewer, reference=asked.revision.author)
    ]
    return lines + _overdue_retests(viewer, now)


def _overdue_retests(viewer: Principal, now: datetime) -> list[Line]:
    """Return the mended findings that nobody has tried again in time, for those who may run what proves them."""
    if not viewer.may_somewhere(Capability.CHAOS_RUN):
        return []
    return [
        Line(
            title=f"Retest: {finding}",
            url=finding.get_absolute_url(),
            detail="said to be mended, and no run has shown it in time",
            state="overdue",
            at=finding.retest_due_at,
        )
        for finding in retests_visible(viewer=viewer).filter(retest_due_at__lte=now)[:SHOWN]
        if all(viewer.may(Capability.CHAOS_RUN, team_id=one.team_id) for one in finding.experiment.services.all())
    ]


def _going_stale(access: Any, now: datetime) -> list[Line]:
    due = coming_due(controls_visible(access=access), now=now, days=14)
    return [
        Line(
            title=one.check,
            url=page("compliance:control_detail", one.control_slug),
            detail=f"{one.control} · {one.owner}" if one.owner else one.control,
            state="due",
            at=one.due_at,
        )
        for one in due[:SHOWN]
    ]


def _engagement_line(engagement: Any) -> Line:
    window = f"{engagement.window_start:%d %b %Y} to {engagement.window_end:%d %b %Y}"
    return Line(
        title=engagement.name,
        url=page("compliance:engagement_detail", engagement.slug),
        detail=f"{engagement.get_kind_display()} · {window}",
        state="closed" if engagement.closed_at else "open",
        tone=Tone.PLAIN if engagement.closed_at else Tone.ACTIVE,
    )


def _request_line(request: Any, now: datetime) -> Line:
    overdue = request.due_on is not None and request.due_on < now.date() and request.state != "submitted"
    due = f", due {request.due_on:%d %b}" if request.due_on else ""
    return Line(
        title=str(request),
        url=page("compliance:request_detail", request.engagement.slug, request.number),
        detail=f"{request.engagement.name}, asked by {request.asked_by_label}{due}",
        state="overdue" if overdue else request.state,
        tone=Tone.BAD if overdue else TONE_OF_REQUEST[request.state],
        at=request.changed_at,
    )


def _mine(viewer: Principal, username: str, now: datetime) -> list[Line]:
    unread = notifications_for(recipient=viewer.reference).filter(read_at=None)[:SHOWN]
    lines = [Line(title=one.title, url=one.link, state="unread", tone=Tone.PLAIN, at=one.created_at) for one in unread]
    lines += [follow_up_line(item, now=now) for item in open_action_items(owner=username)[:SHOWN]]
    return lines


def _experiments(viewer: Principal) -> list[Line]:
    services = services_visible(viewer=viewer).order_by().values("pk")
    going = open_activities(service_ids=services, kinds=[ActivityKind.CHAOS_RUN, ActivityKind.DR_TEST])
    return [activity_line(activity) for activity in going]


def _coming(viewer: Principal, now: datetime) -> list[Line]:
    """Return the scheduled experiments and recovery tests that come next, the soonest first."""
    lines = [
        Line(
            title=str(one.experiment),
            url=page("chaos:experiment_detail", one.experiment.slug),
            detail=ActivityKind.CHAOS_RUN.label,
            state="paused" if one.paused_by else "scheduled",
            tone=Tone.FROZEN if one.paused_by else Tone.PLAIN,
            at=one.due_at,
        )
        for one in schedules_visible(viewer=viewer)[:COMING_SHOWN]
    ] + [
        Line(
            title=str(test),
            url=test.get_absolute_url(),
            detail=ActivityKind.DR_TEST.label,
            state="scheduled",
            tone=Tone.PLAIN,
            at=test.next_due_at,
        )
        for test in next_recovery_tests(viewer=viewer)[:COMING_SHOWN]
    ]
    return sorted(lines, key=lambda line: line.at or now)[:COMING_SHOWN]

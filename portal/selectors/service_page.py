"""One service, with what every room knows of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from accounts.data import Principal
from catalog.data import ActivityKind
from catalog.selectors import (
    activities_between,
    dependencies,
    deployments_visible,
    open_action_items,
    services_visible,
)
from core.drawings import Edge, Graph, Interval, Lane, Node, TimeAxis
from core.formatting import written_duration
from core.states import Tone, tone_of
from incidents.data import IncidentStatus
from incidents.selectors import incidents_visible, on_call_now
from portal.data import Line, ServiceLine, ServicePage
from portal.links import page
from portal.selectors.budgets import budget_lines, standing_budgets, worst_by_service
from portal.selectors.now import follow_up_line, incident_lines
from portal.selectors.standing import incident_counts, service_lines
from reliability.selectors import are_many, slos_visible
from runbooks.selectors import runbooks_visible

MOST_DRAWN = 40
LOOK_BACK = timedelta(days=7)
TONES = {
    ActivityKind.DEPLOYMENT: Tone.ACTIVE,
    ActivityKind.INCIDENT: Tone.BAD,
    ActivityKind.CHAOS_RUN: Tone.RISK,
    ActivityKind.DR_TEST: Tone.FROZEN,
    ActivityKind.MAINTENANCE: Tone.PLAIN,
}


def service_page(*, viewer: Principal, service: Any, now: datetime) -> ServicePage:
    """Return everything that the page of a service shows, read in a fixed number of queries."""
    incidents = open_incidents_seen_by(viewer)
    # Of a large site's services only those that lean on this one, or it on them, are reckoned.
    pairs = list(dependencies())
    near, is_whole = _near(service.slug, pairs)
    slos = slos_visible(viewer=viewer)
    budgets = budget_lines(slos.filter(service=service), now=now)
    others = slos.filter(service__slug__in=near).exclude(service=service)
    states, _, _ = standing_budgets(others, now=now, shown=0, is_large=are_many(slos))
    states |= worst_by_service(budgets)
    near_services = services_visible(viewer=viewer).filter(slug__in=near)
    standing = service_lines(near_services, states, incident_counts(incidents))
    lines = {line.slug: line for line in standing}
    own = lines[service.slug]
    people = on_call_now(team_id=service.team_id, at=now) if service.team_id else []
    return ServicePage(
        state=own.state,
        tone=own.tone,
        facts=_facts(service),
        on_call=[
            Line(title=person.name, detail=f"{person.schedule} · {person.why}", at=person.until) for person in people
        ],
        budgets=budgets,
        incidents=incident_lines(
            [incident for incident in incidents if any(touched.pk == service.pk for touched in incident.services.all())]
        ),
        graph=_graph(service.slug, lines, pairs),
        graph_is_whole=is_whole,
        axis=_axis(service, now),
        runbooks=[
            Line(title=one.title, url=page("runbooks:runbook_detail", one.slug))
            for one in runbooks_visible(viewer=viewer).filter(services=service.pk)
        ],
        deployments=[_deployment_line(one) for one in deployments_visible(viewer=viewer).filter(service=service)[:6]],
        follow_ups=[follow_up_line(item, now=now) for item in open_action_items().filter(service=service)[:6]],
    )


def services_standing(*, viewer: Principal, now: datetime) -> list[ServiceLine]:
    """Return every service that the viewer may see with how it stands, the worst first."""
    states, _, _ = standing_budgets(slos_visible(viewer=viewer), now=now, shown=0)
    return service_lines(services_visible(viewer=viewer), states, incident_counts(open_incidents_seen_by(viewer)))


def open_incidents_seen_by(viewer: Principal) -> list[Any]:
    """Return the incidents that are not resolved, with their services."""
    return list(
        incidents_visible(viewer=viewer)
        .exclude(status=IncidentStatus.RESOLVED)
        .prefetch_related("services")
        .order_by("severity", "-pk")
    )


def _facts(service: Any) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("Owner", service.team.name if service.team else "nobody"),
        ("Tier", service.tier),
        ("Environment", service.environment.name),
        ("Lifecycle", service.lifecycle),
    ]
    if service.region:
        facts.append(("Region", service.region.name))
        if service.region.residency:
            facts.append(("Data stays in", service.region.residency))
    facts.append(("Promised recovery time", written_duration(service.rto)))
    facts.append(("Promised recovery point", written_duration(service.rpo)))
    return facts


def _graph(slug: str, lines: dict[str, ServiceLine], known: Sequence[tuple[str, str]]) -> Graph:
    """Return the service with all that it needs and all that needs it, as far as the viewer may see it."""
    pairs = [(consumer, provider) for consumer, provider in known if {consumer, provider} <= set(lines)]
    near, _ = _near(slug, pairs)
    return Graph(
        label=f"What {slug} needs and what needs it",
        nodes=[
            Node(one.slug, one.name, one.tone, one.state, one.url, here=one.slug == slug)
            for one in lines.values()
            if one.slug in near
        ],
        edges=[Edge(consumer, provider) for consumer, provider in pairs if {consumer, provider} <= near],
    )


def _near(slug: str, pairs: Sequence[tuple[str, str]]) -> tuple[set[str], bool]:
    """Return all that a service needs and all that needs it, and whether that is all: the nearest come first."""
    needed, all_needed = _reached(slug, pairs)
    needing, all_needing = _reached(slug, [(provider, consumer) for consumer, provider in pairs])
    return needed | needing, all_needed and all_needing


def _reached(start: str, pairs: Sequence[tuple[str, str]]) -> tuple[set[str], bool]:
    """Return what can be reached, as far as a drawing has room for it, and whether that is everything."""
    ends: dict[str, set[str]] = {}
    for begin, end in pairs:
        ends.setdefault(begin, set()).add(end)
    found, front = {start}, {start}
    while front := set().union(*(ends.get(one, set()) for one in front)) - found:
        room = MOST_DRAWN - len(found)
        if len(front) > room:
            return found | set(sorted(front)[: max(room, 0)]), False
        found |= front
    return found, True


def _axis(service: Any, now: datetime) -> TimeAxis:
    start = now - LOOK_BACK
    found = list(activities_between(start, now, service_id=service.pk))
    lanes = [
        Lane(
            kind.label,
            [
                Interval(one.title, one.started_at, one.ended_at, one.url, TONES[kind])
                for one in found
                if one.kind == kind
            ],
        )
        for kind in ActivityKind
    ]
    return TimeAxis(
        label=f"What happened to {service.name} in the last 7 days",
        start=start,
        end=now + LOOK_BACK / 60,
        lanes=[lane for lane in lanes if lane.intervals],
        now=now,
    )


def _deployment_line(deployment: Any) -> Line:
    parts = [deployment.commit[:10], deployment.ticket, f"by {deployment.author}"]
    if deployment.emergency:
        parts.append("emergency")
    return Line(
        title=deployment.reference,
        url=page("catalog:deployment_detail", deployment.reference),
        detail=" · ".join(part for part in parts if part),
        state=deployment.result,
        tone=tone_of(deployment.result),
        at=deployment.started_at,
    )

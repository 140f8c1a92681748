"""How services stand: the worst of their budgets and their open incidents."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from core.states import Tone, tone_of
from portal.data import ServiceLine
from portal.links import page

NO_PROMISE = "no SLO"


def incident_counts(incidents: Iterable[Any]) -> Counter[int]:
    """Return how many of the incidents touch each service (by primary key); their services are prefetched."""
    return Counter(service.pk for incident in incidents for service in incident.services.all())


def standing(budget_state: str | None, incident_count: int) -> tuple[str, Tone]:
    """Return the word and tone: a firing incident outranks a budget; without an SLO nothing is claimed."""
    if incident_count:
        return "firing", Tone.BAD
    if budget_state is None:
        return NO_PROMISE, Tone.UNKNOWN
    return budget_state, tone_of(budget_state)


def service_lines(services: Iterable[Any], budget_states: dict[str, str], incidents: Counter[int]) -> list[ServiceLine]:
    """Return the services, the worst first, then by tier."""
    lines = []
    for service in services:
        state, tone = standing(budget_states.get(service.slug), incidents[service.pk])
        lines.append(
            ServiceLine(
                slug=service.slug,
                name=service.name,
                url=page("portal:service_detail", service.slug),
                state=state,
                tone=tone,
                tier=service.tier,
                team=service.team.name if service.team else "",
                environment=service.environment.name,
                incidents=incidents[service.pk],
            )
        )
    return sorted(lines, key=lambda line: (-line.tone.badness, line.tier, line.slug))

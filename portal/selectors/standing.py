"""How services stand: the worst of their budgets and their open incidents."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import QuerySet

from core.states import Tone, tone_of
from portal.data import ServiceLine

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


def service_lines(
    services: QuerySet[Any], budget_states: Mapping[int, str], incidents: Counter[int]
) -> list[ServiceLine]:
    """Return the services, the worst first, then by tier. States and incidents are by primary key."""
    # A large site has thousands, of which a page shows some: no more is read of each than is sorted by.
    rows = services.select_related(None).values_list("pk", "slug", "name", "tier", "team__name", "environment__name")
    lines = []
    for key, slug, name, tier, team, environment in rows:
        state, tone = standing(budget_states.get(key), incidents[key])
        lines.append(ServiceLine(slug, name, state, tone, tier, team or "", environment, incidents[key]))
    return sorted(lines, key=lambda line: (-line.tone.badness, line.tier, line.slug))

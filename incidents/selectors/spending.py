"""What an incident cost the SLOs of its services, in events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from incidents.models import Incident
from reliability.data import BudgetStatus
from reliability.selectors import (
    budget_statuses,
    minute_of,
    one_look,
    slos_for_service,
    subjects_of,
    versions_in_force,
    window_counts,
)


@dataclass(frozen=True)
class Spent:
    """Events of one SLO while the impact lasted. `budget_ratio` is None where nothing was counted in its window."""

    slo_slug: str
    slo_name: str
    good: int
    bad: int
    budget_ratio: float | None
    state: str

    @property
    def total(self) -> int:
        """Events of known outcome."""
        return self.good + self.bad


def spent_by(*, incident: Incident, now: datetime) -> Sequence[Spent]:
    """Return, worst first, the events of each SLO from the start of the impact until its end, by minutes."""
    slos = [
        one
        for service_id in incident.services.values_list("pk", flat=True)
        for one in slos_for_service(service_id=service_id)
    ]
    if not slos:
        return []
    window = (
        minute_of(incident.impact_started_at),
        minute_of(incident.mitigated_at or incident.resolved_at or now) + 1,
    )
    with one_look():
        versions = {version.slo_id: version for version in versions_in_force(slos=slos)}
        subjects = subjects_of(versions.values())
        tallies = {tally for found in subjects.values() for tally in found[0].tallies}
        counts = window_counts(tallies, [window])
        statuses = budget_statuses(slos, now=now)
    found = []
    for slo in slos:
        version = versions.get(slo.pk)
        if version is None or version.pk not in subjects:
            continue
        own = [counts[tally, window] for tally in subjects[version.pk][0].tallies if (tally, window) in counts]
        bad, good = sum(one.bad for one in own), sum(one.good for one in own)
        status = statuses.get(slo.pk)
        found.append(
            Spent(slo.slug, slo.name, good, bad, _share(bad, status), status.state.value if status else "UNKNOWN")
        )
    return sorted(found, key=lambda one: (-(one.budget_ratio or 0), -one.bad, one.slo_slug))


def _share(bad: int, status: BudgetStatus | None) -> float | None:
    if status is None:
        return None
    allowed = float(1 - status.target) * (status.raw_counts.good + status.raw_counts.bad)
    return bad / allowed if allowed else None

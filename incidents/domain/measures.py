"""The measures of one incident, exactly as the site publishes them. All on UTC instants.

Time to detect: detected minus impact started. Time to acknowledge: first explicit acknowledgement minus first page; an
incident that nobody acknowledged has none (it is not counted as acknowledged when it closes by itself).
Time to engage: first deed of a person (acknowledgement, note, task, role) minus first page.
Time to mitigate and to resolve: since the impact started.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Instants:
    """The instants of an incident; None is what has not happened."""

    impact_started_at: datetime
    detected_at: datetime
    first_notified_at: datetime | None
    acknowledged_at: datetime | None
    mitigated_at: datetime | None
    resolved_at: datetime | None
    engaged_at: datetime | None = None


def measures_of(instants: Instants) -> dict[str, timedelta | None]:
    """Return each measure, None where one of its instants is missing; never negative."""
    return {
        "time_to_detect": _between(instants.impact_started_at, instants.detected_at),
        "time_to_acknowledge": _between(instants.first_notified_at, instants.acknowledged_at),
        "time_to_engage": _between(instants.first_notified_at, instants.engaged_at),
        "time_to_mitigate": _between(instants.impact_started_at, instants.mitigated_at),
        "time_to_resolve": _between(instants.impact_started_at, instants.resolved_at),
    }


def _between(start: datetime | None, end: datetime | None) -> timedelta | None:
    if start is None or end is None:
        return None
    return max(end - start, timedelta(0))

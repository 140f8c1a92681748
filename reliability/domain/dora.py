"""The four measures of software delivery (DORA, Accelerate): two of speed, two of stability."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

FOLLOWS_WITHIN = timedelta(hours=24)


@dataclass(frozen=True)
class Delivered:
    """A deployment: when it went out, whether it failed by its own account, when its change was committed if known."""

    service_id: int
    at: datetime
    failed: bool
    committed_at: datetime | None = None
    reference: str = ""


@dataclass(frozen=True)
class Outage:
    """An incident of services; `ended` is None while it goes on."""

    service_ids: frozenset[int]
    began: datetime
    ended: datetime | None
    title: str = ""


@dataclass(frozen=True)
class Measures:
    """The measures of an interval; None: nothing to measure it by, which is not 0."""

    deployments: int
    per_day: float
    lead_time: timedelta | None
    lead_times_known: int
    failed_changes: int
    change_failure_ratio: float | None
    time_to_restore: timedelta | None
    restored: int


def failed_changes(deployments: Sequence[Delivered], outages: Sequence[Outage]) -> dict[int, str]:
    """Return the places of deployments that failed, and why in words.

    A change failed when its deployment did, or when it is the last deployment of a service before an incident of it
    within 24 hours.
    """
    failed = {place: "the deployment failed" for place, one in enumerate(deployments) if one.failed}
    for outage in outages:
        before = [
            (one.at, place)
            for place, one in enumerate(deployments)
            if one.service_id in outage.service_ids and one.at <= outage.began <= one.at + FOLLOWS_WITHIN
        ]
        if before:
            failed.setdefault(max(before)[1], outage.title or "an incident followed")
    return failed


def measures(
    deployments: Sequence[Delivered], outages: Sequence[Outage], *, since: datetime, until: datetime
) -> Measures:
    """Return the measures of the deployments and incidents of an interval; medians of durations."""
    failed = failed_changes(deployments, outages)
    leads = [one.at - one.committed_at for one in deployments if one.committed_at is not None and not one.failed]
    restored = [one.ended - one.began for one in outages if one.ended is not None]
    return Measures(
        deployments=len(deployments),
        per_day=len(deployments) / max((until - since) / timedelta(days=1), 1e-9),
        lead_time=_median(leads),
        lead_times_known=len(leads),
        failed_changes=len(failed),
        change_failure_ratio=len(failed) / len(deployments) if deployments else None,
        time_to_restore=_median(restored),
        restored=len(restored),
    )


def _median(durations: Sequence[timedelta]) -> timedelta | None:
    return timedelta(seconds=median(one.total_seconds() for one in durations)) if durations else None

"""DORA measures from the catalog: its deployments, and the incidents that other rooms noted there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from accounts.data import Principal
from catalog.data import ActivityKind
from catalog.selectors import activities_between, deployments_visible, services_visible
from reliability.domain.dora import Delivered, Measures, Outage, failed_changes, measures

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Delivery:
    """What was delivered in an interval, and what was out of order."""

    since: datetime
    until: datetime
    services: dict[int, Any]
    deployments: Sequence[Delivered]
    outages: Sequence[Outage]

    @property
    def measures(self) -> Measures:
        """The four measures of all of it."""
        return measures(self.deployments, self.outages, since=self.since, until=self.until)

    def between(self, since: datetime, until: datetime) -> "Delivery":
        """Return a part of the interval."""
        return Delivery(
            since,
            until,
            self.services,
            [one for one in self.deployments if since <= one.at < until],
            [one for one in self.outages if since <= one.began < until],
        )

    def by_service(self) -> list[tuple[Any, Measures]]:
        """Return the measures of each service that was deployed or out of order, by name."""
        deployed: dict[int, list[Delivered]] = {}
        broken: dict[int, list[Outage]] = {}
        for delivered in self.deployments:
            deployed.setdefault(delivered.service_id, []).append(delivered)
        for outage in self.outages:
            for key in outage.service_ids:
                broken.setdefault(key, []).append(outage)
        found = [
            (
                self.services[key],
                measures(deployed.get(key, []), broken.get(key, []), since=self.since, until=self.until),
            )
            for key in deployed.keys() | broken.keys()
            if key in self.services
        ]
        return sorted(found, key=lambda one: (one[0].name.lower(), one[0].slug))

    def by_week(self) -> list["Delivery"]:
        """Return the whole weeks up to the interval's end, oldest first."""
        count = max((self.until - self.since) // WEEK, 1)
        return [
            self.between(self.until - (number + 1) * WEEK, self.until - number * WEEK)
            for number in reversed(range(count))
        ]

    def failures(self) -> list[tuple[Delivered, Any, str]]:
        """Return the changes that failed, newest first, with their service and why."""
        failed = failed_changes(self.deployments, self.outages)
        found = [
            (self.deployments[place], self.services[self.deployments[place].service_id], why)
            for place, why in failed.items()
        ]
        return sorted(found, key=lambda one: one[0].at, reverse=True)


def delivery(*, viewer: Principal, since: datetime, until: datetime, service_id: int | None = None) -> Delivery:
    """Return what the viewer may see of deployments and incidents in an interval, of one service or of all."""
    services = services_visible(viewer=viewer)
    deployments = deployments_visible(viewer=viewer).filter(started_at__gte=since, started_at__lt=until)
    if service_id is not None:
        services = services.filter(pk=service_id)
        deployments = deployments.filter(service_id=service_id)
    visible = {service.pk: service for service in services.select_related(None).only("pk", "slug", "name")}
    incidents = activities_between(since, until, kinds=[ActivityKind.INCIDENT]).prefetch_related("services")
    outages = [
        Outage(frozenset(ids), one.started_at, one.ended_at, one.title)
        for one in incidents
        if (ids := {service.pk for service in one.services.all()} & visible.keys()) and one.started_at >= since
    ]
    delivered = [
        Delivered(
            one.service_id,
            one.finished_at or one.started_at,
            one.result != "succeeded",
            one.committed_at,
            one.reference,
        )
        for one in deployments.order_by("started_at")
    ]
    return Delivery(since, until, visible, delivered, outages)


def delivery_measures(
    *, viewer: Principal, since: datetime, until: datetime, service_id: int | None = None
) -> Measures:
    """Return the measures of what the viewer may see, of one service or of all.

    Lead time is of the deployments whose record says when their change was committed.
    """
    return delivery(viewer=viewer, since=since, until=until, service_id=service_id).measures


def measures_as_json(found: Measures) -> dict[str, Any]:
    """Return the measures as the command line says them; durations in seconds."""
    return {
        "deployments": found.deployments,
        "deployment_frequency_per_day": found.per_day,
        "lead_time_seconds": found.lead_time.total_seconds() if found.lead_time is not None else None,
        "lead_times_known": found.lead_times_known,
        "failed_changes": found.failed_changes,
        "change_failure_rate": found.change_failure_ratio,
        "time_to_restore_seconds": found.time_to_restore.total_seconds() if found.time_to_restore is not None else None,
        "incidents_resolved": found.restored,
    }

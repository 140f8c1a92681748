"""DORA measures from the catalog: its deployments, and the incidents that other rooms noted there."""

from datetime import datetime
from typing import Any

from accounts.data import Principal
from catalog.data import ActivityKind
from catalog.selectors import activities_between, deployments_visible, services_visible
from reliability.domain.dora import Delivered, Measures, Outage, measures


def delivery_measures(
    *, viewer: Principal, since: datetime, until: datetime, service_id: int | None = None
) -> Measures:
    """Return the measures of what the viewer may see, of one service or of all.

    Lead time needs to know when a change was committed, which a deployment's record does not say: it stays unknown.
    """
    deployments = deployments_visible(viewer=viewer).filter(started_at__gte=since, started_at__lt=until)
    services = services_visible(viewer=viewer)
    if service_id is not None:
        deployments = deployments.filter(service_id=service_id)
        services = services.filter(pk=service_id)
    visible = set(services.values_list("pk", flat=True))
    incidents = activities_between(since, until, kinds=[ActivityKind.INCIDENT]).prefetch_related("services")
    outages = [
        Outage(frozenset(ids), one.started_at, one.ended_at)
        for one in incidents
        if (ids := {service.pk for service in one.services.all()} & visible) and one.started_at >= since
    ]
    delivered = [
        Delivered(one.service_id, one.finished_at or one.started_at, one.result != "succeeded")
        for one in deployments.order_by("started_at")
    ]
    return measures(delivered, outages, since=since, until=until)


def measures_as_json(found: Measures) -> dict[str, Any]:
    """Return the measures as the command line says them; durations in seconds."""
    return {
        "deployments": found.deployments,
        "deployment_frequency_per_day": found.per_day,
        "lead_time_seconds": found.lead_time.total_seconds() if found.lead_time is not None else None,
        "failed_changes": found.failed_changes,
        "change_failure_rate": found.change_failure_ratio,
        "time_to_restore_seconds": found.time_to_restore.total_seconds() if found.time_to_restore is not None else None,
        "incidents_resolved": found.restored,
    }

"""Health and metrics, for probes and scrapers: no sign-in, no secrets."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from core.health import readiness


def healthz(_request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return JsonResponse({"status": "ok"})


def readyz(_request: HttpRequest) -> HttpResponse:
    """The site can serve: database, migrations; the age of the oldest overdue row of each queue is shown."""
    found = readiness()
    return JsonResponse(
        {
            "status": "ready" if found.ready else "not ready",
            "problems": found.problems,
            "oldest_overdue_seconds": found.overdue_seconds,
            "dead_rows": found.dead,
        },
        status=200 if found.ready else 503,
    )


def metrics(_request: HttpRequest) -> HttpResponse:
    """Figures about the site itself, in Prometheus's text format."""
    found = readiness()
    registry = CollectorRegistry()
    Gauge("assay_ready", "1 when the site can serve.", registry=registry).set(1 if found.ready else 0)
    overdue = Gauge(
        "assay_queue_oldest_overdue_seconds", "How long the oldest due row has waited.", ["queue"], registry=registry
    )
    for queue, seconds in found.overdue_seconds.items():
        overdue.labels(queue).set(seconds)
    dead = Gauge("assay_queue_dead_rows", "Rows given up, waiting for a person.", ["queue"], registry=registry)
    for queue, count in found.dead.items():
        dead.labels(queue).set(count)
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

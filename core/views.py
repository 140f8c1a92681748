"""Health and metrics, for probes and scrapers: no sign-in, no secrets."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from core.health import readiness
from core.measuring import measured


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
    return HttpResponse(generate_latest(measured()), content_type=CONTENT_TYPE_LATEST)

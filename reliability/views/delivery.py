"""How software is delivered: the four DORA measures, over time and by service."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from core.clock import database_now
from reliability.selectors.delivery_measures import Delivery, delivery
from reliability.views.access import RoomView

SPANS = {"30": "30 days", "90": "90 days", "365": "a year"}
USUAL = "90"
SHOWN_FAILURES = 30


class DeliveryMeasuresView(RoomView):
    """Deployment frequency, lead time, change failure rate and time to restore."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest) -> HttpResponse:
        days = request.GET.get("days", USUAL)
        days = days if days in SPANS else USUAL
        now = database_now()
        length = timedelta(days=int(days))
        slug = request.GET.get("service", "")
        service = self.service_or_404(slug) if slug else None
        both = delivery(
            viewer=self.principal, since=now - 2 * length, until=now, service_id=service.pk if service else None
        )
        current, before = both.between(now - length, now), both.between(now - 2 * length, now - length)
        context: dict[str, Any] = {
            "title": "Delivery",
            "intro": "The four DORA measures, from the deployments that pipelines post and the services' incidents.",
            "measured": current.measures,
            "before": before.measures,
            "services": current.by_service(),
            "service": service,
            "failures": current.failures()[:SHOWN_FAILURES],
            "days": days,
            "spans": SPANS.items(),
            "chart": _by_week(current),
        }
        return TemplateResponse(request, "reliability/delivery.html", context)


def _by_week(found: Delivery) -> dict[str, Any]:
    weeks = found.by_week()
    figures = [week.measures for week in weeks]
    return {
        "series": [
            {"label": "Deployments", "tone": "active", "width": 2},
            {"label": "Failed changes", "tone": "bad"},
            {"label": "Incidents", "tone": "risk", "dash": [4, 3]},
        ],
        "rows": [
            [week.until.timestamp() for week in weeks],
            [one.deployments for one in figures],
            [one.failed_changes for one in figures],
            [len(week.outages) for week in weeks],
        ],
        "unit": "",
    }

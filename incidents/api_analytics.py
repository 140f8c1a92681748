"""REST: measures of incidents, as JSON and as Prometheus histograms."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.data import Capability
from accounts.services import ensure_may, principal_of
from core.clock import database_now
from core.parsing import refuse
from incidents.domain.statistics import Summary
from incidents.selectors.analytics import MEASURES, Cut, Row, analytics
from incidents.selectors.histograms import histograms
from incidents.selectors.people_load import follow_ups_kept, handing_of, load_of, noise_of

DEFAULT_PERIOD = timedelta(days=90)


class AnalyticsView(APIView):
    """Measures of incidents over a period."""

    @extend_schema(
        parameters=[
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="ISO 8601; without it, 90 days ago."),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="ISO 8601; without it, now."),
            OpenApiParameter("by", str, enum=[one.value for one in Cut]),
            OpenApiParameter("service", str),
            OpenApiParameter("team", str),
            OpenApiParameter("severity", str),
            OpenApiParameter("source", str),
        ],
        responses=OpenApiTypes.OBJECT,
    )
    def get(self, request: Request) -> Response:
        """Return counts, medians and percentiles, the load of people, the noise of senders. Durations in seconds."""
        viewer = principal_of(request)
        if not viewer.may_somewhere(Capability.OPERATIONS_VIEW):
            ensure_may(viewer, Capability.OPERATIONS_VIEW)
        query = request.query_params
        until = _instant(query.get("until", ""), "until") or database_now()
        since = _instant(query.get("since", ""), "since") or until - DEFAULT_PERIOD
        by = query.get("by", Cut.SERVICE.value)
        if by not in {one.value for one in Cut}:
            raise refuse("by", found=by, allowed=f"one of {', '.join(one.value for one in Cut)} is allowed")
        wanted = {name: query.get(name, "") for name in ("service", "team", "severity", "source")}
        found = analytics(viewer=viewer, since=since, until=until, by=Cut(by), most_parts=None, **wanted)
        load = load_of(viewer=viewer, since=since, until=until)
        return Response(
            {
                "since": found.since,
                "until": found.until,
                "by": by,
                "all": _row(found.whole),
                "parts": [_row(row) for row in found.parts],
                "weeks": [_row(row) for row in found.weeks],
                "people": [
                    {
                        "username": one.username,
                        "time_zone": one.zone,
                        "on_call_seconds": one.on_call.total_seconds(),
                        "acknowledged": one.acknowledged,
                        "interruptions": {hours.value: count for hours, count in one.interruptions.items()},
                    }
                    for one in load.people
                ],
                "evenness": {"hours": load.hours_evenness, "pages": load.pages_evenness},
                "noise": [asdict(one) for one in noise_of(viewer=viewer, since=since, until=until)],
                "deliveries": [
                    {"channel": one.channel, "sent": one.sent, "failed": one.failed, "latency": _summary(one.latency)}
                    for one in handing_of(since=since, until=until)
                ],
                "follow_ups": follow_ups_kept(since=since, until=until),
            }
        )


class HistogramsView(APIView):
    """Histograms for a scraper, which authenticates by an API token as its bearer."""

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    def get(self, request: Request) -> HttpResponse:
        """Return the measures of all incidents in Prometheus's text format."""
        viewer = principal_of(request)
        if not viewer.may_somewhere(Capability.OPERATIONS_VIEW):
            ensure_may(viewer, Capability.OPERATIONS_VIEW)
        return HttpResponse(histograms(viewer=viewer), content_type=CONTENT_TYPE_LATEST)


def _instant(text: str, name: str) -> datetime | None:
    if not text:
        return None
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise refuse(name, found=text, allowed="an instant such as 2026-11-21T08:00:00Z is allowed")
    return found


def _row(row: Row) -> dict[str, Any]:
    return {
        "label": row.label,
        "count": row.count,
        "still_open": row.still_open,
        "acknowledged": row.acknowledged,
        "resolved_unseen": row.resolved_unseen,
        "told_by_people": row.told_by_people,
        "repeats": row.repeats,
        "with_runbook": row.with_runbook,
        "time_between_seconds": _seconds(row.time_between),
        **{name: _summary(row.measures[name]) for name in MEASURES},
    }


def _summary(found: Summary) -> dict[str, Any]:
    between = found.median_between
    return {
        "n": found.n,
        "median": _seconds(found.median),
        "p90": _seconds(found.p90),
        "mean": _seconds(found.mean),
        "median_between": [_seconds(between[0]), _seconds(between[1])] if between else None,
    }


def _seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()

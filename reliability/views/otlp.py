"""The OTLP receiver, for requests that the door before Django does not take."""

from collections.abc import Callable
from typing import ClassVar

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from reliability.services import Export, ExportAnswer, answer_metrics, answer_traces


@method_decorator(csrf_exempt, name="dispatch")
class OtlpView(View):
    """POST of an OTLP/HTTP exporter, with `Authorization: Bearer <token>` of scope telemetry.ingest."""

    http_method_names = ["post"]
    answering: ClassVar[Callable[[Export], ExportAnswer]]

    def post(self, request: HttpRequest) -> HttpResponse:
        export = Export(
            content_type=(request.content_type or "").lower(),
            encoding=request.headers.get("Content-Encoding", "").lower(),
            authorization=request.headers.get("Authorization", ""),
            # Read here, not by `request.body`, whose own limit would answer with a page instead of a status.
            read=request.read,
        )
        answer = type(self).answering(export)
        return HttpResponse(answer.body, content_type=answer.content_type, status=answer.status, headers=answer.headers)


class MetricsView(OtlpView):
    """`/v1/metrics`."""

    answering = answer_metrics


class TracesView(OtlpView):
    """`/v1/traces`."""

    answering = answer_traces

"""Give every request an id that an error page can quote and a log line carries."""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from core.identifiers import new_id

_ALLOWED = re.compile(r"[A-Za-z0-9_-]{8,64}")


class RequestIdMiddleware:
    """Read or make `X-Request-Id` and answer with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _ALLOWED.fullmatch(given) else new_id("req")
        request.META["ASSAY_REQUEST_ID"] = request_id
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        return response

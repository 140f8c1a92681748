"""What every request meets: its client's address, doors for probes, an id to quote, the reader's time zone."""

import contextlib
import ipaddress
import logging
import re
import time
import zoneinfo
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from core.identifiers import new_id
from core.views import healthz, metrics, readyz

# They come from inside: without TLS, a session, or a host name that people use.
PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/healthz": healthz,
    "/readyz": readyz,
    "/metrics": metrics,
}
SLOW_SECONDS = 2.0
logger = logging.getLogger(__name__)
_ALLOWED = re.compile(r"[A-Za-z0-9_-]{8,64}")


class RequestIdMiddleware:
    """Read or make `X-Request-Id` and answer with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _ALLOWED.fullmatch(given) else new_id("req")
        request.META["ASSAY_REQUEST_ID"] = request_id
        began = time.monotonic()
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        if (took := time.monotonic() - began) > SLOW_SECONDS:
            # Without the query: a search holds what somebody looks for.
            says = (request.method, request.path, response.status_code, took, request_id)
            logger.warning("slow: %s %s %s in %.1f s, %s", *says)
        return response


class ClientAddressMiddleware:
    """Behind a proxy that is trusted, let `REMOTE_ADDR` be the client's address instead of the proxy's.

    The last one of `X-Forwarded-For` is what the proxy itself has seen; whatever a client claims stands before it. So
    lock-outs meet who guesses rather than everybody, and the audit log and the list of sessions say from where.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.TRUST_PROXY:
            last = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
            with contextlib.suppress(ValueError):
                request.META["REMOTE_ADDR"] = str(ipaddress.ip_address(last))
        return self.get_response(request)


class ProbeMiddleware:
    """Answer probes and scrapers by whatever address they ask: they name a machine's address, not the site's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = PROBES.get(request.path_info)
        if answer is None or request.method not in {"GET", "HEAD"}:
            return self.get_response(request)
        response = answer(request)
        response["X-Content-Type-Options"] = "nosniff"
        response["Cache-Control"] = "no-store"
        return response


class ReaderTimeZoneMiddleware:
    """Write the times of a page in the signed-in reader's zone; UTC for everybody else and for a zone nobody knows."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = getattr(request.user, "time_zone", "UTC") if request.user.is_authenticated else "UTC"
        try:
            zone = zoneinfo.ZoneInfo(name)
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
            zone = zoneinfo.ZoneInfo("UTC")
        with timezone.override(zone):
            return self.get_response(request)

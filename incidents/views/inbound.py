"""The doors for what other systems send: what is answered with 2xx is stored; what is not is asked for again."""

import logging

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from incidents.data import IntegrationKind
from incidents.services import UnknownSenderError, is_known_sender, receive
from incidents.services.answering import (
    ALLOWED_RATE,
    NOT_STORED,
    TOO_LARGE,
    UNKNOWN_SENDER,
    Answer,
    Incoming,
    answer_for,
    inbound_request_of,
    kind_and_token,
    tokens_of,
)
from incidents.services.receiving import MAX_BODY_BYTES

logger = logging.getLogger(__name__)


def as_response(answer: Answer) -> HttpResponse:
    """Return an answer as Django sends it."""
    return HttpResponse(
        answer.body, status=answer.status, content_type="application/json", headers=dict(answer.headers)
    )


@method_decorator(csrf_exempt, name="dispatch")
class InboundView(View):
    """Store the body and answer 202 with its reference.

    401: unknown token or wrong signature (it does not say which). 413: over 512 KB. 415: a format of CloudEvents that
    is not JSON. 503 with Retry-After: the database has trouble; never 429 or another 4xx for that, because
    Alertmanager would not come again.
    """

    http_method_names = ["post", "put", "get", "head", "options"]

    def post(self, request: HttpRequest, **_: str) -> HttpResponse:
        if _length_of(request) > MAX_BODY_BYTES:
            return as_response(TOO_LARGE)
        incoming = _incoming(request, request.read(MAX_BODY_BYTES + 1))
        inbound = inbound_request_of(incoming)
        if isinstance(inbound, Answer):
            return as_response(inbound)
        try:
            stored = receive(inbound)
        except UnknownSenderError:
            return as_response(answer_for(incoming, None))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("an inbound event could not be stored: %s", error)
            return as_response(NOT_STORED)
        return as_response(answer_for(incoming, stored))

    put = post

    def get(self, request: HttpRequest, **names: str) -> HttpResponse:
        """Take a beat that comes as a GET, as the plainest of tools send it; nothing else is taken so."""
        if names.get("kind") != IntegrationKind.HEARTBEAT:
            return self.http_method_not_allowed(request)
        return self.post(request)

    def options(self, request: HttpRequest, **_: str) -> HttpResponse:
        """Answer the handshake by which a sender of CloudEvents asks whether it may send here."""
        incoming = _incoming(request, b"")
        kind, token = kind_and_token(incoming.path)
        origin = incoming.headers.get("webhook-request-origin", "")
        if kind != IntegrationKind.CLOUDEVENTS or not origin:
            return HttpResponse(status=405, headers={"Allow": "POST, PUT"})
        tokens = (token, *tokens_of(incoming.headers), incoming.access_token)
        try:
            known = is_known_sender(kind=kind, tokens=tokens)
        except (DatabaseError, InterfaceError):
            return as_response(NOT_STORED)
        if not known:
            return as_response(UNKNOWN_SENDER)
        rate = incoming.headers.get("webhook-request-rate", "")
        allowed = rate if rate.isascii() and rate.isdigit() else ALLOWED_RATE
        return HttpResponse(
            status=200,
            headers={"Allow": "POST, PUT", "WebHook-Allowed-Origin": origin[:200], "WebHook-Allowed-Rate": allowed},
        )


@method_decorator(csrf_exempt, name="dispatch")
class EventsApiView(InboundView):
    """The Events API v2: `/v2/enqueue` and `/v2/change/enqueue`, with its bodies and its answers."""

    http_method_names = ["post"]


def _incoming(request: HttpRequest, body: bytes) -> Incoming:
    return Incoming(
        method=request.method or "POST",
        path=request.path_info,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
        access_token=request.GET.get("access_token", ""),
    )


def _length_of(request: HttpRequest) -> int:
    text = request.META.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0

"""The doors for what other systems send: what is answered with 2xx is stored; what is not is asked for again."""

import base64
import binascii
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from incidents.data import IntegrationKind
from incidents.domain.cloudevents import is_understood
from incidents.domain.pagerduty import errors_of
from incidents.services import InboundRequest, Stored, UnknownSenderError, is_known_sender, receive
from incidents.services.receiving import MAX_BODY_BYTES

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "5"
ALLOWED_RATE = "60000"


@dataclass(frozen=True)
class Answer:
    """What a door answers, whoever serves it."""

    status: int
    document: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """The bytes of the answer."""
        return b"" if self.document is None else orjson.dumps(self.document)

    def as_response(self) -> HttpResponse:
        """Return it as Django sends it."""
        return HttpResponse(self.body, status=self.status, content_type="application/json", headers=dict(self.headers))


UNKNOWN_SENDER = Answer(401, {"detail": "unknown sender"})
TOO_LARGE = Answer(413, {"detail": f"the body is over {MAX_BODY_BYTES} bytes"})
UNKNOWN_FORMAT = Answer(415, {"detail": "application/cloudevents+json, its batch, or binary mode is expected"})
NOT_STORED = Answer(503, {"detail": "could not be stored; send it again"}, {"Retry-After": RETRY_AFTER_SECONDS})


@dataclass(frozen=True)
class Incoming:
    """A request as far as a door looks at it; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    access_token: str = ""


def kind_and_token(path: str) -> tuple[str, str]:
    """Return what `/inbound/KIND/TOKEN` names; the token may be missing."""
    parts = path.strip("/").split("/")
    return (parts[1] if len(parts) > 1 else "", parts[2] if len(parts) > 2 else "")


def inbound_request_of(incoming: Incoming) -> InboundRequest | Answer:
    """Return the request to store, or the answer that refuses it before anything is stored."""
    if len(incoming.body) > MAX_BODY_BYTES:
        return TOO_LARGE
    if incoming.path.startswith("/v2/"):
        return _pagerduty_request(incoming)
    kind, token = kind_and_token(incoming.path)
    if kind == IntegrationKind.CLOUDEVENTS and not is_understood(incoming.headers.get("content-type", "")):
        return UNKNOWN_FORMAT
    return InboundRequest(
        kind=kind,
        tokens=(token, *tokens_of(incoming.headers), incoming.access_token),
        method=incoming.method,
        body=incoming.body,
        headers=incoming.headers,
    )


def answer_for(incoming: Incoming, stored: Stored | None) -> Answer:
    """Return the answer to a request that was stored (None: its sender is unknown)."""
    if incoming.path.startswith("/v2/"):
        if stored is None:
            return Answer(401, {"status": "invalid event", "message": "unknown sender", "errors": []})
        accepted = {"status": "success", "message": "Event processed"}
        if "change" in incoming.path:
            return Answer(202, {**accepted, "message": "Change event processed"})
        return Answer(202, {**accepted, "dedup_key": stored.dedup_key})
    return UNKNOWN_SENDER if stored is None else Answer(202, {"event_ids": [stored.reference]})


def tokens_of(headers: dict[str, str]) -> tuple[str, ...]:
    """Return the tokens that headers offer: a bearer, the password (or name) of basic, GitLab's own."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    own = headers.get("x-gitlab-token", "")
    found: Sequence[str] = ()
    if scheme.lower() == "bearer":
        found = (value.strip(),)
    elif scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            found = ()
        else:
            found = (password, name)
    return (*found, own)


def _pagerduty_request(incoming: Incoming) -> InboundRequest | Answer:
    refused = {"status": "invalid event", "message": "Event object is invalid"}
    try:
        document = orjson.loads(incoming.body)
    except orjson.JSONDecodeError:
        return Answer(400, {**refused, "errors": ["JSON parse error"]})
    if errors := errors_of(document, change="change" in incoming.path):
        return Answer(400, {**refused, "errors": errors})
    return InboundRequest(
        kind=IntegrationKind.PAGERDUTY,
        tokens=(document["routing_key"],),
        method=incoming.method,
        body=incoming.body,
        headers=incoming.headers,
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
            return TOO_LARGE.as_response()
        incoming = _incoming(request, request.read(MAX_BODY_BYTES + 1))
        inbound = inbound_request_of(incoming)
        if isinstance(inbound, Answer):
            return inbound.as_response()
        try:
            stored = receive(inbound)
        except UnknownSenderError:
            return answer_for(incoming, None).as_response()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("an inbound event could not be stored: %s", error)
            return NOT_STORED.as_response()
        return answer_for(incoming, stored).as_response()

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
            return NOT_STORED.as_response()
        if not known:
            return UNKNOWN_SENDER.as_response()
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

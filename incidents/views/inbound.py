"""The door for webhooks: what is answered with 2xx is stored; what cannot be stored is asked for again."""

import base64
import binascii
import logging

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from incidents.services import InboundRequest, UnknownSenderError, receive
from incidents.services.receiving import MAX_BODY_BYTES

logger = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "5"


@method_decorator(csrf_exempt, name="dispatch")
class InboundView(View):
    """Store the body and answer 202 with its reference.

    401: unknown token or wrong signature (it does not say which). 413: over 512 KB. 503 with Retry-After: the database
    has trouble; never 429 or another 4xx for that, because Alertmanager would not come again.
    """

    http_method_names = ["post", "put"]

    def post(self, request: HttpRequest, kind: str, token: str = "") -> HttpResponse:
        if _length_of(request) > MAX_BODY_BYTES:
            return _too_large()
        body = request.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            return _too_large()
        inbound = InboundRequest(
            kind=kind,
            tokens=(token, *_tokens_of(request.headers.get("Authorization", ""))),
            method=request.method or "POST",
            body=body,
            headers={name.lower(): value for name, value in request.headers.items()},
        )
        try:
            event = receive(inbound)
        except UnknownSenderError:
            return JsonResponse({"detail": "unknown sender"}, status=401)
        except DatabaseError as error:
            logger.warning("an inbound event could not be stored: %s", error)
            answer = JsonResponse({"detail": "could not be stored; send it again"}, status=503)
            answer["Retry-After"] = RETRY_AFTER_SECONDS
            return answer
        return JsonResponse({"event_ids": [event.reference]}, status=202)

    put = post


def _too_large() -> HttpResponse:
    return JsonResponse({"detail": f"the body is over {MAX_BODY_BYTES} bytes"}, status=413)


def _length_of(request: HttpRequest) -> int:
    text = request.META.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0


def _tokens_of(authorization: str) -> tuple[str, ...]:
    """Return what an Authorization header offers: a bearer token, or the password (or name) of basic."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return (value.strip(),)
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return ()
        return (password, name)
    return ()

"""The door before Django: what exporters POST is counted and answered without a handler or a middleware.

Everything else goes on to Django, which answers the same addresses by the same rules (`reliability.views.otlp`), so
that nothing depends on the door but speed.
"""

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from django.db import close_old_connections

from core.identifiers import new_id
from reliability.services.otlp_answering import Export, ExportAnswer, answer_metrics, answer_traces
from reliability.services.otlp_bodies import MAX_BODY_BYTES

logger = logging.getLogger(__name__)

StartResponse = Callable[..., Any]
WsgiApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

ANSWERING = {"/v1/metrics": answer_metrics, "/v1/traces": answer_traces}


def _bound(environ: dict[str, Any]) -> int | None:
    """Return how many bytes of the body may be read; None for a request that is not for the door."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        return int(length) if int(length) <= MAX_BODY_BYTES else None
    # A body in pieces says its length at its end: one byte more than is allowed shows that it is too long.
    return MAX_BODY_BYTES + 1 if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower() else None


def with_otlp_door(application: WsgiApplication) -> WsgiApplication:
    """Return a WSGI application that answers exporters itself and hands everything else on."""

    def served(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        answering = ANSWERING.get(environ.get("PATH_INFO", ""))
        bound = _bound(environ)
        # A body that is refused for its length, or has neither a length nor pieces, is rare enough for Django.
        if answering is None or environ["REQUEST_METHOD"] != "POST" or bound is None:
            return application(environ, start_response)
        export = Export(
            content_type=environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower(),
            encoding=environ.get("HTTP_CONTENT_ENCODING", "").lower(),
            authorization=environ.get("HTTP_AUTHORIZATION", ""),
            read=lambda most: environ["wsgi.input"].read(min(most, bound)),
        )
        close_old_connections()
        try:
            answer = answering(export)
        except Exception:
            logger.exception("an export was not counted")
            answer = ExportAnswer(500, "text/plain", b"")
        finally:
            close_old_connections()
        start_response(
            f"{answer.status} {HTTPStatus(answer.status).phrase}",
            [
                ("Content-Type", answer.content_type),
                ("Content-Length", str(len(answer.body))),
                ("X-Request-Id", new_id("req")),
                ("X-Content-Type-Options", "nosniff"),
                *answer.headers.items(),
            ],
        )
        return [answer.body]

    return served

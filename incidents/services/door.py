"""The door before Django: what senders POST is stored in groups and answered without a handler or a middleware.

Everything else goes on to Django, which answers the same paths by the same rules (`incidents.views.inbound`), so that
nothing depends on the door but speed.
"""

import logging
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from core.grouping import GroupCommitter, NotCommittedError
from core.identifiers import new_id
from incidents.services.answering import NOT_STORED, TOO_LARGE, Answer, Incoming, answer_for, inbound_request_of
from incidents.services.receiving import MAX_BODY_BYTES, InboundRequest, Stored, receive_many

logger = logging.getLogger(__name__)

StartResponse = Callable[..., Any]
WsgiApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

PREFIXES = ("/inbound/", "/v2/enqueue", "/v2/change/enqueue")
METHODS = frozenset({"POST", "PUT"})

_committer: GroupCommitter[InboundRequest, Stored | None] = GroupCommitter(receive_many)


def with_door(application: WsgiApplication) -> WsgiApplication:
    """Return a WSGI application that answers senders itself and hands everything else on."""

    def served(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        length = environ.get("CONTENT_LENGTH") or ""
        # A body without a length, or a path that is not plain, is rare enough for Django.
        if not path.startswith(PREFIXES) or environ["REQUEST_METHOD"] not in METHODS or not length.isdecimal():
            return application(environ, start_response)
        answer = _answer(environ, path, int(length))
        body = answer.body
        start_response(
            f"{answer.status} {HTTPStatus(answer.status).phrase}",
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
                ("X-Request-Id", new_id("req")),
                ("X-Content-Type-Options", "nosniff"),
                *answer.headers.items(),
            ],
        )
        return [body]

    return served


def _answer(environ: dict[str, Any], path: str, length: int) -> Answer:
    if length > MAX_BODY_BYTES:
        return TOO_LARGE
    incoming = Incoming(
        method=environ["REQUEST_METHOD"],
        path=path,
        headers=_headers(environ),
        body=environ["wsgi.input"].read(length),
        access_token=_access_token(environ.get("QUERY_STRING", "")),
    )
    inbound = inbound_request_of(incoming)
    if isinstance(inbound, Answer):
        return inbound
    try:
        stored = _committer.submit(inbound)
    except NotCommittedError as error:
        logger.warning("an inbound event could not be stored: %s", error)
        return NOT_STORED
    return answer_for(incoming, stored)


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    found = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if content_type := environ.get("CONTENT_TYPE"):
        found["content-type"] = content_type
    return found


def _access_token(query: str) -> str:
    return parse_qs(query).get("access_token", [""])[0] if "access_token=" in query else ""

"""What an inbound request asks for and what it is answered, whoever serves it: Django's view or the door before it."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from incidents.data import IntegrationKind
from incidents.domain.cloudevents import is_understood
from incidents.domain.pagerduty import errors_of
from incidents.services.receiving import MAX_BODY_BYTES, InboundRequest, Stored

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

"""The answers of the OTLP receiver, the same by whatever way a request came in."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from accounts.data import Capability
from accounts.selectors import standing_of_token
from accounts.services import token_used_by_pk
from core.clock import database_now
from core.limiting import RateLimit
from core.parsing import InputRefusedError
from reliability.services.intake import note_refused_body
from reliability.services.otlp import receive_metrics, receive_spans
from reliability.services.otlp_bodies import MAX_BODY_BYTES, decode
from reliability.services.otlp_wire import WireRequest

PROTOBUF, JSON = "application/x-protobuf", "application/json"
EXPORTS = RateLimit(settings.TELEMETRY_RATE)


@dataclass(frozen=True)
class Export:
    """A request of an exporter; `read` returns at most so many bytes of its body."""

    content_type: str
    encoding: str
    authorization: str
    read: Callable[[int], bytes]

    def fill(self, message: Message) -> None:
        """Read the body into a message. Raises InputRefusedError."""
        decode(self.read(MAX_BODY_BYTES + 1), encoding=self.encoding, content_type=self.content_type, request=message)


@dataclass(frozen=True)
class ExportAnswer:
    """What the exporter is told."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def answer_metrics(export: Export) -> ExportAnswer:
    """Count the metrics of a request and answer."""
    return _answer(export, _take_metrics)


def answer_traces(export: Export) -> ExportAnswer:
    """Count the spans of a request and answer."""
    return _answer(export, _take_traces)


def _answer(export: Export, take: Callable[[Export], Message]) -> ExportAnswer:
    try:
        sender = _sender(export)
        if isinstance(sender, ExportAnswer):
            return sender
        try:
            response = take(export)
        except InputRefusedError as error:
            note_refused_body(sender=f"the token {sender}", reason=str(error))
            return _status(400, 3, str(error), export)
    except (DatabaseError, InterfaceError):
        return _status(503, 14, "The database did not answer; send it again.", export, {"Retry-After": "5"})
    body = MessageToJson(response).encode() if export.content_type == JSON else response.SerializeToString()
    return ExportAnswer(200, export.content_type, body)


def _sender(export: Export) -> str | ExportAnswer:
    """Return the name of the token that signs the request, or the answer to who may not send."""
    scheme, _, secret = export.authorization.partition(" ")
    standing = None
    if scheme.lower() == "bearer":
        now, capability = database_now(), Capability.TELEMETRY_INGEST
        standing = standing_of_token(secret=secret.strip(), capability=capability, now=now)
    if standing is None:
        headers = {"WWW-Authenticate": 'Bearer realm="assay"'}
        return _status(401, 16, "Send `Authorization: Bearer <token>` with a live API token.", export, headers)
    if not standing.may:
        return _status(403, 7, "This token has no scope telemetry.ingest, or its owner may not.", export)
    if wait := EXPORTS.wait(str(standing.pk)):
        # OTLP lets an exporter send again after 503 with Retry-After, so nothing is lost by waiting.
        said = f"This token sends more than {EXPORTS.rate:g} requests a second; send it again later."
        return _status(503, 14, said, export, {"Retry-After": str(math.ceil(wait))})
    if not standing.used_lately:
        token_used_by_pk(standing.pk)
    return standing.name


def _take_metrics(export: Export) -> Message:
    # JSON is read into the official message; protobuf leaves the points as bytes, for the receiver to read.
    message = ExportMetricsServiceRequest() if export.content_type == JSON else WireRequest()
    export.fill(message)
    received = receive_metrics(message)
    response = ExportMetricsServiceResponse()
    if received.rejected:
        response.partial_success.rejected_data_points = received.rejected
        response.partial_success.error_message = "; ".join(received.reasons)
    return response


def _take_traces(export: Export) -> Message:
    message = ExportTraceServiceRequest()
    export.fill(message)
    received = receive_spans(message)
    response = ExportTraceServiceResponse()
    if received.rejected:
        response.partial_success.rejected_spans = received.rejected
        response.partial_success.error_message = "; ".join(received.reasons)
    return response


def _status(
    status: int, code: int, message: str, export: Export, headers: dict[str, str] | None = None
) -> ExportAnswer:
    """Answer with a google.rpc.Status, in the encoding of the request."""
    if export.content_type == JSON:
        return ExportAnswer(status, JSON, orjson.dumps({"code": code, "message": message}), headers or {})
    text = message.encode()
    body = b"\x08" + _varint(code) + b"\x12" + _varint(len(text)) + text
    return ExportAnswer(status, PROTOBUF, body, headers or {})


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)

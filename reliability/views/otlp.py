"""The OTLP receiver."""

import orjson
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
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
from accounts.selectors import live_token, principal_for_token
from accounts.services import token_used
from core.clock import database_now
from core.parsing import InputRefusedError
from reliability.services import (
    MAX_BODY_BYTES,
    Received,
    WireRequest,
    decode,
    note_refused_body,
    receive_metrics,
    receive_spans,
)

PROTOBUF, JSON = "application/x-protobuf", "application/json"


@method_decorator(csrf_exempt, name="dispatch")
class OtlpView(View):
    """POST of an OTLP/HTTP exporter, with `Authorization: Bearer <token>` of scope telemetry.ingest."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        content_type = (request.content_type or "").lower()
        try:
            sender = self._sender(request, content_type)
            if isinstance(sender, HttpResponse):
                return sender
            try:
                response = self._receive(request, content_type)
            except InputRefusedError as error:
                note_refused_body(sender=f"the token {sender}", reason=str(error))
                return _status(400, 3, str(error), content_type)
        except DatabaseError:
            answer = _status(503, 14, "The database did not answer; send it again.", content_type)
            answer["Retry-After"] = "5"
            return answer
        body = MessageToJson(response).encode() if content_type == JSON else response.SerializeToString()
        return HttpResponse(body, content_type=content_type)

    def _receive(self, request: HttpRequest, content_type: str) -> Message:
        raise NotImplementedError

    @staticmethod
    def _sender(request: HttpRequest, content_type: str) -> str | HttpResponse:
        """Return the name of the token that signs the request, or the answer to who may not send."""
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        token = live_token(secret=secret.strip(), now=database_now()) if scheme.lower() == "bearer" else None
        if token is None:
            answer = _status(401, 16, "Send `Authorization: Bearer <token>` with a live API token.", content_type)
            answer["WWW-Authenticate"] = 'Bearer realm="assay"'
            return answer
        if not principal_for_token(token=token).may_somewhere(Capability.TELEMETRY_INGEST):
            return _status(403, 7, "This token has no scope telemetry.ingest, or its owner may not.", content_type)
        token_used(token=token)
        return str(token.name)

    @staticmethod
    def _decode(request: HttpRequest, content_type: str, message: Message) -> None:
        encoding = request.headers.get("Content-Encoding", "").lower()
        # Read here, not by `request.body`, whose own limit would answer with a page instead of a status.
        body = request.read(MAX_BODY_BYTES + 1)
        decode(body, encoding=encoding, content_type=content_type, request=message)


class MetricsView(OtlpView):
    """`/v1/metrics`."""

    def _receive(self, request: HttpRequest, content_type: str) -> Message:
        # JSON is read into the official message; protobuf leaves the points as bytes, for the receiver to read.
        message = ExportMetricsServiceRequest() if content_type == JSON else WireRequest()
        self._decode(request, content_type, message)
        received = receive_metrics(message)
        response = ExportMetricsServiceResponse()
        if received.rejected:
            response.partial_success.rejected_data_points = received.rejected
            response.partial_success.error_message = _reasons(received)
        return response


class TracesView(OtlpView):
    """`/v1/traces`."""

    def _receive(self, request: HttpRequest, content_type: str) -> Message:
        message = ExportTraceServiceRequest()
        self._decode(request, content_type, message)
        received = receive_spans(message)
        response = ExportTraceServiceResponse()
        if received.rejected:
            response.partial_success.rejected_spans = received.rejected
            response.partial_success.error_message = _reasons(received)
        return response


def _reasons(received: Received) -> str:
    return "; ".join(received.reasons)


def _status(status: int, code: int, message: str, content_type: str) -> HttpResponse:
    """Answer with a google.rpc.Status, in the encoding of the request."""
    if content_type == JSON:
        return HttpResponse(orjson.dumps({"code": code, "message": message}), content_type=JSON, status=status)
    text = message.encode()
    return HttpResponse(
        b"\x08" + _varint(code) + b"\x12" + _varint(len(text)) + text, content_type=PROTOBUF, status=status
    )


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)

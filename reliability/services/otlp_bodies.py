"""Read the bodies of OTLP/HTTP requests: protobuf or JSON, gzip or not, bounded in size."""

import base64
import gzip
import io
import zlib
from typing import Any

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError, Message

from core.parsing import refuse

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 40

# Where protobuf's JSON reader would take a text for an empty message.
MESSAGES = frozenset(
    {"resource", "scope", "status", "sum", "histogram", "exponentialHistogram", "positive", "negative"}
)
LISTS = frozenset(
    {"resourceMetrics", "scopeMetrics", "metrics", "dataPoints", "resourceSpans", "scopeSpans", "spans", "attributes"}
)


def decode(body: bytes, *, encoding: str, content_type: str, request: Message) -> None:
    """Fill `request` from a request's body. Raises InputRefusedError for what is not well formed or too large."""
    if len(body) > MAX_BODY_BYTES:
        raise refuse("body", found=f"more than {MAX_BODY_BYTES} bytes", allowed="send smaller batches")
    if encoding == "gzip":
        body = _inflate(body)
    elif encoding not in {"", "identity"}:
        raise refuse("Content-Encoding", found=encoding, allowed="gzip or identity is allowed")
    if content_type == "application/x-protobuf":
        try:
            request.ParseFromString(body)
        except DecodeError:
            raise refuse(
                "body", found="bytes that are not the message", allowed="an OTLP export request is allowed"
            ) from None
    elif content_type == "application/json":
        try:
            ParseDict(_with_base64_ids({"": orjson.loads(body)})[""], request, ignore_unknown_fields=True)
        except (ParseError, ValueError, AttributeError, TypeError) as error:
            raise refuse("body", found=str(error)[:200], allowed="an OTLP export request in JSON is allowed") from None
    else:
        raise refuse(
            "Content-Type", found=content_type, allowed="application/x-protobuf or application/json is allowed"
        )


def _inflate(body: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            inflated = file.read(MAX_BODY_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise refuse("body", found="bytes that are not gzip", allowed="a gzip body is allowed") from None
    if len(inflated) > MAX_BODY_BYTES:
        raise refuse("body", found=f"more than {MAX_BODY_BYTES} bytes", allowed="send smaller batches")
    return inflated


def _with_base64_ids(data: Any, depth: int = 0) -> Any:
    """OTLP's JSON carries ids in hex where protobuf's JSON has base64."""
    if depth > MAX_DEPTH:
        raise ValueError(f"more than {MAX_DEPTH} levels")
    if isinstance(data, dict):
        for key, value in data.items():
            # A metric's `sum` is an object; that of a histogram's data point is a number.
            must_be_object = key in MESSAGES and (key != "sum" or "name" in data)
            if (must_be_object or not key) and not isinstance(value, dict):
                raise TypeError(f"{key or 'the body'} is not an object")
            if key in LISTS and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
                raise TypeError(f"{key} is not a list of objects")
    if isinstance(data, dict):
        return {
            key: base64.b64encode(bytes.fromhex(value)).decode()
            if key in {"traceId", "spanId", "parentSpanId"} and isinstance(value, str)
            else _with_base64_ids(value, depth + 1)
            for key, value in data.items()
        }
    return [_with_base64_ids(item, depth + 1) for item in data] if isinstance(data, list) else data

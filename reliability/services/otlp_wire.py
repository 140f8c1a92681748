"""OTLP metrics in messages that leave data points as bytes, and the layout by which equal points are read quickly.

The messages are wire-compatible with OpenTelemetry's. Exporters write the points of a metric in one layout; a point
whose tags are where the layout says is read by one `struct` call, any other by the official message.
"""

import struct
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "assay.otlp"
_MESSAGES: dict[str, list[tuple[str, int, str, bool]]] = {
    "Request": [("resource_metrics", 1, "ResourceMetrics", True)],
    "ResourceMetrics": [("resource", 1, "bytes", False), ("scope_metrics", 2, "ScopeMetrics", True)],
    "ScopeMetrics": [("scope", 1, "bytes", False), ("metrics", 2, "Metric", True)],
    "Metric": [
        ("name", 1, "string", False),
        ("unit", 3, "string", False),
        ("gauge", 5, "Points", False),
        ("sum", 7, "Points", False),
        ("histogram", 9, "Points", False),
        ("exponential_histogram", 10, "Points", False),
        ("summary", 11, "Points", False),
    ],
    "Points": [
        ("data_points", 1, "bytes", True),
        ("aggregation_temporality", 2, "int32", False),
        ("is_monotonic", 3, "bool", False),
    ],
}
KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")
_START, _TIME, _COUNT, _SUM, _COUNTS, _BOUNDS = b"\x11", b"\x19", b"\x21", b"\x29", 0x32, 0x3A
_ATTRIBUTE, _EXEMPLAR, _MIN, _MAX = 0x4A, 0x42, 0x59, 0x61


def _message_class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="assay_otlp.proto", package=_PACKAGE, syntax="proto3")
    types = {"bytes": _FIELD.TYPE_BYTES, "string": _FIELD.TYPE_STRING, "int32": _FIELD.TYPE_INT32}
    types["bool"] = _FIELD.TYPE_BOOL
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for name, number, kind, repeated in fields:
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            one = described.field.add(name=name, number=number, label=label)
            if kind in types:
                one.type = types[kind]
            else:
                one.type, one.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _pool()
WireRequest: Any = _message_class("Request")


def kind_of(metric: Any) -> str:
    """Return which kind of data a metric has, or nothing."""
    return next((kind for kind in KINDS if metric.HasField(kind)), "")


@dataclass(frozen=True)
class Layout:
    """Where a histogram point of some number of buckets keeps its numbers.

    `read` gives tags and values in turn: start, time, count, perhaps sum; then a tag and the bucket counts; then a tag
    and the bounds.
    """

    read: struct.Struct
    scalars: int
    tags: tuple[bytes, ...]
    first_count: int
    after_counts: int
    bounds_tag: bytes

    def numbers(self, point: bytes) -> tuple[Any, ...] | None:
        """Return the point's numbers by position, or None when it is laid out otherwise."""
        if len(point) < self.read.size:
            return None
        numbers = self.read.unpack_from(point)
        if numbers[: self.scalars : 2] != self.tags:
            return None
        if self.bounds_tag and numbers[self.after_counts] != self.bounds_tag:
            return None
        return numbers


def layout_of(point: bytes) -> Layout | None:
    """Return the layout of a histogram point, or None when it is not in the usual order."""
    position, code, tags = 0, "<", []
    for tag, kind in ((_START, "Q"), (_TIME, "Q"), (_COUNT, "Q"), (_SUM, "d")):
        if point[position : position + 1] == tag:
            code += f"c{kind}"
            tags.append(tag)
            position += 9
        elif tag != _SUM:
            return None
    counts = _packed(point, position, _COUNTS)
    if counts is None:
        return None
    head, length = counts
    code += f"{head}s{length // 8}Q"
    tags.append(point[position : position + head])
    scalars, first_count = 2 * len(tags) - 1, 2 * len(tags) - 1
    position += head + length
    bounds = _packed(point, position, _BOUNDS)
    bounds_tag = b""
    if bounds is not None:
        code += f"{bounds[0]}s{bounds[1]}s"
        bounds_tag = point[position : position + bounds[0]]
    elif length != 8:
        return None
    return Layout(struct.Struct(code), scalars, tuple(tags), first_count, first_count + length // 8, bounds_tag)


def rest_of(point: bytes, position: int) -> tuple[bytes, tuple[int, int]] | None:
    """Return a point's attributes as bytes and where its exemplars are; None when anything else stands there."""
    end, begin = len(point), position
    while position < end and point[position] == _EXEMPLAR:
        if point[position + 1] > 127:
            if point[position + 2] > 127:
                return None
            position += 3 + (point[position + 1] & 127) + (point[position + 2] << 7)
        else:
            position += 2 + point[position + 1]
    exemplars, start = (begin, position), position
    while position < end and point[position] == _ATTRIBUTE:
        if position + 1 >= end or point[position + 1] > 127:
            return None
        position += 2 + point[position + 1]
    if position > end:
        return None
    attributes = point[start:position]
    if position + 9 <= end and point[position] == _MIN:
        position += 9
    if position + 9 <= end and point[position] == _MAX:
        position += 9
    return (attributes, exemplars) if position == end else None


def _packed(point: bytes, position: int, tag: int) -> tuple[int, int] | None:
    """Return how long the tag and length of packed 64-bit numbers are, and the numbers."""
    if len(point) < position + 2 or point[position] != tag:
        return None
    length, head = point[position + 1], 2
    if length > 127:
        if len(point) < position + 3 or point[position + 2] > 127:
            return None
        length, head = (length & 127) | point[position + 2] << 7, 3
    if length % 8 or not length or len(point) < position + head + length:
        return None
    return head, length

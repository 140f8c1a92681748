"""Documents that mean harm: too deep, too large, of the wrong kind, or with something for another program in them."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


@dataclass(frozen=True)
class Hostile:
    """A body with its type; `malformed` ones are no document at all and no door may take them as one."""

    name: str
    body: bytes
    malformed: bool
    encoding: str = ""


WORDS = {
    "path": "../../../../etc/passwd",
    "absolute path": "/etc/shadow",
    "backslashes": "..\\..\\windows\\system32",
    "null": "name\x00.txt",
    "header": "value\r\nX-Injected: yes\r\n\r\n<html>",
    "template": "{{ settings.SECRET_KEY }}{% load static %}",
    "format": "{0.__class__.__mro__}%(levelname)s%n%n${jndi:ldap://127.0.0.1/a}",
    "script": "<script>alert(1)</script>",
    "sql": "'; DROP TABLE ledger_ledgerentry; --",
    "shell": "$(touch /tmp/assay-was-here) `id` ; id | id",
    "metadata address": "http://169.254.169.254/latest/meta-data/",
    "file address": "file:///etc/passwd",
    "gopher address": "gopher://127.0.0.1:6379/_FLUSHALL",
    "short address": "http://0x7f.1/",
    "address with user": "http://example.org@127.0.0.1/",
    "mapped address": "http://[::ffff:127.0.0.1]/",
    "right to left": "\u202egnp.exe",
    "combining": "e" + "\u0301" * 5000,
    "long": "a" * 300_000,
    "emoji": "\U0001f469\u200d\U0001f4bb" * 2000,
    "year one": "0001-01-01T00:00:00Z",
    "far year": "9999-12-31T23:59:59.999999999Z",
    "not a time": "2026-02-30T25:61:61+99:99",
    "regular expression": "^(a+)+$" + "a" * 40 + "!",
}
KEYS = ("name", "slug", "title", "url", "service", "reference", "text", "at", "spec", "message", "payload", "username")
NUMBERS = (10**400, -(10**30), 2**63, -1, 0)

ODD: tuple[object, ...] = (None, True, [], {}, [[]], {"$ref": "#"}, {"__proto__": {"admin": True}})


def _dumped(value: object) -> bytes:
    return json.dumps(value).encode()


def documents() -> Iterator[Hostile]:
    """Yield every document for doors that read JSON."""
    for name, opening, closing in (("lists", b"[", b"]"), ("objects", b'{"a":', b"}")):
        yield Hostile(f"{name} 100,000 deep", opening * 100_000 + b"1" + closing * 100_000, True)
        yield Hostile(f"{name} 900 deep", opening * 900 + b"1" + closing * 900, False)
    yield Hostile("nothing", b"", True)
    yield Hostile("half", b'{"name": "', True)
    yield Hostile("not a number", b'{"name": NaN, "value": Infinity}', True)
    yield Hostile("exponent", b'{"target": 1e999999, "value": 1e-999999}', False)
    yield Hostile("no UTF-8", b'{"name": "\xff\xfe\xc0\xaf"}', True)
    yield Hostile("half a pair", b'{"name": "\\ud800", "title": "\\udfff"}', False)
    yield Hostile("UTF-16", '{"name": "x"}'.encode("utf-16"), True)
    yield Hostile("the same key", b'{"name": "a", "name": "b"}', False)
    yield Hostile("50,000 keys", _dumped({f"k{number}": number for number in range(50_000)}), False)
    yield Hostile("100,000 items", _dumped([0] * 100_000), False)
    yield Hostile("6 MB", b'{"name": "' + b"a" * 6_000_000 + b'"}', False)
    yield Hostile(
        "entities", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', True
    )
    yield Hostile(
        "pickle", b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.", True
    )
    for number in NUMBERS:
        yield Hostile(f"the number {str(number)[:8]}", _dumped(dict.fromkeys(KEYS, number)), False)
    for odd in ODD:
        yield Hostile(f"{odd!r} everywhere", _dumped(dict.fromkeys(KEYS, odd)), False)
    for name, word in WORDS.items():
        yield Hostile(f"{name} everywhere", _dumped(dict.fromkeys(KEYS, word)), False)


def telemetry() -> Iterator[Hostile]:
    """Yield every body for the doors of OTLP."""
    bomb = gzip.compress(b"\x00" * 60_000_000, 9)
    yield Hostile("a gzip bomb", bomb, True, "gzip")
    yield Hostile("a cut gzip", bomb[:500], True, "gzip")
    yield Hostile("no gzip", b"plain", True, "gzip")
    yield Hostile("another encoding", b"plain", True, "br")
    yield Hostile("random bytes", bytes(range(256)) * 40, True)
    yield Hostile("a length that lies", b"\x0a\xff\xff\xff\xff\x0f", True)
    nested = ExportMetricsServiceRequest()
    value: AnyValue = nested.resource_metrics.add().resource.attributes.add(key="deep").value
    for _ in range(60):
        value = value.array_value.values.add()
    yield Hostile("an attribute 60 deep", nested.SerializeToString(), False)

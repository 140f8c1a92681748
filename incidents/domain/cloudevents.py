"""CloudEvents 1.0 over HTTP: binary, structured and batched mode.

Source: cloudevents/spec, `bindings/http-protocol-binding.md` section 3. The mode is told by the Content-Type; the
batched prefix is looked for first, because the structured one is a prefix of it. Values of `ce-` headers: a quoted
string is unescaped, then percent-decoded once; what is not UTF-8 then is refused.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from incidents.domain.inbound_formats import (
    GenericMapping,
    Received,
    ReceivedAlert,
    UnparsedBodyError,
    fingerprint_of,
    read_generic,
    text_at,
)

REQUIRED = ("specversion", "id", "source", "type")
BATCH = "application/cloudevents-batch"
STRUCTURED = "application/cloudevents"
ENDINGS = ("resolved", "closed", "ok", "recovered")
BEGINNINGS = ("firing", "triggered", "opened", "failed")
LONGEST_LABEL = 200


@dataclass(frozen=True)
class CloudEvent:
    """One event: its attributes with extensions, and its data as parsed."""

    attributes: Mapping[str, str]
    data: Any

    @property
    def identity(self) -> str:
        """What names the event everywhere: source and id."""
        return f"{self.attributes['source']}\0{self.attributes['id']}"


def is_understood(content_type: str) -> bool:
    """Say whether a content type is one that this receiver reads: JSON formats, and anything in binary mode."""
    kind = content_type.partition(";")[0].strip().lower()
    if not kind.startswith(STRUCTURED):
        return True
    return kind in {BATCH, STRUCTURED, f"{BATCH}+json", f"{STRUCTURED}+json"}


def decode_header(value: str) -> str:
    """Return the value of a `ce-` header; raises UnparsedBodyError when it is not UTF-8 in the end."""
    value = value.strip()
    if len(value) >= 2 and value.startswith('"') and value.endswith('"'):
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    raw = unquote_to_bytes(value.encode("latin-1", "ignore"))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise UnparsedBodyError(f"a header value is not UTF-8 after percent-decoding: {value[:80]!r}") from None


def cloudevents_of(headers: Mapping[str, str], document: Any) -> list[CloudEvent]:
    """Return the events of a request; raises UnparsedBodyError. `document` is its body as parsed JSON."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(BATCH):
        if not isinstance(document, list):
            raise UnparsedBodyError("a batch is a JSON array of events")
        return [_structured(item) for item in document]
    if kind.startswith(STRUCTURED):
        return [_structured(document)]
    attributes = {name[3:]: decode_header(value) for name, value in headers.items() if name.startswith("ce-")}
    _ensure_complete(attributes)
    return [CloudEvent(attributes, document)]


def read_cloudevents(
    headers: Mapping[str, str], document: Any, mapping: GenericMapping, *, received_at: datetime
) -> Received:
    """Read alerts out of events by a mapping over their attributes and data; raises UnparsedBodyError."""
    found = tuple(_alert_of(event, mapping, received_at) for event in cloudevents_of(headers, document))
    return Received(found)


def _alert_of(event: CloudEvent, mapping: GenericMapping, received_at: datetime) -> ReceivedAlert:
    attributes = dict(event.attributes)
    data = event.data if isinstance(event.data, dict) else {}
    stem, _, last = attributes["type"].rpartition(".")
    is_state = last.lower() in {*ENDINGS, *BEGINNINGS}
    item: dict[str, Any] = {**attributes, **data, "data": event.data}
    if not text_at(item, mapping.title):
        item["title"] = f"{attributes['type']} {attributes.get('subject', '')}".strip()
        mapping = mapping.model_copy(update={"title": "title"})
    if is_state and not text_at(item, mapping.status):
        item["status"] = "resolved" if last.lower() in ENDINGS else "firing"
        mapping = mapping.model_copy(update={"status": "status"})
    scalars = {name: text for name in data if isinstance(name, str) and (text := text_at(data, name))}
    plain = {name: text for name, text in scalars.items() if len(text) <= LONGEST_LABEL and name != mapping.status}
    named = {f"ce_{name}": attributes[name] for name in ("type", "source", "subject") if attributes.get(name)}
    extra = {"severity": attributes["severity"]} if "severity" in attributes else {}
    fixed = {**named, **extra, **({} if mapping.labels else plain), **mapping.fixed_labels}
    mapping = mapping.model_copy(
        update={"fixed_labels": fixed, "starts_at": mapping.starts_at or ("time" if "time" in attributes else "")}
    )
    alert = read_generic(item, mapping, received_at=received_at).alerts[0]
    if mapping.fingerprint:
        return alert
    what = {"source": attributes["source"], "subject": attributes.get("subject", ""), "type": attributes["type"]}
    if is_state:
        what["type"] = stem
    if not what["subject"]:
        what["title"] = alert.title if not is_state else text_at(data, "title")
    return ReceivedAlert(**{**vars(alert), "fingerprint": fingerprint_of(what)})


def _structured(document: Any) -> CloudEvent:
    if not isinstance(document, dict):
        raise UnparsedBodyError("an event is a JSON object")
    attributes = {
        name: value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in document.items()
        if name not in {"data", "data_base64"} and isinstance(value, str | int | bool)
    }
    _ensure_complete(attributes)
    data = document.get("data")
    if "data_base64" in document:
        try:
            data = base64.b64decode(str(document["data_base64"]), validate=True).decode("utf-8", "replace")
        except binascii.Error:
            raise UnparsedBodyError("data_base64 is not base64") from None
    return CloudEvent(attributes, data)


def _ensure_complete(attributes: Mapping[str, str]) -> None:
    if missing := [name for name in REQUIRED if not attributes.get(name)]:
        raise UnparsedBodyError(f"the event has no {', '.join(missing)}")
    if attributes["specversion"] != "1.0":
        raise UnparsedBodyError(f"specversion is {attributes['specversion']!r}; 1.0 is expected")

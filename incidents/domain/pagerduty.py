"""The Events API v2 of PagerDuty: what a body must hold, and what it means.

Source: PagerDuty developer documentation, "Events API v2: send an alert event, send a change event". The same
deduplication key on an open alert is a repeat; after a resolution, a trigger opens a new alert, and an
acknowledgement or resolution of something that is not open is dropped.
"""

import hashlib
from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from incidents.domain.inbound_formats import (
    Received,
    ReceivedAlert,
    ReceivedChange,
    UnparsedBodyError,
    believable,
    bounded,
    title_of,
)

KEY_LENGTH = 32
LONGEST_LABEL = 200


class _Link(BaseModel):
    model_config = ConfigDict(extra="ignore")
    href: str = ""
    text: str = ""


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore")
    summary: str = Field(min_length=1)
    source: str = Field(min_length=1)
    severity: Literal["critical", "error", "warning", "info"]
    timestamp: AwareDatetime | None = None
    component: str | None = ""
    group: str | None = ""
    class_: str | None = Field(default="", alias="class")
    custom_details: Any = None


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")
    routing_key: str = ""
    event_action: Literal["trigger", "acknowledge", "resolve"]
    dedup_key: str | None = Field(default=None, max_length=255)
    payload: _Payload | None = None
    links: list[_Link] | None = None
    client: str | None = ""
    client_url: str | None = ""

    @model_validator(mode="after")
    def _complete(self) -> "_Event":
        if self.event_action == "trigger" and self.payload is None:
            raise ValueError("'payload' is missing or blank")
        if self.event_action != "trigger" and not self.dedup_key:
            raise ValueError("'dedup_key' is missing or blank")
        return self


class _ChangePayload(BaseModel):
    model_config = ConfigDict(extra="ignore")
    summary: str = Field(min_length=1)
    source: str | None = ""
    timestamp: AwareDatetime | None = None
    custom_details: Any = None


class _Change(BaseModel):
    model_config = ConfigDict(extra="ignore")
    routing_key: str = ""
    payload: _ChangePayload
    links: list[_Link] | None = None


def errors_of(document: Any, *, change: bool) -> list[str]:
    """Return what the API would refuse in a body, in its words; empty when it is valid."""
    if not isinstance(document, dict):
        return ["Unrecognized object"]
    errors = []
    key = document.get("routing_key")
    if not isinstance(key, str) or not key:
        errors.append("'routing_key' is missing or blank")
    elif len(key) != KEY_LENGTH:
        errors.append(f"Length of 'routing_key' is incorrect (should be {KEY_LENGTH} characters)")
    try:
        (_Change if change else _Event).model_validate(document)
    except ValidationError as error:
        errors += [_in_their_words(detail) for detail in error.errors(include_url=False)]
    return errors


def read_pagerduty(document: Any, *, assigned_key: str, received_at: datetime) -> Received:
    """Read an event or change event; `assigned_key` was given to the sender where it named none itself."""
    try:
        if isinstance(document, dict) and "event_action" not in document:
            return _read_change(_Change.model_validate(document), received_at)
        event = _Event.model_validate(document)
    except ValidationError as error:
        raise UnparsedBodyError(
            "; ".join(_in_their_words(detail) for detail in error.errors(include_url=False))
        ) from None
    return Received((_from_event(event, event.dedup_key or assigned_key, received_at),))


def _from_event(event: _Event, key: str, received_at: datetime) -> ReceivedAlert:
    firing = event.event_action == "trigger"
    fingerprint = key if len(key) <= 128 else hashlib.sha256(key.encode()).hexdigest()
    payload = event.payload
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    starts_at = received_at
    if payload is not None:
        details = payload.custom_details if isinstance(payload.custom_details, dict) else {}
        texts = {str(name): _text(value) for name, value in details.items()}
        labels = bounded(
            {
                "severity": payload.severity,
                "source": payload.source,
                **{name: value for name, value in texts.items() if value and len(value) <= LONGEST_LABEL},
                **({"component": payload.component} if payload.component else {}),
                **({"group": payload.group} if payload.group else {}),
                **({"class": payload.class_} if payload.class_ else {}),
            }
        )
        labels.setdefault("service", payload.component or payload.source)
        annotations = bounded({name: value for name, value in texts.items() if len(value) > LONGEST_LABEL})
        if payload.custom_details is not None and not details:
            annotations["details"] = _text(payload.custom_details)[:4096]
        starts_at = believable(payload.timestamp, received_at) if payload.timestamp else received_at
    url = next((link.href for link in event.links or () if link.href), "") or event.client_url or ""
    return ReceivedAlert(
        fingerprint=fingerprint,
        firing=firing,
        title=title_of(payload.summary if payload else "", labels),
        labels=labels,
        annotations=annotations,
        starts_at=starts_at,
        ends_at=None if firing else received_at,
        url=url[:500],
        drop_unknown=not firing,
        acknowledges=event.event_action == "acknowledge",
    )


def _read_change(change: _Change, received_at: datetime) -> Received:
    payload = change.payload
    details = payload.custom_details if isinstance(payload.custom_details, dict) else {}
    service = _text(details.get("service", "")) or payload.source or ""
    at = believable(payload.timestamp, received_at) if payload.timestamp else received_at
    url = next((link.href for link in change.links or () if link.href), "")
    return Received(alerts=(), changes=(ReceivedChange(title_of(payload.summary, {}), service, at, url[:300]),))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ("" if value is None else repr(value)[:4096])


def _in_their_words(detail: Any) -> str:
    path = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"])
    if detail["type"] in {"missing", "string_too_short"}:
        return f"'{path}' is missing or blank"
    return f"'{path}' is invalid: {detail['msg']}"

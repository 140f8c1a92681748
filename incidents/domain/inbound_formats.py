"""Read alerts out of the bodies that other systems send. Nothing here decides what happens with them.

Alertmanager: webhook body version "4" (prometheus/alertmanager, `template/template.go`, `docs/configuration.md`
`<webhook_config>`). One body is a group; its `status` is firing while any alert fires, so each alert is read for
itself. A firing alert carries `endsAt` of the year 1.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

LONGEST_TITLE = 200
LONGEST_TEXT = 4096
MAX_LABELS = 128


class UnparsedBodyError(ValueError):
    """The body is not of the expected shape; it is kept and shown."""


@dataclass(frozen=True)
class ReceivedAlert:
    """One alert's state as a sender reported it."""

    fingerprint: str
    firing: bool
    title: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    url: str = ""
    group_key: str = ""
    reason: str = ""
    drop_unknown: bool = False
    acknowledges: bool = False


@dataclass(frozen=True)
class ReceivedChange:
    """Something that was changed, as a sender told it; it pages nobody."""

    title: str
    service: str
    at: datetime
    url: str


@dataclass(frozen=True)
class Received:
    """What one body said. `truncated` counts alerts that the sender left out."""

    alerts: tuple[ReceivedAlert, ...]
    truncated: int = 0
    notes: tuple[str, ...] = field(default=())
    changes: tuple[ReceivedChange, ...] = ()


Labels = dict[str, str]


class _Alert(BaseModel):
    model_config = ConfigDict(extra="ignore")
    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = {}
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime | None = Field(default=None, alias="endsAt")
    generator_url: str = Field(default="", alias="generatorURL")
    fingerprint: str = Field(default="", max_length=128)


class _Group(BaseModel):
    model_config = ConfigDict(extra="ignore")
    version: Literal["4"]
    group_key: str = Field(alias="groupKey")
    truncated: int = Field(default=0, alias="truncatedAlerts", ge=0)
    reason: str = Field(default="", alias="notification_reason")
    alerts: list[_Alert]


def without_nul(value: Any) -> Any:
    """Return a parsed document without NUL characters, which no text column of PostgreSQL can hold."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {without_nul(key): without_nul(item) for key, item in value.items()}
    return [without_nul(item) for item in value] if isinstance(value, list) else value


def read_alertmanager(document: Any, *, received_at: datetime) -> Received:
    """Read a webhook body of Alertmanager; raises UnparsedBodyError with the first problems."""
    try:
        group = _Group.model_validate(document)
    except ValidationError as error:
        raise UnparsedBodyError(problems_of(error)) from None
    alerts = [_from_alertmanager(alert, group, received_at) for alert in group.alerts]
    return Received(alerts=tuple(alerts), truncated=group.truncated)


def _from_alertmanager(alert: _Alert, group: _Group, received_at: datetime) -> ReceivedAlert:
    firing = alert.status == "firing"
    labels = bounded(alert.labels)
    return ReceivedAlert(
        fingerprint=alert.fingerprint or fingerprint_of(labels),
        firing=firing,
        title=title_of(alert.annotations.get("summary") or labels.get("alertname", ""), labels),
        labels=labels,
        annotations=bounded(alert.annotations),
        starts_at=believable(alert.starts_at, received_at),
        ends_at=None if firing else believable(alert.ends_at or received_at, received_at),
        url=alert.generator_url[:500],
        group_key=group.group_key[:500],
        reason=group.reason[:80],
    )


class GenericMapping(BaseModel):
    """Where a generic JSON body keeps what matters: dotted paths, `alerts.0.name` style.

    `status` must hold one of `firing_values` or `resolved_values`; without a status path every body means firing.
    `fingerprint` lists the paths that together name the alert; without any, the labels name it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = "title"
    status: str = "status"
    firing_values: tuple[str, ...] = ("firing", "alerting", "triggered", "open", "down", "critical", "error")
    resolved_values: tuple[str, ...] = ("resolved", "ok", "closed", "up", "recovered")
    labels: dict[str, str] = {}
    fixed_labels: dict[str, str] = {}
    fingerprint: tuple[str, ...] = ()
    starts_at: str = ""
    ends_at: str = ""
    description: str = "description"
    url: str = "url"
    event_id: str = ""


def read_generic(document: Any, mapping: GenericMapping, *, received_at: datetime) -> Received:
    """Read any JSON object (or a list of objects) by a mapping; raises UnparsedBodyError."""
    if isinstance(document, list):
        if not document:
            raise UnparsedBodyError("found an empty list; a JSON object, or a list of them, is expected")
        return Received(tuple(_from_generic(item, mapping, received_at) for item in document))
    return Received((_from_generic(document, mapping, received_at),))


def _from_generic(item: Any, mapping: GenericMapping, received_at: datetime) -> ReceivedAlert:
    if not isinstance(item, dict):
        raise UnparsedBodyError(f"found {type(item).__name__}; a JSON object, or a list of them, is expected")
    labels = bounded(
        {
            **{name: text for name, path in mapping.labels.items() if (text := text_at(item, path))},
            **mapping.fixed_labels,
        }
    )
    title = text_at(item, mapping.title)
    if not title and not labels:
        raise UnparsedBodyError(f"nothing at {mapping.title!r} and no label of the mapping is there")
    parts = [text_at(item, path) for path in mapping.fingerprint]
    identity = {**{str(n): part for n, part in enumerate(parts)}} if any(parts) else {**labels, "\0title": title}
    firing = _is_firing(item, mapping)
    description = text_at(item, mapping.description)
    return ReceivedAlert(
        fingerprint=fingerprint_of(identity),
        firing=firing,
        title=title_of(title, labels),
        labels=labels,
        annotations={"description": description[:LONGEST_TEXT]} if description else {},
        starts_at=_time_at(item, mapping.starts_at, received_at),
        ends_at=None if firing else _time_at(item, mapping.ends_at, received_at),
        url=text_at(item, mapping.url)[:500],
    )


def _is_firing(item: Mapping[str, Any], mapping: GenericMapping) -> bool:
    status = text_at(item, mapping.status).lower()
    if not status:
        return True
    if status in mapping.firing_values:
        return True
    if status in mapping.resolved_values:
        return False
    allowed = ", ".join((*mapping.firing_values, *mapping.resolved_values))
    raise UnparsedBodyError(f"{mapping.status} is {status!r}; one of {allowed} is expected")


def text_at(item: Any, path: str) -> str:
    """Return the value at a dotted path as text, empty when there is none."""
    if not path:
        return ""
    for part in path.split("."):
        if isinstance(item, dict):
            item = item.get(part)
        elif isinstance(item, list) and part.isascii() and part.isdigit() and int(part) < len(item):
            item = item[int(part)]
        else:
            return ""
    if isinstance(item, bool):
        return "true" if item else "false"
    return str(item) if isinstance(item, str | int | float) else ""


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """Return a stable name for a set of labels: 16 hexadecimal digits of SHA-256."""
    text = "\0".join(f"{name}\1{value}" for name, value in sorted(labels.items()))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def bounded(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels cut to a size that pages and rules can bear."""
    return {name[:256]: value[:LONGEST_TEXT] for name, value in list(labels.items())[:MAX_LABELS]}


def believable(at: datetime, received_at: datetime) -> datetime:
    """Return the sender's time, or the time of receipt when it is absurd: before 2000 or over an hour ahead."""
    if at.year < 2000 or at > received_at + timedelta(hours=1):
        return received_at
    return at.astimezone(UTC)


def _time_at(item: Mapping[str, Any], path: str, received_at: datetime) -> datetime:
    text = text_at(item, path)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            at = datetime.fromtimestamp(float(text), UTC)
        except (ValueError, OverflowError, OSError):
            return received_at
    return believable(at if at.tzinfo else at.replace(tzinfo=UTC), received_at)


def title_of(text: str, labels: Mapping[str, str]) -> str:
    """Return a title of one line, made of the labels where the text is empty."""
    plain = " ".join(text.split())
    return plain[:LONGEST_TITLE] or ", ".join(f"{k}={v}" for k, v in sorted(labels.items()))[:LONGEST_TITLE] or "alert"


def problems_of(error: ValidationError) -> str:
    """Return the first problems of a body in words."""
    lines = []
    for detail in error.errors(include_url=False)[:5]:
        path = ".".join(str(part) for part in detail["loc"]) or "the body"
        lines.append(f"{path}: {detail['msg']}")
    return "; ".join(lines)

"""Read a stored event by the kind of its integration; a draft mapping can be tried on stored events here too."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from core.parsing import InputRefusedError, load_json
from incidents.data import IntegrationKind
from incidents.domain.cloudevents import read_cloudevents
from incidents.domain.deployments import ReceivedDeployment, read_github, read_gitlab
from incidents.domain.grafana import read_grafana
from incidents.domain.inbound_formats import (
    GenericMapping,
    Received,
    UnparsedBodyError,
    read_alertmanager,
    read_generic,
    without_nul,
)
from incidents.domain.pagerduty import read_pagerduty
from incidents.models import InboundEvent, Integration
from incidents.services.receiving import ASSIGNED_KEY, MAX_BODY_BYTES

INTERNAL_LABELS = (
    "alertname",
    "slo",
    "service",
    "severity",
    "policy",
    "heartbeat",
)
INTERNAL_EVENT = "EVENT"


def read_event(integration: Integration, event: InboundEvent, *, mapping: GenericMapping | None = None) -> Received:
    """Return what an event says. Raises InputRefusedError or UnparsedBodyError.

    A body of Alertmanager or Grafana that a template of theirs has replaced is read by the mapping, where there is one.
    """
    document = parsed_body(event)
    if event.method == INTERNAL_EVENT:
        return _read_internal(document, event.received_at)
    known = mapping or GenericMapping.model_validate(integration.mapping)
    at = event.received_at
    match integration.kind:
        case IntegrationKind.ALERTMANAGER | IntegrationKind.GRAFANA:
            own = read_alertmanager if integration.kind == IntegrationKind.ALERTMANAGER else read_grafana
            try:
                return own(document, received_at=at)
            except UnparsedBodyError:
                if not integration.mapping and mapping is None:
                    raise
                return read_generic(document, known, received_at=at)
        case IntegrationKind.PAGERDUTY:
            return read_pagerduty(document, assigned_key=event.headers.get(ASSIGNED_KEY, ""), received_at=at)
        case IntegrationKind.CLOUDEVENTS:
            return read_cloudevents(_headers_of(event), document, known, received_at=at)
        case IntegrationKind.STANDARD_WEBHOOKS:
            if isinstance(document, dict) and isinstance(document.get("data"), dict):
                document = {**document, **document["data"]}
    return read_generic(document, known, received_at=at)


def read_deployment(integration: Integration, event: InboundEvent) -> ReceivedDeployment | str:
    """Return the deployment that an event of a forge tells of, or why it tells of none."""
    document = parsed_body(event)
    if integration.kind == IntegrationKind.GITHUB:
        return read_github(event.headers, document, received_at=event.received_at)
    return read_gitlab(document, received_at=event.received_at)


def parsed_body(event: InboundEvent) -> Any:
    """Return the body as JSON; in binary mode of CloudEvents, data that is not JSON stays text."""
    raw = bytes(event.body)
    kind = event.content_type.partition(";")[0].strip().lower()
    is_plain = kind and "json" not in kind and "ce-id" in event.headers
    if is_plain or (not raw and "ce-id" in event.headers):
        return raw.decode("utf-8", "replace").replace("\0", "")
    document = load_json(raw, source="body", max_bytes=MAX_BODY_BYTES)
    return without_nul(document) if b"\\u0000" in raw else document


def try_mapping(
    integration: Integration, event: InboundEvent, mapping: GenericMapping
) -> tuple[list[dict[str, Any]], str]:
    """Return what a draft mapping reads out of a stored event, or what is wrong with it."""
    try:
        received = read_event(integration, event, mapping=mapping)
    except (InputRefusedError, UnparsedBodyError) as problem:
        return [], str(problem)
    rows = [
        {
            "title": alert.title,
            "status": "firing" if alert.firing else "resolved",
            "labels": dict(alert.labels),
            "fingerprint": alert.fingerprint,
            "starts_at": alert.starts_at,
        }
        for alert in received.alerts[:20]
    ]
    return rows, ""


def _read_internal(document: Any, received_at: datetime) -> Received:
    labels = document.get("labels", {}) if isinstance(document, dict) else {}
    names = labels if isinstance(labels, dict) else {}
    mapping = GenericMapping(
        labels={name: f"labels.{name}" for name in {*INTERNAL_LABELS, *names} if "." not in name},
        fingerprint=("fingerprint",),
        starts_at="starts_at",
        ends_at="ends_at",
    )
    return read_generic(document, mapping, received_at=received_at)


def _headers_of(event: InboundEvent) -> Mapping[str, str]:
    return {**event.headers, "content-type": event.content_type}


def written(document: Any) -> str:
    """Return a document laid out for reading."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()

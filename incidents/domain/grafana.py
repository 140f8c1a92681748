"""Read Grafana's webhook bodies: unified alerting (version "1") and the legacy form before version 9.

Source: grafana/alerting, `receivers/webhook/v1/webhook.go` and `templates/template_data.go`. `generatorURL` may be a
query alone (`?orgId=1`); it is joined with `externalURL` then.
"""

from datetime import datetime
from typing import Any, Literal
from urllib.parse import urljoin

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from incidents.domain.inbound_formats import (
    Received,
    ReceivedAlert,
    UnparsedBodyError,
    believable,
    bounded,
    fingerprint_of,
    problems_of,
    title_of,
)


class _Alert(BaseModel):
    model_config = ConfigDict(extra="ignore")
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime | None = Field(default=None, alias="endsAt")
    generator_url: str | None = Field(default="", alias="generatorURL")
    fingerprint: str = Field(default="", max_length=128)
    value_string: str | None = Field(default="", alias="valueString")
    dashboard_url: str | None = Field(default="", alias="dashboardURL")
    panel_url: str | None = Field(default="", alias="panelURL")
    rule_uid: str | None = Field(default="", alias="ruleUID")


class _Group(BaseModel):
    model_config = ConfigDict(extra="ignore")
    group_key: str = Field(default="", alias="groupKey")
    truncated: int = Field(default=0, alias="truncatedAlerts", ge=0)
    external_url: str | None = Field(default="", alias="externalURL")
    alerts: list[_Alert]


class _Legacy(BaseModel):
    model_config = ConfigDict(extra="ignore")
    title: str
    state: Literal["alerting", "ok", "no_data", "paused", "pending"]
    rule_id: int | str = Field(alias="ruleId")
    rule_name: str = Field(default="", alias="ruleName")
    rule_url: str = Field(default="", alias="ruleUrl")
    message: str = ""
    tags: dict[str, str] = {}


def read_grafana(document: Any, *, received_at: datetime) -> Received:
    """Read a body of Grafana; raises UnparsedBodyError with the first problems."""
    legacy = isinstance(document, dict) and "alerts" not in document and "ruleId" in document
    try:
        if legacy:
            return _from_legacy(_Legacy.model_validate(document), received_at)
        group = _Group.model_validate(document)
    except ValidationError as error:
        raise UnparsedBodyError(problems_of(error)) from None
    return Received(
        alerts=tuple(_from_alert(alert, group, received_at) for alert in group.alerts), truncated=group.truncated
    )


def _from_alert(alert: _Alert, group: _Group, received_at: datetime) -> ReceivedAlert:
    firing = alert.status == "firing"
    labels = bounded(alert.labels)
    extra = {
        "value": alert.value_string,
        "dashboard": alert.dashboard_url,
        "panel": alert.panel_url,
        "rule_uid": alert.rule_uid,
    }
    return ReceivedAlert(
        fingerprint=alert.fingerprint or fingerprint_of(labels),
        firing=firing,
        title=title_of(alert.annotations.get("summary") or labels.get("alertname", ""), labels),
        labels=labels,
        annotations=bounded({**alert.annotations, **{name: value for name, value in extra.items() if value}}),
        starts_at=believable(alert.starts_at, received_at),
        ends_at=None if firing else believable(alert.ends_at or received_at, received_at),
        url=urljoin(group.external_url or "", alert.generator_url or "")[:500],
        group_key=group.group_key[:500],
    )


def _from_legacy(body: _Legacy, received_at: datetime) -> Received:
    if body.state in {"paused", "pending"}:
        return Received(alerts=(), notes=(f"the rule is {body.state}; that is no alert",))
    firing = body.state != "ok"
    labels = bounded({"alertname": body.rule_name or body.title, **body.tags, "grafana_state": body.state})
    labels_of_rule = {"rule": str(body.rule_id), "alertname": body.rule_name}
    alert = ReceivedAlert(
        fingerprint=fingerprint_of(labels_of_rule),
        firing=firing,
        title=title_of(body.title, labels),
        labels=labels,
        annotations=bounded({"description": body.message} if body.message else {}),
        starts_at=received_at,
        ends_at=None if firing else received_at,
        url=body.rule_url[:500],
    )
    return Received(alerts=(alert,))

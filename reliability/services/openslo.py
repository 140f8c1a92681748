"""What an OpenSLO v1 document may say here. Unknown keys are refused."""

from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[a-z0-9]([a-z0-9-]{0,118}[a-z0-9])?$"
DURATION = r"^[1-9][0-9]{0,3}[mhdw]$"
MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 10_080}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Strict):
    """The name and title of a thing."""

    name: str = Field(pattern=NAME)
    displayName: str = ""  # noqa: N815 the format's own spelling
    labels: dict[str, str | list[str]] = {}
    annotations: dict[str, str] = {}


class OtlpQuery(_Strict):
    """Points of an OpenTelemetry metric, or spans: by resource and point attributes, and for histograms up to `le`."""

    metric: str = ""
    span: str = ""
    resource: dict[str, str] = {}
    where: dict[str, str] = {}
    le: float | None = None

    @model_validator(mode="after")
    def _one_signal(self) -> "OtlpQuery":
        if bool(self.metric) == bool(self.span):
            raise ValueError("name either a metric or a span")
        return self


class PrometheusQuery(_Strict):
    """A series selector of counters, as `http_requests_total{code!~"5.."}`."""

    query: str = Field(
        pattern=r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{([^{}"]|"(\\.|[^"\\])*")*\})?$|^\{([^{}"]|"(\\.|[^"\\])*")+\}$',
        max_length=1000,
    )


class MetricSource(_Strict):
    """Where a side of the ratio comes from; `type` may be left out when a DataSource is named."""

    type: Literal["otlp", "prometheus", "Prometheus"] | None = None
    metricSourceRef: str | None = None  # noqa: N815
    spec: dict[str, Any]

    @model_validator(mode="after")
    def _has_type(self) -> "MetricSource":
        if self.type is None and self.metricSourceRef is None:
            raise ValueError("give a type, or name a DataSource in metricSourceRef")
        return self

    @property
    def kind(self) -> str:
        """The type in small letters."""
        return (self.type or "prometheus").lower()


class Side(_Strict):
    """Good, bad or total."""

    metricSource: MetricSource  # noqa: N815


class RatioMetric(_Strict):
    """Good events over all events."""

    counter: Literal[True]
    good: Side
    total: Side


class SLISpec(_Strict):
    """An indicator."""

    description: str = ""
    ratioMetric: RatioMetric  # noqa: N815


class Indicator(_Strict):
    """An inline indicator."""

    metadata: Metadata
    spec: SLISpec


class Calendar(_Strict):
    """Where calendar periods begin, in local time."""

    startTime: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2})?$")  # noqa: N815
    timeZone: str  # noqa: N815


class TimeWindow(_Strict):
    """A rolling window of days or weeks, or calendar periods."""

    duration: str = Field(pattern=r"^[1-9][0-9]{0,2}[dwMQY]$")
    isRolling: bool  # noqa: N815
    calendar: Calendar | None = None

    @model_validator(mode="after")
    def _rolling_or_calendar(self) -> "TimeWindow":
        if self.isRolling and (self.calendar is not None or self.duration[-1] not in "dw"):
            raise ValueError("a rolling window is of days (d) or weeks (w) and has no calendar")
        if not self.isRolling and self.calendar is None:
            raise ValueError("a window that is not rolling needs a calendar")
        return self


class Objective(_Strict):
    """The share of events that must be good."""

    displayName: str = ""  # noqa: N815
    target: Decimal | None = Field(default=None, gt=0, lt=1, max_digits=9, decimal_places=8)
    targetPercent: Decimal | None = Field(default=None, gt=0, lt=100, max_digits=9, decimal_places=6)  # noqa: N815

    @model_validator(mode="after")
    def _one_target(self) -> "Objective":
        if (self.target is None) == (self.targetPercent is None):
            raise ValueError("give either target or targetPercent")
        return self

    @property
    def ratio(self) -> Decimal:
        """The target as a ratio."""
        return self.target if self.target is not None else Decimal(self.targetPercent or 0) / 100


class BurnRateCondition(_Strict):
    """Fires when the budget is spent this much faster than allowed."""

    kind: Literal["burnrate"]
    op: Literal["gt", "gte"]
    threshold: float = Field(gt=0)
    lookbackWindow: str = Field(pattern=DURATION)  # noqa: N815
    alertAfter: Literal["0m"] = "0m"  # noqa: N815


class AlertConditionSpec(_Strict):
    """A condition with its severity."""

    description: str = ""
    severity: Literal["critical", "page", "warning", "ticket", "info"]
    condition: BurnRateCondition


class ConditionRef(_Strict):
    """A condition by name."""

    conditionRef: str  # noqa: N815


class InlineCondition(_Strict):
    """A condition in place."""

    kind: Literal["AlertCondition"]
    metadata: Metadata
    spec: AlertConditionSpec


class AlertPolicySpec(_Strict):
    """When to alert. Whom is the routing's to say, not the policy's."""

    description: str = ""
    alertWhenBreaching: Literal[True] = True  # noqa: N815
    alertWhenResolved: bool = True  # noqa: N815
    alertWhenNoData: Literal[False] = False  # noqa: N815
    conditions: list[ConditionRef | InlineCondition] = Field(min_length=1, max_length=1)
    notificationTargets: list[Any] = Field(default=[], max_length=0)  # noqa: N815


class PolicyRef(_Strict):
    """A policy by name."""

    alertPolicyRef: str  # noqa: N815


class InlinePolicy(_Strict):
    """A policy in place."""

    kind: Literal["AlertPolicy"]
    metadata: Metadata
    spec: AlertPolicySpec


class SLOSpec(_Strict):
    """An SLO."""

    description: str = Field(default="", max_length=1050)
    service: str
    indicator: Indicator | None = None
    indicatorRef: str | None = None  # noqa: N815
    timeWindow: list[TimeWindow] = Field(min_length=1, max_length=1)  # noqa: N815
    budgetingMethod: Literal["Occurrences"]  # noqa: N815
    objectives: list[Objective] = Field(min_length=1, max_length=1)
    alertPolicies: list[PolicyRef | InlinePolicy] = []  # noqa: N815

    @model_validator(mode="after")
    def _one_indicator(self) -> "SLOSpec":
        if (self.indicator is None) == (self.indicatorRef is None):
            raise ValueError("give either indicator or indicatorRef")
        return self


class ConnectionDetails(_Strict):
    """How to reach a Prometheus server."""

    url: str = Field(pattern=r"^https?://")
    allowPrivate: bool = False  # noqa: N815


class DataSourceSpec(_Strict):
    """A metric store."""

    description: str = ""
    type: Literal["prometheus", "Prometheus"]
    connectionDetails: ConnectionDetails  # noqa: N815


class ServiceSpec(_Strict):
    """A service, which the catalog must know."""

    description: str = ""


class _Document(_Strict):
    apiVersion: Literal["openslo/v1"]  # noqa: N815
    kind: str
    metadata: Metadata


class ServiceDocument(_Document):
    """`kind: Service`: a reference to the catalog's service of this name."""

    spec: ServiceSpec


class DataSourceDocument(_Document):
    """`kind: DataSource`."""

    spec: DataSourceSpec


class SLIDocument(_Document):
    """`kind: SLI`."""

    spec: SLISpec


class AlertConditionDocument(_Document):
    """`kind: AlertCondition`."""

    spec: AlertConditionSpec


class AlertPolicyDocument(_Document):
    """`kind: AlertPolicy`."""

    spec: AlertPolicySpec


class SLODocument(_Document):
    """`kind: SLO`."""

    spec: SLOSpec


Document = (
    ServiceDocument | DataSourceDocument | SLIDocument | AlertConditionDocument | AlertPolicyDocument | SLODocument
)

# In the order in which they are applied: what is referred to comes first.
KINDS: dict[str, type[Document]] = {
    "Service": ServiceDocument,
    "DataSource": DataSourceDocument,
    "SLI": SLIDocument,
    "AlertCondition": AlertConditionDocument,
    "AlertPolicy": AlertPolicyDocument,
    "SLO": SLODocument,
}

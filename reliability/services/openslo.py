"""What an OpenSLO v1 document may say here. Unknown keys are refused."""

# ruff: noqa: N815 the format's own spelling

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from reliability.services.openslo_queries import Strict

NAME = r"^[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?$"
DURATION = r"^[1-9][0-9]{0,3}[mhdw]$"
WAIT = r"^[0-9]{1,4}[mhdw]$"
MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 10_080}
API_VERSION = "openslo/v1"


class Metadata(Strict):
    """The name and title of a thing."""

    name: str = Field(pattern=NAME)
    displayName: str = Field(default="", max_length=200)
    labels: dict[str, str | list[str]] = {}
    annotations: dict[str, str] = {}


class MetricSource(Strict):
    """Where a side of the ratio comes from; `type` may be left out when a DataSource is named."""

    type: Literal["otlp", "prometheus", "Prometheus", "probe"] | None = None
    metricSourceRef: str | None = None
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


class Side(Strict):
    """Good, bad or total."""

    metricSource: MetricSource


class RatioMetric(Strict):
    """Good events over all events, or bad ones over all; or a ratio that the source made, which is approximate."""

    counter: bool | None = None
    good: Side | None = None
    bad: Side | None = None
    total: Side | None = None
    raw: Side | None = None
    rawType: Literal["success", "failure"] | None = None

    @model_validator(mode="after")
    def _events_or_raw(self) -> "RatioMetric":
        if (self.raw is None) != (self.rawType is None):
            raise ValueError("raw and rawType stand together")
        if self.raw is not None:
            if self.good is not None or self.bad is not None or self.total is not None:
                raise ValueError("give either raw, or total with good or bad")
            return self
        if self.total is None or (self.good is None) == (self.bad is None):
            raise ValueError("give total and either good or bad, or raw with rawType")
        if not self.counter:
            raise ValueError("counter must be true: events are counted from what only grows")
        return self


class ThresholdMetric(Strict):
    """A gauge: each of its samples is an event, good when the objective's `op` and `value` hold."""

    metricSource: MetricSource


class SLISpec(Strict):
    """An indicator."""

    description: str = Field(default="", max_length=1050)
    ratioMetric: RatioMetric | None = None
    thresholdMetric: ThresholdMetric | None = None

    @model_validator(mode="after")
    def _one_metric(self) -> "SLISpec":
        if (self.ratioMetric is None) == (self.thresholdMetric is None):
            raise ValueError("give either ratioMetric or thresholdMetric")
        return self


class Indicator(Strict):
    """An inline indicator."""

    metadata: Metadata
    spec: SLISpec


class Calendar(Strict):
    """Where calendar periods begin, in local time."""

    startTime: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2})?$")
    timeZone: str


class TimeWindow(Strict):
    """A rolling window, or calendar periods."""

    duration: str = Field(pattern=r"^[1-9][0-9]{0,3}[mhdwMQY]$")
    isRolling: bool
    calendar: Calendar | None = None

    @model_validator(mode="after")
    def _rolling_or_calendar(self) -> "TimeWindow":
        if self.isRolling and (self.calendar is not None or self.duration[-1] not in "mhdw"):
            raise ValueError("a rolling window is of minutes (m), hours (h), days (d) or weeks (w) and has no calendar")
        if not self.isRolling and (self.calendar is None or self.duration[-1] not in "dwMQY"):
            raise ValueError("a window that is not rolling is of days or longer (d, w, M, Q, Y) and needs a calendar")
        return self


class Objective(Strict):
    """The share of events that must be good; in a composite SLO each objective has an indicator of its own."""

    displayName: str = Field(default="", max_length=200)
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    value: float | None = None
    target: Decimal | None = Field(default=None, gt=0, lt=1, max_digits=9, decimal_places=8)
    targetPercent: Decimal | None = Field(default=None, gt=0, lt=100, max_digits=9, decimal_places=6)
    timeSliceTarget: Decimal | None = Field(default=None, gt=0, le=1, max_digits=9, decimal_places=8)
    timeSliceWindow: int | str | None = None
    indicator: Indicator | None = None
    indicatorRef: str | None = None
    compositeWeight: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _is_whole(self) -> "Objective":
        if (self.target is None) == (self.targetPercent is None):
            raise ValueError("give either target or targetPercent")
        if (self.op is None) != (self.value is None):
            raise ValueError("op and value stand together")
        if self.indicator is not None and self.indicatorRef is not None:
            raise ValueError("give either indicator or indicatorRef")
        if self.timeSliceWindow is not None and not 1 <= self.slice_minutes <= 1440:
            raise ValueError("timeSliceWindow is a whole number of minutes, or a duration as 5m, of at most a day")
        return self

    @property
    def ratio(self) -> Decimal:
        """The target as a ratio."""
        return self.target if self.target is not None else Decimal(self.targetPercent or 0) / 100

    @property
    def slice_minutes(self) -> int:
        """The length of a time slice; 0 where it is not one."""
        if isinstance(self.timeSliceWindow, int):
            return self.timeSliceWindow
        text = self.timeSliceWindow or ""
        if text[:-1].isdecimal() and text[-1] in MINUTES:
            return int(text[:-1]) * MINUTES[text[-1]]
        return 0

    @property
    def has_indicator(self) -> bool:
        """Say whether the objective has an indicator of its own."""
        return self.indicator is not None or self.indicatorRef is not None


class BurnRateCondition(Strict):
    """Fires when the budget is spent this much faster than allowed."""

    kind: Literal["burnrate"]
    op: Literal["gt", "gte", "lt", "lte"]
    threshold: float = Field(gt=0)
    lookbackWindow: str = Field(pattern=DURATION)
    alertAfter: str = Field(default="0m", pattern=WAIT)


class AlertConditionSpec(Strict):
    """A condition with its severity."""

    description: str = Field(default="", max_length=1050)
    severity: Literal["critical", "page", "warning", "ticket", "info"]
    condition: BurnRateCondition


class ConditionRef(Strict):
    """A condition by name."""

    conditionRef: str


class InlineCondition(Strict):
    """A condition in place."""

    kind: Literal["AlertCondition"]
    metadata: Metadata
    spec: AlertConditionSpec


class TargetSpec(Strict):
    """Where alerts go, in the words of whoever sends them."""

    target: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=1050)


class TargetRef(Strict):
    """A notification target by name."""

    targetRef: str


class InlineTarget(Strict):
    """A notification target in place."""

    kind: Literal["AlertNotificationTarget"]
    metadata: Metadata
    spec: TargetSpec


class AlertPolicySpec(Strict):
    """When to alert. Whom is the routing's to say: targets are kept and exported."""

    description: str = Field(default="", max_length=1050)
    alertWhenBreaching: bool = True
    alertWhenResolved: bool = True
    alertWhenNoData: bool = False
    conditions: list[ConditionRef | InlineCondition] = Field(min_length=1, max_length=1)
    notificationTargets: list[TargetRef | InlineTarget] = []


class PolicyRef(Strict):
    """A policy by name."""

    alertPolicyRef: str


class InlinePolicy(Strict):
    """A policy in place."""

    kind: Literal["AlertPolicy"]
    metadata: Metadata
    spec: AlertPolicySpec


class SLOSpec(Strict):
    """An SLO. A composite one has its indicators in the objectives."""

    description: str = Field(default="", max_length=1050)
    service: str
    indicator: Indicator | None = None
    indicatorRef: str | None = None
    timeWindow: list[TimeWindow] = Field(min_length=1, max_length=1)
    budgetingMethod: Literal["Occurrences", "Timeslices", "RatioTimeslices"]
    objectives: list[Objective] = Field(min_length=1, max_length=20)
    alertPolicies: list[PolicyRef | InlinePolicy] = []

    @property
    def is_composite(self) -> bool:
        """Say whether the objectives carry the indicators."""
        return self.indicator is None and self.indicatorRef is None

    @model_validator(mode="after")
    def _fits_together(self) -> "SLOSpec":
        own = [objective.has_indicator for objective in self.objectives]
        if self.indicator is not None and self.indicatorRef is not None:
            raise ValueError("give either indicator or indicatorRef")
        if self.is_composite and not all(own):
            raise ValueError("give either indicator or indicatorRef, or one of them in each objective")
        if not self.is_composite and any(own):
            raise ValueError("an objective has an indicator only where the SLO has none")
        if any(objective.compositeWeight is not None for objective in self.objectives) and not self.is_composite:
            raise ValueError("compositeWeight is for objectives with an indicator of their own")
        slices = self.budgetingMethod != "Occurrences"
        for objective in self.objectives:
            if slices != (objective.timeSliceWindow is not None):
                raise ValueError(
                    f"{self.budgetingMethod}: timeSliceWindow {'is required' if slices else 'has no place'}"
                )
            if (self.budgetingMethod == "Timeslices") != (objective.timeSliceTarget is not None):
                raise ValueError(
                    f"{self.budgetingMethod}: timeSliceTarget "
                    f"{'has no place' if objective.timeSliceTarget is not None else 'is required'}"
                )
        if len({(objective.timeSliceWindow, objective.timeSliceTarget) for objective in self.objectives}) > 1 and (
            self.is_composite
        ):
            raise ValueError("the objectives of a composite share one timeSliceWindow and timeSliceTarget")
        return self


class ConnectionDetails(Strict):
    """How to reach a Prometheus server. Who may administer the site, or the command line, allows its host thereby.

    Secrets are kept encrypted; exported as `***`, which when applied leaves them as they are.
    """

    url: str = Field(pattern=r"^https?://", max_length=200)
    allowPrivate: bool = False
    flavour: Literal["auto", "prometheus", "thanos", "mimir", "victoriametrics"] | None = None
    bearerToken: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    tenant: str | None = None
    clientCertificate: str | None = None
    clientKey: SecretStr | None = None
    caCertificate: str | None = None
    replicaLabels: list[str] | None = None
    readEverySeconds: int | None = Field(default=None, ge=5, le=300)
    queriesPerSecond: float | None = Field(default=None, gt=0, le=100)
    seriesLimit: int | None = Field(default=None, ge=1, le=200_000)


class DataSourceSpec(Strict):
    """A metric store."""

    description: str = Field(default="", max_length=1050)
    type: Literal["prometheus", "Prometheus"]
    connectionDetails: ConnectionDetails


class ServiceSpec(Strict):
    """A service."""

    description: str = Field(default="", max_length=1050)


class _Document(Strict):
    apiVersion: Literal["openslo/v1"]
    kind: str
    metadata: Metadata


class ServiceDocument(_Document):
    """`kind: Service`: the catalog's service of this name; one that it does not know is added to it."""

    spec: ServiceSpec


class DataSourceDocument(_Document):
    """`kind: DataSource`."""

    spec: DataSourceSpec


class SLIDocument(_Document):
    """`kind: SLI`."""

    spec: SLISpec


class TargetDocument(_Document):
    """`kind: AlertNotificationTarget`."""

    spec: TargetSpec


class AlertConditionDocument(_Document):
    """`kind: AlertCondition`."""

    spec: AlertConditionSpec


class AlertPolicyDocument(_Document):
    """`kind: AlertPolicy`."""

    spec: AlertPolicySpec


class SLODocument(_Document):
    """`kind: SLO`."""

    spec: SLOSpec


NamedDocument = (
    ServiceDocument | DataSourceDocument | SLIDocument | TargetDocument | AlertConditionDocument | AlertPolicyDocument
)
Document = NamedDocument | SLODocument

# In the order in which they are applied: what is referred to comes first.
KINDS: dict[str, type[Document]] = {
    "Service": ServiceDocument,
    "DataSource": DataSourceDocument,
    "SLI": SLIDocument,
    "AlertNotificationTarget": TargetDocument,
    "AlertCondition": AlertConditionDocument,
    "AlertPolicy": AlertPolicyDocument,
    "SLO": SLODocument,
}

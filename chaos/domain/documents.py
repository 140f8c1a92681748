"""What an experiment's file may say: typed faults with a time to live, a steady state, its guards, and when it runs."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chaos.domain.durations import Duration
from chaos.domain.schedules import ScheduleSpec
from chaos.domain.windows import Window

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Percent = Annotated[float, Field(ge=0, le=100)]


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(Strict):
    """The name and title of an experiment."""

    name: Name
    title: str = Field(default="", max_length=120)


class FaultSpec(Strict):
    """One fault, and how long it lasts even if everything that watches it dies.

    `one_way` says knowingly that it cannot be undone; such a fault needs somebody else's approval everywhere.
    """

    action: str
    arguments: dict[str, Any]
    ttl: Duration = Field(ge=timedelta(seconds=5), le=timedelta(hours=1))
    one_way: bool = False


class BlastRadius(Strict):
    """How much may be hurt: targets of a fault, their share of those that match, and how many must stay healthy."""

    max_targets: int = Field(ge=1, le=50)
    max_share_percent: int = Field(default=100, ge=1, le=100)
    min_healthy: int = Field(default=0, ge=0, le=50)


class ProbeSpec(Strict):
    """A typed action that only looks and must answer well."""

    action: str
    arguments: dict[str, Any]


class SteadyState(Strict):
    """No burn alert of these SLOs fires and every probe answers well.

    It must hold before, and again within `recover_within` after the faults are undone. With `throughout`, it must also
    hold while the faults last: the services must hide them, not only recover.
    """

    slos: list[str] = Field(default=[], max_length=10)
    probes: list[ProbeSpec] = Field(default=[], max_length=10)
    recover_within: Duration = Field(default=timedelta(minutes=5), le=timedelta(hours=1))
    throughout: bool = False

    @model_validator(mode="after")
    def _not_nothing(self) -> "SteadyState":
        if not self.slos and not self.probes:
            raise ValueError("name SLOs, probes or both")
        return self


class ErrorBudget(Strict):
    """What the error budget asks: when it is spent, refuse or leave it to the approver; in percent of the budget,
    what must be left, what a run is expected to spend (reserved while it goes on), and where it is stopped.
    """

    when_spent: Literal["refuse", "approver-decides"] = "refuse"
    at_least_percent: Percent | None = None
    reserve_percent: Percent = 0
    cap_percent: Percent | None = None


class AbortCondition(Strict):
    """Stop when an SLO's burn rate over the last minutes exceeds this."""

    slo: str
    burn_rate_above: float = Field(gt=0)
    minutes: int = Field(default=2, ge=1, le=60)


class Presence(Strict):
    """What must be there before a run: somebody on call in a schedule, and a runbook."""

    on_call: str = ""
    runbook: str = ""


class ExperimentSpec(Strict):
    """An experiment. `approval: production` asks for one only in production and for faults that are one way."""

    environment: str
    services: list[str] = Field(min_length=1, max_length=20)
    hypothesis: str = Field(min_length=1, max_length=500)
    faults: list[FaultSpec] = Field(min_length=1, max_length=10)
    hold: Duration = Field(le=timedelta(hours=1))
    blast_radius: BlastRadius
    steady_state: SteadyState
    error_budget: ErrorBudget = ErrorBudget()
    abort: list[AbortCondition] = []
    approval: Literal["always", "production"] = "always"
    allowed: list[Window] = Field(default=[], max_length=20)
    require: Presence = Presence()
    schedule: ScheduleSpec | None = None


class ExperimentDocument(Strict):
    """`kind: Experiment`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Experiment"]
    metadata: Metadata
    spec: ExperimentSpec


Pattern = Annotated[str, Field(pattern=r"^[a-z*]+:[^\s:][^\s]{0,199}$")]


class TargetListSpec(Strict):
    """Which targets may be hurt in an environment, by patterns over `kind:name`; `never` wins."""

    environment: str
    allow: list[Pattern] = Field(min_length=1, max_length=100)
    never: list[Pattern] = Field(default=[], max_length=100)


class TargetListDocument(Strict):
    """`kind: TargetList`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["TargetList"]
    metadata: Metadata
    spec: TargetListSpec


class BlackoutSpec(Strict):
    """When nothing runs: everywhere, or in one environment."""

    environment: str = ""
    windows: list[Window] = Field(min_length=1, max_length=50)


class BlackoutDocument(Strict):
    """`kind: Blackout`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Blackout"]
    metadata: Metadata
    spec: BlackoutSpec

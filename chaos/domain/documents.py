"""What an experiment's file may say: typed faults with a time to live, a steady state, and its guards."""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_DURATION = re.compile(r"([1-9][0-9]{0,5})([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def _duration(value: object) -> object:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]]) if match else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(_Strict):
    """The name and title of an experiment."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    title: str = Field(default="", max_length=120)


class FaultSpec(_Strict):
    """One fault: a reversible action, and how long it lasts even if everything that watches it dies."""

    action: str
    arguments: dict[str, Any]
    ttl: Duration = Field(ge=timedelta(seconds=5), le=timedelta(hours=1))


class BlastRadius(_Strict):
    """How much may be hurt: targets of a fault, and the share of those that its selector matches."""

    max_targets: int = Field(ge=1, le=50)
    max_share_percent: int = Field(default=100, ge=1, le=100)


class SteadyState(_Strict):
    """No burn alert of these SLOs fires: before, and again within `recover_within` after the faults are undone.

    With `throughout`, none may fire while the faults last either: the services must hide them, not only recover.
    """

    slos: list[str] = Field(min_length=1, max_length=10)
    recover_within: Duration = Field(default=timedelta(minutes=5), le=timedelta(hours=1))
    throughout: bool = False


class ErrorBudget(_Strict):
    """What a spent or unknown error budget means: refuse the run, or leave it to the approver."""

    when_spent: Literal["refuse", "approver-decides"] = "refuse"


class AbortCondition(_Strict):
    """Stop when an SLO's burn rate over the last minutes exceeds this."""

    slo: str
    burn_rate_above: float = Field(gt=0)
    minutes: int = Field(default=2, ge=1, le=60)


class ExperimentSpec(_Strict):
    """An experiment."""

    environment: str
    services: list[str] = Field(min_length=1, max_length=20)
    hypothesis: str = Field(min_length=1, max_length=500)
    faults: list[FaultSpec] = Field(min_length=1, max_length=10)
    hold: Duration = Field(le=timedelta(hours=1))
    blast_radius: BlastRadius
    steady_state: SteadyState
    error_budget: ErrorBudget = ErrorBudget()
    abort: list[AbortCondition] = []


class ExperimentDocument(_Strict):
    """`kind: Experiment`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Experiment"]
    metadata: Metadata
    spec: ExperimentSpec

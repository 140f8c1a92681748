"""What the files of game days and suites may say."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from chaos.domain.documents import Metadata, Name, Strict
from chaos.domain.durations import Duration
from chaos.domain.retests import RETEST_WITHIN
from chaos.domain.schedules import ScheduleSpec


class GameDayStep(Strict):
    """One step: something that a person does within a time, or an experiment that is run."""

    do: str = Field(default="", max_length=500)
    who: str = Field(default="", max_length=80)
    within: Duration = Field(default=timedelta(minutes=10), ge=timedelta(seconds=10), le=timedelta(hours=4))
    run: Name | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "GameDayStep":
        if bool(self.do) == (self.run is not None):
            raise ValueError("say what a person does (do), or which experiment is run (run)")
        return self


class GameDaySpec(Strict):
    """A rehearsal: what it is about and its steps in order."""

    environment: str
    services: list[str] = Field(min_length=1, max_length=20)
    purpose: str = Field(min_length=1, max_length=500)
    steps: list[GameDayStep] = Field(min_length=1, max_length=50)


class GameDayDocument(Strict):
    """`kind: GameDay`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["GameDay"]
    metadata: Metadata
    spec: GameDaySpec


RetestPeriod = Annotated[Duration, Field(ge=timedelta(days=1), le=timedelta(days=366))]


class RetestPolicySpec(Strict):
    """Within what time a mended finding must be tried again, by the tier of the service."""

    tier_1: RetestPeriod = RETEST_WITHIN[1]
    tier_2: RetestPeriod = RETEST_WITHIN[2]
    tier_3: RetestPeriod = RETEST_WITHIN[3]
    tier_4: RetestPeriod = RETEST_WITHIN[4]

    @property
    def periods(self) -> dict[int, timedelta]:
        """The period of each tier."""
        return {1: self.tier_1, 2: self.tier_2, 3: self.tier_3, 4: self.tier_4}

    @model_validator(mode="after")
    def _no_lower_tier_sooner(self) -> "RetestPolicySpec":
        if list(self.periods.values()) != sorted(self.periods.values()):
            raise ValueError("a lower tier must not have a shorter period than a higher one")
        return self


class RetestPolicyDocument(Strict):
    """`kind: RetestPolicy`; the site has one."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["RetestPolicy"]
    metadata: Metadata
    spec: RetestPolicySpec


class SuiteSpec(Strict):
    """Experiments of a service that take turns by a schedule."""

    service: str
    experiments: list[Name] = Field(min_length=1, max_length=50)
    schedule: ScheduleSpec


class SuiteDocument(Strict):
    """`kind: Suite`."""

    apiVersion: Literal["assay/v1"]  # noqa: N815 the format's own spelling
    kind: Literal["Suite"]
    metadata: Metadata
    spec: SuiteSpec

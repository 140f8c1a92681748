"""When a schedule is due: cron in a zone, with a jitter that a turn keeps; missed turns are counted."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from chaos.domain.durations import Duration
from chaos.domain.windows import Zone

MOST_COUNTED = 10_000
MOST_LOOKED_AT = 400
SATURDAY = 5
BUSINESS_HOURS = (9, 17)


def _is_cron(text: str) -> str:
    try:
        next(CronSim(text, datetime(2026, 1, 1)))  # noqa: DTZ001 only whether it can be read, and ever falls due
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"not a cron expression that falls due: {error}") from None
    return text


class ScheduleSpec(BaseModel):
    """When an experiment runs by itself, and on which condition; with `business_hours` only while people work."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cron: Annotated[str, AfterValidator(_is_cron)]
    zone: Zone = "UTC"
    jitter: Duration = Field(default=timedelta(0), ge=timedelta(0), le=timedelta(hours=12))
    business_hours: bool = False
    late_by_at_most: Duration = Field(default=timedelta(minutes=15), ge=timedelta(minutes=1), le=timedelta(hours=12))
    when_budget_left_percent: float | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _falls_due(self) -> "ScheduleSpec":
        turns = CronSim(self.cron, datetime(2026, 1, 1))  # noqa: DTZ001 only whether it falls due at all
        if self.business_hours and not any(is_business_hour(turn) for turn in islice(turns, MOST_LOOKED_AT)):
            raise ValueError("it never falls due from Monday to Friday between nine and five")
        return self


@dataclass(frozen=True)
class Turn:
    """One time that a schedule falls due: by the clock, and with its jitter."""

    nominal: datetime
    due: datetime


def next_turn(spec: ScheduleSpec, *, after: datetime, seed: str) -> Turn:
    """Return the first turn whose nominal time is after an instant."""
    turn = None
    for nominal in CronSim(spec.cron, after.astimezone(ZoneInfo(spec.zone))):
        turn = Turn(nominal, nominal + _jitter(spec, nominal, seed))
        if not spec.business_hours or is_business_hour(turn.due):
            break
    assert turn is not None  # noqa: S101 a cron expression that never falls due is refused
    return turn


def is_business_hour(at: datetime) -> bool:
    """Say whether an instant is from Monday to Friday between nine and five, on the clock that it is given in."""
    return at.weekday() < SATURDAY and BUSINESS_HOURS[0] <= at.hour < BUSINESS_HOURS[1]


def turns_missed(spec: ScheduleSpec, *, nominal: datetime, now: datetime) -> int:
    """Return how many turns fell due after `nominal` and up to `now`."""
    missed = 0
    for at in CronSim(spec.cron, nominal.astimezone(ZoneInfo(spec.zone))):
        if at > now or missed >= MOST_COUNTED:
            break
        missed += 1
    return missed


def _jitter(spec: ScheduleSpec, nominal: datetime, seed: str) -> timedelta:
    digest = hashlib.sha256(f"{seed} {nominal.isoformat()}".encode()).digest()
    return spec.jitter * (int.from_bytes(digest[:8], "big") / 2**64)

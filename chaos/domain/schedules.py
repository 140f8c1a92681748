"""When a schedule is due: cron in a zone, with a jitter that a turn keeps; missed turns are counted."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from chaos.domain.durations import Duration
from chaos.domain.windows import Zone

MOST_COUNTED = 10_000


def _is_cron(text: str) -> str:
    try:
        next(CronSim(text, datetime(2026, 1, 1)))  # noqa: DTZ001 only whether it can be read, and ever falls due
    except (CronSimError, StopIteration) as error:
        raise ValueError(f"not a cron expression that falls due: {error}") from None
    return text


class ScheduleSpec(BaseModel):
    """When an experiment runs by itself, and on which condition."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    cron: Annotated[str, AfterValidator(_is_cron)]
    zone: Zone = "UTC"
    jitter: Duration = Field(default=timedelta(0), ge=timedelta(0), le=timedelta(hours=12))
    late_by_at_most: Duration = Field(default=timedelta(minutes=15), ge=timedelta(minutes=1), le=timedelta(hours=12))
    when_budget_left_percent: float | None = Field(default=None, ge=0, le=100)


@dataclass(frozen=True)
class Turn:
    """One time that a schedule falls due: by the clock, and with its jitter."""

    nominal: datetime
    due: datetime


def next_turn(spec: ScheduleSpec, *, after: datetime, seed: str) -> Turn:
    """Return the first turn whose nominal time is after an instant."""
    nominal = next(CronSim(spec.cron, after.astimezone(ZoneInfo(spec.zone))))
    return Turn(nominal, nominal + _jitter(spec, nominal, seed))


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

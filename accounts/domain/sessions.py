"""How long a sign-in lasts."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Ended(StrEnum):
    """Why a session is over."""

    IDLE = "idle"
    AGE = "age"


@dataclass(frozen=True)
class SessionRules:
    """`idle` is the longest pause, `life` the longest session, `fresh` how long a sign-in opens dangerous doors."""

    idle: timedelta
    life: timedelta
    fresh: timedelta


def why_over(*, signed_in_at: datetime, seen_at: datetime, now: datetime, rules: SessionRules) -> Ended | None:
    """Say why a session is over at `now`, or None. A clock that was set back ends nothing."""
    if now - signed_in_at >= rules.life:
        return Ended.AGE
    return Ended.IDLE if now - seen_at >= rules.idle else None


def is_fresh(*, authenticated_at: datetime, now: datetime, rules: SessionRules) -> bool:
    """Say whether somebody showed lately enough who they are; an instant ahead of the clock shows nothing."""
    age = now - authenticated_at
    return timedelta(seconds=-60) <= age < rules.fresh

"""Production readiness: what a service has to show in the ledger, in three phases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from compliance.domain.rules import Condition, Fact, holds, why_not


class Phase(StrEnum):
    """What comes first."""

    FOUNDATION = "foundation"
    PRODUCTION = "production"
    SCALE = "scale"


class Verdict(StrEnum):
    """What an item came to."""

    SHOWN = "shown"
    WAIVED = "waived"
    FAILED = "failed"
    MISSING = "missing"


class Item(BaseModel):
    """Something to show: an entry about the service within the days that meets the conditions.

    `newest` looks at the newest entry alone, so that a failed test is not covered by an older one that passed.
    `for_tiers` are the tiers that must show it; an empty list means all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9-]{2,60}$")
    title: str
    phase: Phase
    entries: list[str] = Field(min_length=1)
    where: list[Condition] = []
    expect: list[Condition] = []
    days: int = Field(default=400, ge=1, le=800)
    newest: bool = True
    for_tiers: list[int] = []


@dataclass(frozen=True)
class Shown:
    """An item with its verdict and the entry behind it."""

    item: Item
    verdict: Verdict
    reason: str
    entry: int | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class PhaseResult:
    """A phase, and how many of its items are shown or waived."""

    phase: Phase
    items: Sequence[Shown]

    @property
    def shown(self) -> int:
        """How many are shown."""
        return sum(one.verdict is Verdict.SHOWN for one in self.items)

    @property
    def reached(self) -> bool:
        """Say whether every item is shown or waived."""
        return all(one.verdict in {Verdict.SHOWN, Verdict.WAIVED} for one in self.items)


def services_of(fact: Fact) -> set[str]:
    """Return the services that an entry is about: its subject, and what its content names."""
    named = fact.payload.get("services")
    found = {one for one in named if isinstance(one, str)} if isinstance(named, list) else set()
    if isinstance(service := fact.payload.get("service"), str) and service:
        found.add(service)
    if fact.subject.startswith("service:"):
        found.add(fact.subject.removeprefix("service:"))
    return found


def is_chosen(item: Item, fact: Fact) -> bool:
    """Say whether an entry is one that an item looks at."""
    return fact.entry_type in item.entries and all(holds(one, fact) for one in item.where)


def shows(item: Item, fact: Fact) -> bool:
    """Say whether an entry shows what an item asks for."""
    return all(holds(one, fact) for one in item.expect)


def judge_item(item: Item, facts: Iterable[Fact], *, now: datetime, waived: bool) -> Shown:
    """Judge an item from the entries about the service, newest first."""
    since = now - timedelta(days=item.days)
    chosen = [one for one in facts if one.occurred_at >= since and is_chosen(item, one)]
    looked_at = chosen[:1] if item.newest else chosen
    reasons: list[str] = []
    for one in looked_at:
        failures = [reason for condition in item.expect if (reason := why_not(condition, one))]
        if not failures:
            return Shown(item, Verdict.SHOWN, "", one.entry, one.occurred_at)
        reasons += failures
    found = looked_at[0] if looked_at else None
    reason = "; ".join(dict.fromkeys(reasons)) or f"no {' or '.join(item.entries)} within {item.days} days"
    if waived:
        return Shown(item, Verdict.WAIVED, reason, found.entry if found else None, found.occurred_at if found else None)
    if found is None:
        return Shown(item, Verdict.MISSING, reason)
    return Shown(item, Verdict.FAILED, reason, found.entry, found.occurred_at)


def by_phase(shown: Sequence[Shown]) -> list[PhaseResult]:
    """Group items by phase, in order."""
    return [PhaseResult(phase, [one for one in shown if one.item.phase is phase]) for phase in Phase]


def reached_phase(results: Sequence[PhaseResult]) -> Phase | None:
    """Return the last phase that is reached with all before it; None when the first is not."""
    last = None
    for one in results:
        if not one.reached:
            break
        last = one.phase
    return last

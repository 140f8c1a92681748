"""Declarative rules over ledger entries: which entries count, what each must show, how often."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compliance.domain.periods import Cadence
from compliance.domain.plugins import failures_of


@dataclass(frozen=True)
class Fact:
    """A ledger entry as far as rules look at it."""

    entry: int
    entry_type: str
    occurred_at: datetime
    actor: str
    subject: str
    payload: Mapping[str, Any]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Condition(_Strict):
    """One thing that an entry's field must show; exactly one of the tests is given.

    `field` is a name in the payload, or `entry.actor`, `entry.subject`. A list is measured by its length.
    """

    field: str
    state: Literal["present", "absent"] | None = None
    equals: str | int | bool | None = None
    one_of: list[str] | None = None
    starts_with: str | None = None
    at_least: int | None = None
    at_most: int | None = None
    at_least_field: str | None = None
    at_most_field: str | None = None
    differs_from: str | None = None
    within_seconds: int | None = None
    after: str | None = None

    @model_validator(mode="after")
    def _one_test(self) -> "Condition":
        tests = self.model_dump(exclude={"field", "after"}, exclude_none=True)
        if len(tests) != 1:
            raise ValueError(f"exactly one test is allowed for {self.field}, found {len(tests)}")
        if (self.within_seconds is None) != (self.after is None):
            raise ValueError("within_seconds and after stand together")
        return self

    def words(self) -> str:
        """Say the condition in words, for people who read no YAML."""
        return f"{self.field.replace('_', ' ')} {self._asked()}"

    def _asked(self) -> str:
        if self.state:
            return "is stated" if self.state == "present" else "is empty"
        if self.within_seconds is not None:
            return f"within {_span(self.within_seconds)} of {_plain(self.after)}"
        asked = (
            ("is", self.equals),
            ("is", " or ".join(self.one_of) if self.one_of else None),
            ("starts with", self.starts_with),
            ("is not the", self.differs_from),
            ("at least", self.at_least),
            ("at least", self.at_least_field),
            ("at most", self.at_most),
            ("at most", self.at_most_field),
        )
        return next(f"{words} {_plain(value)}" for words, value in asked if value is not None)


class Alive(_Strict):
    """What shows that the collector worked, so that 'nothing happened' can be told from 'nothing was recorded'."""

    entries: list[str] = Field(min_length=1)
    within_days: int = Field(ge=1, le=400)


class Rule(_Strict):
    """What a check asks of the ledger.

    With the cadence `event` each entry that `entries` and `where` select is an occurrence, and passes when all of
    `expect` hold. With a calendar cadence an occurrence is due in each period, and passes when `count` such entries
    pass in it. `operating_from_percent` is the share of occurrences from which the control still counts as operating,
    with exceptions. `fresh_days` is how old the last occurrence may be. `python` names a check of a plug-in that each
    entry must pass as well.
    """

    entries: list[str] = Field(min_length=1)
    where: list[Condition] = []
    expect: list[Condition] = []
    cadence: Cadence
    count: int = Field(default=1, ge=1)
    fresh_days: int | None = Field(default=None, ge=1)
    operating_from_percent: int = Field(default=80, ge=1, le=100)
    alive: Alive | None = None
    python: str | None = Field(default=None, max_length=80)

    def selects(self, fact: Fact) -> bool:
        """Say whether an entry belongs to the population."""
        return fact.entry_type in self.entries and all(holds(one, fact) for one in self.where)

    def failures(self, fact: Fact) -> list[str]:
        """Return what an entry of the population does not show; none means that it passes."""
        found = [reason for one in self.expect if (reason := why_not(one, fact))]
        return found + (failures_of(self.python, fact) if self.python else [])


def holds(condition: Condition, fact: Fact) -> bool:
    """Say whether a condition holds."""
    return _holds(condition, _value(fact, condition.field), fact)


def why_not(condition: Condition, fact: Fact) -> str:
    """Return why a condition does not hold, or nothing when it does."""
    value = _value(fact, condition.field)
    return "" if _holds(condition, value, fact) else f"{condition.words()}: found {_shown(value)}"


def _holds(condition: Condition, value: Any, fact: Fact) -> bool:
    if condition.state:
        return (value in (None, "", [])) == (condition.state == "absent")
    if condition.within_seconds is not None:
        start, end = _instant(_value(fact, condition.after)), _instant(value)
        return start is not None and end is not None and (end - start).total_seconds() <= condition.within_seconds
    if condition.differs_from:
        return value not in (None, "") and value != _value(fact, condition.differs_from)
    if condition.starts_with is not None:
        return isinstance(value, str) and value.startswith(condition.starts_with)
    return _equal_or_measured(condition, value, fact)


def _equal_or_measured(condition: Condition, value: Any, fact: Fact) -> bool:
    if condition.one_of is not None:
        return str(value) in condition.one_of
    if condition.equals is not None:
        return bool(value == condition.equals) and isinstance(value, bool) == isinstance(condition.equals, bool)
    return _measured(condition, value, fact)


def _measured(condition: Condition, value: Any, fact: Fact) -> bool:
    amount = _amount(value)
    low = condition.at_least if condition.at_least is not None else _amount(_value(fact, condition.at_least_field))
    high = condition.at_most if condition.at_most is not None else _amount(_value(fact, condition.at_most_field))
    bound = low if (condition.at_least is not None or condition.at_least_field) else high
    if amount is None or bound is None:
        return False
    return amount >= bound if (condition.at_least is not None or condition.at_least_field) else amount <= bound


def _value(fact: Fact, name: str | None) -> Any:
    if name == "entry.actor":
        return fact.actor
    if name == "entry.subject":
        return fact.subject
    value: Any = fact.payload
    for part in (name or "").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _amount(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return len(value) if isinstance(value, list | dict) else None


def _instant(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return found if isinstance(found, datetime) and found.tzinfo else None


def _plain(value: object) -> str:
    return (str(value).lower() if isinstance(value, bool) else str(value)).replace("_", " ")


def _span(seconds: int) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "nothing"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

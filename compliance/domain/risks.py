"""Rules of the risk register: what a cell of the matrix means, what an indicator's value means, where it leads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from math import ceil
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from compliance.domain.rules import Condition


class Level(StrEnum):
    """What a product of likelihood and impact means."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


ORDER = tuple(Level)
LIKELIHOODS = ("rare", "unlikely", "possible", "likely", "almost certain")
IMPACTS = ("negligible", "minor", "moderate", "major", "severe")
# Upper ends of the products that start as low, medium and high; what is above is critical.
ENDS = (4, 9, 15)
FORECAST_POINTS = 30


class IndicatorState(StrEnum):
    """What a value means."""

    FINE = "fine"
    WARNING = "warning"
    BREACHED = "breached"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Scale:
    """The matrix in force."""

    likelihoods: Sequence[str]
    impacts: Sequence[str]
    levels: Sequence[Sequence[str]]

    def level(self, likelihood: int, impact: int) -> Level:
        """Return what a cell means; beyond the scale, its last row or column counts."""
        row = self.levels[min(likelihood, len(self.levels)) - 1]
        return Level(row[min(impact, len(row)) - 1])


def first_scale() -> Scale:
    """Return the scale that a new site starts with."""

    def level(product: int) -> str:
        return next((ORDER[n].value for n, end in enumerate(ENDS) if product <= end), Level.CRITICAL.value)

    cells = [[level(row * column) for column in range(1, 6)] for row in range(1, 6)]
    return Scale(LIKELIHOODS, IMPACTS, cells)


def scale_problems(scale: Scale) -> list[str]:
    """Say what is wrong with an edited matrix: more likely or worse must never mean less."""
    found = []
    if not (3 <= len(scale.likelihoods) <= 7 and 3 <= len(scale.impacts) <= 7):
        found.append("between 3 and 7 steps of likelihood and of impact are allowed")
    if any(not name.strip() for name in (*scale.likelihoods, *scale.impacts)):
        found.append("every step needs a name")
    if len(scale.levels) != len(scale.likelihoods) or any(len(row) != len(scale.impacts) for row in scale.levels):
        return [*found, "every cell needs a level"]
    rank = [[ORDER.index(Level(cell)) for cell in row] for row in scale.levels]
    sideways = any(row[n] > row[n + 1] for row in rank for n in range(len(row) - 1))
    upwards = any(rank[n][c] > rank[n + 1][c] for n in range(len(rank) - 1) for c in range(len(rank[0])))
    if sideways or upwards:
        found.append("a cell that is more likely or worse may not have a lower level")
    return found


class Measure(BaseModel):
    """How an indicator reads the ledger.

    `count`: entries within the days. `age_days`: days since the newest. `lowest`, `highest`: of each subject's newest
    entry within the days, the lowest or highest value of `field`. `failing_controls`: controls of the risk that are not
    operating, stale or silent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["count", "age_days", "lowest", "highest", "failing_controls"]
    entries: list[str] = []
    where: list[Condition] = []
    field: str = ""
    days: int = Field(default=30, ge=1, le=400)

    @model_validator(mode="after")
    def _whole(self) -> "Measure":
        if self.kind != "failing_controls" and not self.entries:
            raise ValueError(f"{self.kind} needs entries")
        if (self.kind in {"lowest", "highest"}) != bool(self.field):
            raise ValueError("lowest and highest need a field, the others have none")
        return self


def state_of(value: Decimal | None, *, warn_at: Decimal, breach_at: Decimal) -> IndicatorState:
    """Return what a value means. Where the breach lies below the warning, low values are bad."""
    if value is None:
        return IndicatorState.UNKNOWN
    sign = 1 if breach_at > warn_at else -1
    if sign * value >= sign * breach_at:
        return IndicatorState.BREACHED
    return IndicatorState.WARNING if sign * value >= sign * warn_at else IndicatorState.FINE


def days_to_breach(points: Sequence[tuple[date, Decimal]], *, warn_at: Decimal, breach_at: Decimal) -> int | None:
    """Return in how many days the line through the last points reaches the breach; None when it does not head there.

    An ordinary least-squares line over at most 30 daily points; fewer than three say nothing.
    """
    last = sorted(points)[-FORECAST_POINTS:]
    if len(last) < 3:
        return None
    days = [Decimal((day - last[0][0]).days) for day, _ in last]
    values = [value for _, value in last]
    zero = Decimal(0)
    middle, mean = sum(days, zero) / len(days), sum(values, zero) / len(values)
    spread = sum(((day - middle) ** 2 for day in days), zero)
    if not spread:
        return None
    slope = sum(((day - middle) * (value - mean) for day, value in zip(days, values, strict=True)), zero) / spread
    sign = 1 if breach_at > warn_at else -1
    missing = sign * (breach_at - values[-1])
    if missing <= 0:
        return 0
    return ceil(missing / (sign * slope)) if sign * slope > 0 else None


# What a page offers; YAML may say more. Each with its usual warning and breach.
PRESETS: dict[str, tuple[str, Measure, Decimal, Decimal]] = {
    "budget": (
        "Lowest error budget left of any SLO",
        Measure(kind="lowest", entries=["slo.window_reported"], field="error_budget_remaining_ratio", days=45),
        Decimal("0.25"),
        Decimal(0),
    ),
    "incidents": (
        "Incidents opened in 30 days",
        Measure(kind="count", entries=["incident.opened"], days=30),
        Decimal(5),
        Decimal(10),
    ),
    "recovery": (
        "Days since a recovery test passed",
        Measure(
            kind="age_days",
            entries=["recovery.test_finished"],
            where=[Condition(field="outcome", one_of=["passed", "succeeded", "met"])],
        ),
        Decimal(90),
        Decimal(120),
    ),
    "backup": (
        "Days since a backup was made",
        Measure(kind="age_days", entries=["recovery.backup_made"]),
        Decimal(2),
        Decimal(7),
    ),
    "controls": (
        "Controls of this risk that fail, are stale or silent",
        Measure(kind="failing_controls"),
        Decimal(1),
        Decimal(2),
    ),
}

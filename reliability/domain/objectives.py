"""What an SLO promises: objectives, and how budget is reckoned (OpenSLO v1 `budgetingMethod` and `objectives`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Method(StrEnum):
    """How events become a budget."""

    OCCURRENCES = "Occurrences"
    TIMESLICES = "Timeslices"
    RATIO_TIMESLICES = "RatioTimeslices"


class ExclusionRule(StrEnum):
    """What an excluded minute counts as.

    `drop-events`: its events are left out of the ratio; a time slice of which nothing is left is a good one, so the
    number of slices stays. `drop-time`: the minute is left out altogether, so the budget in slices becomes smaller.
    `count-good`: its events are good ones.
    """

    DROP_EVENTS = "drop-events"
    DROP_TIME = "drop-time"
    COUNT_GOOD = "count-good"


@dataclass(frozen=True)
class Objective:
    """One promise; `part` is the slug of the hidden SLO that counts for it in a composite one."""

    name: str
    target: Decimal
    slice_minutes: int = 0
    slice_target: Decimal | None = None
    op: str = ""
    value: float | None = None
    weight: float = 1.0
    part: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what `objective_from_json` reads."""
        return {
            "name": self.name,
            "target": str(self.target),
            "slice_minutes": self.slice_minutes,
            "slice_target": str(self.slice_target) if self.slice_target is not None else None,
            "op": self.op,
            "value": self.value,
            "weight": self.weight,
            "part": self.part,
        }


def objective_from_json(data: Mapping[str, Any]) -> Objective:
    """Read what `as_json` wrote."""
    return Objective(
        **{
            **data,
            "target": Decimal(data["target"]),
            "slice_target": Decimal(data["slice_target"]) if data["slice_target"] is not None else None,
        }
    )


def holds(op: str, value: float, threshold: float) -> bool:
    """Say whether a gauge's value is good: `value op threshold`. NaN never is."""
    return {
        "lte": value <= threshold,
        "lt": value < threshold,
        "gte": value >= threshold,
        "gt": value > threshold,
    }[op]

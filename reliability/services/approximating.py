"""Counts by a source's own `increase`, where raw samples cannot be read: marked approximate wherever they show.

`increase` extrapolates, so its figures are not whole: they are rounded so that their running sum stays within half an
event of the source's.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from reliability.domain.budgets import Counts
from reliability.domain.counting import WHOLE, Found
from reliability.services.prometheus import PrometheusReader


def is_expression(indicator: Mapping[str, Any]) -> bool:
    """Say whether an indicator asks by PromQL expressions, which are never exact."""
    return bool(indicator.get("expression"))


def approximate_counts(
    reader: PrometheusReader, indicator: Mapping[str, Any], *, begin: datetime, until: datetime
) -> Found:
    """Return the events of the full minutes between two instants; `$window` stands for a minute."""
    minutes = range(int(begin.timestamp() // 60), int(until.timestamp() // 60))
    if "value" in indicator:
        values = reader.increase(_written(indicator, "value"), minutes=minutes)
        holds = {"lte": float.__le__, "lt": float.__lt__, "gte": float.__ge__, "gt": float.__gt__}[indicator["op"]]
        bound = float(indicator["threshold"])
        counts = {minute: Counts(1, 0) if holds(value, bound) else Counts(0, 1) for minute, value in values.items()}
        return Found({WHOLE: counts})
    name = "bad" if "bad" in indicator else "good"
    total = _whole(reader.increase(_written(indicator, "total"), minutes=minutes))
    part = _whole(reader.increase(_written(indicator, name), minutes=minutes))
    counts = {}
    for minute, events in total.items():
        # Two extrapolations may disagree; a part is never more than the whole.
        some = min(part.get(minute, 0), events)
        counts[minute] = Counts(some, events - some) if name == "good" else Counts(events - some, some)
    return Found({WHOLE: counts})


def _written(indicator: Mapping[str, Any], side: str) -> str:
    text = str(indicator[side])
    return text if is_expression(indicator) or side == "value" else f"sum(increase({text}[$window]))"


def _whole(values: Mapping[int, float]) -> dict[int, int]:
    found, exact, given = {}, 0.0, 0
    for minute, value in sorted(values.items()):
        exact += max(value, 0.0)
        found[minute] = round(exact) - given
        given += found[minute]
    return found

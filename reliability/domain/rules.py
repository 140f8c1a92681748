"""Which events of a stream an SLO counts, and which of them are good."""

import struct
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reliability.domain.budgets import Counts
from reliability.domain.readings import Reading

_COMPARE = {"lte": float.__le__, "lt": float.__lt__, "gte": float.__ge__, "gt": float.__gt__}


@dataclass(frozen=True)
class Narrowing:
    """Attributes that must be equal, and a bound for values."""

    resource: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    le: float | None = None

    def takes(self, attributes: Mapping[str, str], resource: Mapping[str, str]) -> bool:
        """Say whether a stream of these attributes is meant."""
        return has(self.where, attributes) and has(self.resource, resource)


@dataclass(frozen=True)
class EventRule:
    """What one SLO version counts of pushed events.

    `part` narrows the total: the good events, or with `part_is_bad` the bad ones. With `op`, values of a gauge are
    events, good when they compare as they should. Nothing from before `counted_from` (nanoseconds) counts.
    """

    tally_id: int
    counted_from: int
    total: Narrowing
    part: Narrowing = field(default_factory=Narrowing)
    part_is_bad: bool = False
    op: str = ""
    threshold: float = 0.0
    group_by: tuple[str, ...] = ()
    keep_buckets: bool = False

    def group(self, attributes: Mapping[str, str], resource: Mapping[str, str]) -> tuple[str, ...]:
        """Return the values of the grouping labels."""
        return tuple(attributes.get(label, resource.get(label, "")) for label in self.group_by)

    def counts(self, increment: Reading, *, in_part: bool) -> Counts:
        """Return an increment as events; `in_part` says whether its stream is one of the part."""
        total = increment.total
        if not in_part:
            return self.sided(0, total, 0)
        if self.part.le is None:
            return self.sided(total, 0, 0)
        return self.sided(*increment.split_at(self.part.le))

    def sided(self, part: int, rest: int, unknown: int) -> Counts:
        """Return events of the part and of the rest as good and bad ones."""
        good, bad = (rest, part) if self.part_is_bad else (part, rest)
        return Counts(good, bad, unknown, 0, unknown)

    def judged(self, value: float) -> Counts:
        """Return a gauge's value as an event."""
        return Counts(good=1) if _COMPARE[self.op](float(value), self.threshold) else Counts(bad=1)


def rule_of(tally_id: int, indicator: Mapping[str, Any], *, counted_from: int) -> EventRule:
    """Return the rule of an indicator of pushed events."""
    group_by, keep = tuple(indicator.get("group_by", ())), bool(indicator.get("keep_buckets"))
    if "value" in indicator:
        return EventRule(
            tally_id,
            counted_from,
            _narrowing(indicator["value"]),
            op=indicator["op"],
            threshold=float(indicator["threshold"]),
            group_by=group_by,
        )
    name = "bad" if "bad" in indicator else "good"
    total, part = _narrowing(indicator["total"]), _narrowing(indicator[name])
    return EventRule(
        tally_id, counted_from, total, part, part_is_bad=name == "bad", group_by=group_by, keep_buckets=keep
    )


def signal_of(indicator: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of the metric and of the span that an indicator counts; one of them is empty."""
    query = indicator["value"] if "value" in indicator else indicator["total"]
    return query["metric"], query["span"]


def split_of(bounds: bytes, le: float) -> tuple[int, bool]:
    """Return how many buckets are wholly up to `le`, and whether the next one straddles it.

    `bounds` are little-endian doubles, as OTLP writes them.
    """
    limits = struct.unpack(f"<{len(bounds) // 8}d", bounds)
    position = bisect_right(limits, le)
    exact = position > 0 and limits[position - 1] == le
    return position, not exact


def has(wanted: Mapping[str, str], attributes: Mapping[str, str]) -> bool:
    """Say whether attributes are as wanted."""
    return all(attributes.get(key) == value for key, value in wanted.items())


def _narrowing(query: Mapping[str, Any]) -> Narrowing:
    return Narrowing(query["resource"], query["where"], query["le"])

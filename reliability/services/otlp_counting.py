"""Credit the points of one metric of one resource to the SLOs that count it."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isnan
from operator import sub
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    NumberDataPoint,
)

from core.parsing import refuse
from reliability.data import DataState
from reliability.domain.budgets import Counts
from reliability.domain.readings import ExponentialReading, HistogramReading, Reading
from reliability.domain.rules import EventRule, split_of
from reliability.domain.spreads import Spread, add_to_spread
from reliability.domain.streams import Credit, CumulativeStream
from reliability.services.otlp_points import HIGHEST_COUNT, NO_RECORDED_VALUE, Received, attributes_of, reading_of
from reliability.services.otlp_rules import NANO, Rules
from reliability.services.otlp_streams import Block, Entry
from reliability.services.otlp_wire import Layout, layout_of, rest_of

LONGEST_COVER_MINUTES = 60
MINUTE = 60 * NANO
EXEMPLARS_PER_MINUTE = 5
CUMULATIVE = 2
POINTS: dict[str, Any] = {
    "histogram": HistogramDataPoint,
    "exponential_histogram": ExponentialHistogramDataPoint,
    "sum": NumberDataPoint,
    "gauge": NumberDataPoint,
}
Role = tuple[int, bool, tuple[str, ...]]
"""Which rule, whether the stream is of its part, and its group."""


@dataclass
class Tallied:
    """What a request adds: counts by rule, group and minute; buckets and exemplars where they are kept."""

    counts: dict[tuple[int, tuple[str, ...], int], list[int]] = field(default_factory=dict)
    exemplars: dict[tuple[int, int], list[tuple[str, str, float]]] = field(default_factory=dict)
    spreads: dict[tuple[int, int], Spread] = field(default_factory=dict)

    def add(self, tally_id: int, group: tuple[str, ...], minute: int, counts: Counts) -> None:
        """Add events; a minute that is named is measured."""
        cell = self.counts.setdefault((tally_id, group, minute), [0, 0, 0])
        cell[0] += counts.good
        cell[1] += counts.bad
        cell[2] += counts.unknown

    def keep(self, rule: EventRule, minute: int, reading: Reading) -> None:
        """Keep how the values of a minute are spread, for an SLO that asks for it."""
        add_to_spread(self.spreads.setdefault((rule.tally_id, minute), {}), reading.bounded())


class MetricCounter:
    """Counts the points of one metric of one resource."""

    def __init__(  # noqa: PLR0917 what a metric is, and where its counts go
        self,
        name: str,
        kind: str,
        temporality: int,
        rules: Rules,
        resource: Mapping[str, str],
        block: Block,
        received: Received,
        tallied: Tallied,
    ) -> None:
        self.name, self.kind, self.rules, self.resource = name, kind, rules, resource
        self.cumulative = temporality == CUMULATIVE
        self.block, self.received, self.tallied = block, received, tallied
        self.keeping = any(rule.keep_buckets for rule in rules)
        self.splits: dict[bytes, list[tuple[int, bool] | None]] = {}
        self.problems: dict[int, str] = {}
        self.covered: set[tuple[int, int, int, tuple[str, ...]]] = set()

    def count(self, points: Iterable[bytes]) -> None:
        """Count points; those of the usual layout quickly, the others by the official message."""
        if self.kind != "histogram" or not self.cumulative:
            for point in points:
                self._slowly(point)
            return
        layout: Layout | None = None
        for point in points:
            numbers = layout.numbers(point) if layout is not None else None
            if numbers is None:
                layout = layout_of(point)
                numbers = layout.numbers(point) if layout is not None else None
            if layout is None or numbers is None or not self._quickly(point, layout, numbers):
                self._slowly(point)

    def _quickly(self, point: bytes, layout: Layout, numbers: tuple[Any, ...]) -> bool:
        """Credit a further reading of a living stream; False when the rules of streams must decide."""
        rest = rest_of(point, layout.read.size)
        if rest is None:
            return False
        entry = self.block.aliases.get(rest[0])
        if entry is None or entry.stream is not None:
            return False
        start, time = numbers[1], numbers[3]
        counts = numbers[layout.first_count : layout.after_counts]
        if start != entry.start or time <= entry.time or len(counts) != len(entry.counts):
            return False
        if (layout.bounds_tag and numbers[-1] != entry.bounds) or sum(counts) != numbers[5]:
            return False
        grown = list(map(sub, counts, entry.counts))
        if min(grown) < 0 or numbers[5] > HIGHEST_COUNT or self._time_problem(time):
            return False
        since, entry.time, entry.counts = entry.time, time, counts
        if entry.roles_for is not self.rules:
            self._assign(entry)
        roles: list[Role] = entry.roles  # type: ignore[assignment] # set by _assign
        minute = time // MINUTE
        splits = self.splits.get(entry.bounds) or self._split(entry.bounds)
        for number, in_part, group in roles:
            self._add_grown(number, group, minute, since, grown, splits[number] if in_part else (0, False))
            if (
                self.keeping
                and in_part
                and self.rules[number].keep_buckets
                and since >= self.rules[number].counted_from
            ):
                bounds = struct.unpack(f"<{len(entry.bounds) // 8}d", entry.bounds)
                self.tallied.keep(self.rules[number], minute, HistogramReading(bounds, tuple(grown)))
        if rest[1][0] != rest[1][1] and any(grown):
            self._keep_exemplars(roles, minute, point[rest[1][0] : rest[1][1]])
        return True

    def _add_grown(  # noqa: PLR0917 one step of the innermost loop
        self,
        number: int,
        group: tuple[str, ...],
        minute: int,
        since: int,
        grown: list[int],
        split: tuple[int, bool] | None,
    ) -> None:
        rule = self.rules[number]
        key = (rule.tally_id, group, minute)
        cell = self.tallied.counts.get(key)
        if cell is None:
            cell = self.tallied.counts[key] = [0, 0, 0]
        if since < rule.counted_from:
            return
        if since // MINUTE < minute - 1:
            self.covered.add((number, since // MINUTE, minute, group))
        total = sum(grown)
        if not total:
            return
        part, unknown = total, 0
        if split is not None:
            position, straddles = split
            part = sum(grown[:position])
            unknown = grown[position] if straddles else 0
        cell[rule.part_is_bad] += part
        cell[not rule.part_is_bad] += total - part - unknown
        cell[2] += unknown

    def finish(self) -> None:
        """Mark the minutes between two points of a living stream as measured."""
        for number, since, minute, group in self.covered:
            for covered in range(max(since + 1, minute - LONGEST_COVER_MINUTES), minute):
                self.tallied.counts.setdefault((self.rules[number].tally_id, group, covered), [0, 0, 0])

    def _slowly(self, raw: bytes) -> None:
        try:
            point = POINTS[self.kind].FromString(raw)
        except DecodeError:
            raise refuse(
                "body", found="bytes that are not the message", allowed="an OTLP export request is allowed"
            ) from None
        if point.flags & NO_RECORDED_VALUE:
            return
        if self.kind == "gauge":
            self._judge(point)
            return
        reading = reading_of(self.kind, point)
        entry = self._entry_of(point)
        if isinstance(reading, str):
            odd = DataState.ODD_VALUES if self.kind == "sum" else None
            self._reject(entry, reading, state=odd)
            return
        if problem := self._time_problem(point.time_unix_nano):
            self._reject(entry, problem)
            return
        self._note_scale(entry, reading)
        stream, credit = entry.as_stream(cumulative=self.cumulative).credit(
            start=point.start_time_unix_nano, time=point.time_unix_nano, reading=reading
        )
        if credit.refused:
            self._reject(entry, credit.refused)
            return
        entry.take(stream)
        self.block.shape_changed = True
        if self.kind == "histogram" and (layout := layout_of(raw)) and (rest := rest_of(raw, layout.read.size)):
            self.block.aliases[rest[0]] = entry
        self._credit(entry, point, credit)

    def _reject(self, entry: Entry, reason: str, *, state: DataState | None = None) -> None:
        self.received.reject(1, self.name, reason, tallies=self._tallies(entry), state=state)

    def _tallies(self, entry: Entry) -> list[int]:
        roles: list[Role] = entry.roles  # type: ignore[assignment] # set by _assign
        return [self.rules[number].tally_id for number, _, _ in roles]

    def _note_scale(self, entry: Entry, reading: Reading) -> None:
        """Tell of an exponential histogram whose buckets have become wider or narrower: counted at the wider."""
        if not isinstance(reading, ExponentialReading) or not isinstance(entry.stream, CumulativeStream):
            return
        before = entry.stream.generations[-1].reading if entry.stream.generations else None
        if isinstance(before, ExponentialReading) and before.scale != reading.scale:
            text = (
                f"{self.name}: the scale went from {before.scale} to {reading.scale}; what was counted stays as it is"
            )
            self.received.note(text, DataState.SCALE_CHANGED, tallies=self._tallies(entry))

    def _entry_of(self, point: Any) -> Entry:
        entry = self.block.entry(orjson.dumps(sorted(attributes_of(point.attributes).items())).decode())
        if entry.roles_for is not self.rules:
            self._assign(entry)
        return entry

    def _credit(self, entry: Entry, point: Any, credit: Credit) -> None:
        minute = point.time_unix_nano // MINUTE
        roles: list[Role] = entry.roles  # type: ignore[assignment] # set by _assign
        for number, in_part, group in roles:
            rule = self.rules[number]
            if point.time_unix_nano < rule.counted_from:
                continue
            counts = Counts()
            if credit.increment is not None and credit.since >= rule.counted_from:
                # What a stream counted before the SLO took effect is not the SLO's.
                counts = rule.counts(credit.increment, in_part=in_part)
                if credit.since // MINUTE < minute - 1:
                    self.covered.add((number, credit.since // MINUTE, minute, group))
                if counts.bad and point.exemplars:
                    self._take_exemplars(rule, minute, point.exemplars)
                if rule.keep_buckets and in_part:
                    self.tallied.keep(rule, minute, credit.increment)
            self.tallied.add(rule.tally_id, group, minute, counts)

    def _judge(self, point: Any) -> None:
        """Count a gauge's value, once: a repeat is told by its time."""
        value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        entry = self._entry_of(point)
        if isnan(value):
            self._reject(entry, "the value is not a number", state=DataState.ODD_VALUES)
            return
        if problem := self._time_problem(point.time_unix_nano):
            self._reject(entry, problem)
            return
        stream, credit = entry.as_stream(cumulative=False).credit(
            start=point.time_unix_nano - 1, time=point.time_unix_nano, reading=HistogramReading((), (1,))
        )
        if credit.refused:
            self._reject(entry, credit.refused)
            return
        entry.take(stream)
        roles: list[Role] = entry.roles  # type: ignore[assignment] # set by _assign
        for number, _, group in roles if credit.increment is not None else ():
            rule = self.rules[number]
            if point.time_unix_nano >= rule.counted_from:
                self.tallied.add(rule.tally_id, group, point.time_unix_nano // MINUTE, rule.judged(value))

    def _assign(self, entry: Entry) -> None:
        """Decide, once for a stream, which rules count it and as what."""
        attributes = dict(orjson.loads(entry.key))
        entry.roles = [
            (number, bool(rule.op) or rule.part.takes(attributes, self.resource), rule.group(attributes, self.resource))
            for number, rule in enumerate(self.rules)
            if rule.total.takes(attributes, self.resource)
        ]
        entry.roles_for = self.rules

    def _split(self, bounds: bytes) -> list[tuple[int, bool] | None]:
        self.splits[bounds] = [None if rule.part.le is None else split_of(bounds, rule.part.le) for rule in self.rules]
        return self.splits[bounds]

    def _time_problem(self, time: int) -> str:
        if time not in self.problems:
            self.problems[time] = self.received.time_problem(time)
        return self.problems[time]

    def _keep_exemplars(self, roles: list[Role], minute: int, raw: bytes) -> None:
        """Keep traces of bad values, as far as there is room: up to five for each SLO and minute."""
        wanting = [
            (self.rules[number], in_part)
            for number, in_part, _ in roles
            if len(self.tallied.exemplars.get((self.rules[number].tally_id, minute), ())) < EXEMPLARS_PER_MINUTE
        ]
        if not wanting:
            return
        exemplars = HistogramDataPoint.FromString(raw).exemplars
        for rule, in_part in wanting:
            self._take_exemplars(rule, minute, exemplars, in_part=in_part)

    def _take_exemplars(
        self, rule: EventRule, minute: int, exemplars: Iterable[Exemplar], *, in_part: bool = True
    ) -> None:
        kept = self.tallied.exemplars.setdefault((rule.tally_id, minute), [])
        for one in exemplars:
            value = float(one.as_int if one.WhichOneof("value") == "as_int" else one.as_double)
            inside = in_part and (rule.part.le is None or value <= rule.part.le)
            if inside == rule.part_is_bad and len(one.trace_id) == 16 and len(kept) < EXEMPLARS_PER_MINUTE:
                kept.append((one.trace_id.hex(), one.span_id.hex(), value))


def problem_of(kind: str, temporality: int, rules: Rules, *, monotonic: bool) -> str:
    """Return why no point of a metric can be counted, or nothing."""
    wants_values = any(rule.op for rule in rules)
    if kind == "gauge" and wants_values:
        return ""
    if kind not in {"sum", "histogram", "exponential_histogram"}:
        return f"a {kind or 'metric without data'} does not count events"
    if wants_values:
        return f"a {kind} has no value to compare; a gauge has"
    if kind == "sum" and not monotonic:
        return "a sum that is not monotonic does not count events"
    if temporality not in {1, CUMULATIVE}:
        return "the aggregation temporality is not given"
    return ""

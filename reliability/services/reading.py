"""One read of a source for all SLOs that need it: selectors are joined, answers are shared out again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from reliability.data import DataState
from reliability.domain.counting import (
    OVERLAP_SECONDS,
    Found,
    GoodAboveTotalError,
    Scraped,
    Scrapes,
    Span,
    count_counters,
    count_readings,
)
from reliability.domain.matchers import Selector, SelectorError, parse_selector, serving_label, unions
from reliability.domain.scrapes import Tail
from reliability.services.prometheus import PrometheusReader, SourceError, TooLargeError

FIRST_LOOKBACK = timedelta(minutes=5)
OVERLAP = timedelta(seconds=OVERLAP_SECONDS)


@dataclass(frozen=True)
class Wanted:
    """What an SLO version counts, of its indicator."""

    total: Selector
    part: Selector | None = None
    part_is_bad: bool = False
    op: str = ""
    threshold: float = 0.0
    group_by: tuple[str, ...] = ()

    @property
    def to_read(self) -> list[Selector]:
        """The selectors that must be read; a part that narrows the total is picked from its answer."""
        if self.part is None or self.part.narrows(self.total):
            return [self.total]
        return [self.total, self.part]


@dataclass(frozen=True)
class Answer:
    """What a source answered for one stretch of time."""

    span: Span
    series: Mapping[Selector, list[Scraped]]
    scrapes: Scrapes

    def count(self, wanted: Wanted, tails: Mapping[bytes, Tail]) -> Found:
        """Count what one version wants. Raises SourceError when its selectors do not fit each other."""
        total = self.series[wanted.total]
        if wanted.op:
            return count_readings(
                total,
                op=wanted.op,
                threshold=wanted.threshold,
                tails=tails,
                span=self.span,
                group_by=wanted.group_by,
            )
        part: Iterable[Scraped] = ()
        if wanted.part is not None:
            part = self.series.get(wanted.part) or [one for one in total if wanted.part.matches(one.labels)]
        try:
            return count_counters(
                total,
                part,
                tails=tails,
                scrapes=self.scrapes,
                span=self.span,
                group_by=wanted.group_by,
                part_is_bad=wanted.part_is_bad,
            )
        except GoodAboveTotalError as error:
            minute, events, everything = error.args
            when = datetime.fromtimestamp(minute * 60, UTC)
            word = "bad" if wanted.part_is_bad else "good"
            raise SourceError(
                f"At {when:%Y-%m-%d %H:%M} UTC there are {events} {word} events of {everything} in all: "
                f"the {word} selector must match a part of the total.",
                DataState.GOOD_ABOVE_TOTAL,
            ) from None

    def is_empty(self, wanted: Wanted) -> bool:
        """Say whether nothing at all matches what a version counts."""
        return not self.series[wanted.total]


def wanted_of(indicator: Mapping[str, Any]) -> Wanted:
    """Return what an indicator of a Prometheus source wants. Raises SourceError for what cannot be read here."""
    try:
        group_by = tuple(indicator.get("group_by", ()))
        if "value" in indicator:
            selector = parse_selector(indicator["value"])
            return Wanted(selector, op=indicator["op"], threshold=indicator["threshold"], group_by=group_by)
        part_is_bad = "bad" in indicator
        part = parse_selector(indicator["bad" if part_is_bad else "good"])
        return Wanted(parse_selector(indicator["total"]), part, part_is_bad, group_by=group_by)
    except SelectorError as error:
        raise SourceError(str(error), DataState.QUERY_REFUSED) from None


def read(
    reader: PrometheusReader, wanted: Sequence[Wanted], *, begin: datetime, until: datetime, first: bool
) -> Answer:
    """Read what several versions want, all pinned to one instant.

    The stretch overlaps what was read before: a sample that became visible late is not lost, and one that was counted
    is told by its time. The first read reaches back to where the counters stood before.
    """
    length = until - begin + (FIRST_LOOKBACK if first else OVERLAP)
    selectors = dict.fromkeys(selector for one in wanted for selector in one.to_read)
    found: dict[Selector, list[Scraped]] = {selector: [] for selector in selectors}
    for union, served in unions(selectors):
        _share_out(reader.samples(str(union), until=until, length=length), union, served, found)
    everything = {series.digest: series for some in found.values() for series in some}
    gauges = {one.total for one in wanted if one.op}
    targets = {series.target for selector, some in found.items() if selector not in gauges for series in some}
    ups = reader.scrapes({target for target in targets if target[1]}, until=until, length=length)
    span = Span((until - length).timestamp(), begin.timestamp(), until.timestamp(), first)
    return Answer(span, found, Scrapes(ups, everything.values(), span))


def read_in_parts(
    reader: PrometheusReader, wanted: Sequence[Wanted], *, begin: datetime, until: datetime, first: bool
) -> tuple[list[Answer], list[int]]:
    """Read as `read` does, in halves where the answer is too large; returns answers and, for each wanted, which.

    Raises TooLargeError when a single one is too large.
    """
    try:
        return [read(reader, wanted, begin=begin, until=until, first=first)], [0] * len(wanted)
    except TooLargeError:
        if len(wanted) == 1:
            raise
    middle = len(wanted) // 2
    left, of_left = read_in_parts(reader, wanted[:middle], begin=begin, until=until, first=first)
    right, of_right = read_in_parts(reader, wanted[middle:], begin=begin, until=until, first=first)
    return left + right, of_left + [number + len(left) for number in of_right]


def _share_out(
    series: Iterable[Scraped], union: Selector, served: Sequence[Selector], found: dict[Selector, list[Scraped]]
) -> None:
    label = serving_label(union, served)
    if not label:
        for selector in served:
            found[selector].extend(series)
        return
    by_value: dict[str, list[Selector]] = {}
    for selector in served:
        value = next(one.value for one in selector.matchers if one.label == label and one.op == "=")
        by_value.setdefault(value, []).append(selector)
    for one in series:
        for selector in by_value.get(one.labels.get(label, ""), ()):
            found[selector].append(one)

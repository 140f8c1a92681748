"""The raw samples behind a minute, read from the source again and counted again, for a reader to compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.parsing import refuse
from reliability.domain.budgets import Counts
from reliability.models import SLOVersion
from reliability.services.prometheus import PrometheusReader, SourceError
from reliability.services.reading import Answer, read, wanted_of

MOST_SERIES = 50
MOST_SAMPLES = 40


@dataclass(frozen=True)
class SeenSample:
    """A sample; `grew` is what it shows beyond the one before, None for the first."""

    at: datetime
    value: str
    grew: float | None
    inside: bool


@dataclass(frozen=True)
class SeenSeries:
    """A series as the source has it now."""

    labels: str
    samples: Sequence[SeenSample]


@dataclass(frozen=True)
class Seen:
    """What the source says now about a minute: its series, and what they count as when read anew."""

    source: str
    series: Sequence[SeenSeries]
    left_out: int
    counts: Counts | None


def samples_behind(*, version: SLOVersion, minute: int) -> Seen:
    """Read the samples around a minute from a Prometheus source. Raises InputRefusedError where there are none to read.

    It is one query a selector, pinned to an instant: nothing is counted by it.
    """
    source = version.data_source or (version.counts_with.data_source if version.counts_with else None)
    if source is None:
        raise refuse(
            "samples",
            found=version.source_type,
            allowed="points that are sent here are reduced to counts as they arrive; only a source can be read again",
        )
    if version.indicator.get("expression"):
        raise refuse("samples", found="an expression", allowed="a series selector has samples; PromQL is approximate")
    begin = datetime.fromtimestamp(minute * 60, UTC)
    until = begin + timedelta(minutes=1)
    try:
        wanted = wanted_of(version.indicator)
        with PrometheusReader(source) as reader:
            answer = read(reader, [wanted], begin=begin, until=until, first=True)
        found = answer.count(wanted, {})
    except SourceError as error:
        raise refuse("samples", found=f"{error.state}: {error}", allowed="a source that answers") from None
    total = Counts()
    for minutes in found.counts.values():
        total += minutes.get(minute, Counts())
    series = list({one.digest: one for some in answer.series.values() for one in some}.values())
    return Seen(
        source.name, [_seen(one.labels, one.samples, answer) for one in series[:MOST_SERIES]],
        max(len(series) - MOST_SERIES, 0), total,
    )  # fmt: skip


def _seen(labels: object, samples: Sequence[Sequence[object]], answer: Answer) -> SeenSeries:
    shown = []
    before: float | None = None
    for time, text in samples:
        value, instant = float(str(text)), float(str(time))
        grew = None if before is None else value - before if value >= before else value
        shown.append(
            SeenSample(datetime.fromtimestamp(instant, UTC), str(text), grew, inside=instant > answer.span.begin)
        )
        before = value
    pairs = ", ".join(f"{key}={value}" for key, value in sorted(dict(labels).items()))  # type: ignore[call-overload]
    return SeenSeries(pairs, shown[-MOST_SAMPLES:])

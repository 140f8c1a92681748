"""Budgets reckoned from what was counted: by every method, with exclusions, for groups and composites.

Everything becomes *units* that the arithmetic of `domain.budgets` takes: events, time slices, or parts of a mean.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from reliability.domain.budgets import Counts, Interval, sli
from reliability.domain.composites import journey_bounds, mean_units
from reliability.domain.exclusions import Span, without_excluded
from reliability.domain.objectives import ExclusionRule, Method, Objective
from reliability.domain.slices import SliceSums, Slicing, judged_slices, merged_slices
from reliability.models import SLO, SLOVersion
from reliability.selectors.exclusions import Assumed, excluded_spans
from reliability.selectors.tallies import groups_of, minute_of, sums_before, tally_minutes

Minutes = tuple[int, int]


def minute_after(instant: datetime) -> int:
    """Return the minute that a window up to an instant ends before: the one that is going on belongs to it."""
    return int(-(-instant.timestamp() // 60))


@dataclass(frozen=True)
class Subject:
    """One budget: an objective of a version, over one tally or (composite) several with weights."""

    version: SLOVersion
    objective: Objective
    tallies: tuple[int, ...]
    weights: tuple[float, ...] = (1.0,)
    labels: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[SLOVersion, ...] = ()

    @property
    def counted_by(self) -> tuple[SLOVersion, ...]:
        """The versions whose events these are: of a composite, its parts."""
        return self.parts or (self.version,)

    @property
    def method(self) -> Method:
        """How events become a budget."""
        return Method(self.version.method)

    @property
    def rule(self) -> ExclusionRule:
        """What excluded minutes count as."""
        return ExclusionRule(self.version.exclusion_rule)


@dataclass(frozen=True)
class Reckoned:
    """A window of a subject: units for the arithmetic, events for the reader; raw as if nothing were excluded.

    `journey` bounds the share of journeys through all components of a composite, without joint measurements.
    """

    units: Counts
    events: Counts
    raw_units: Counts
    raw_events: Counts
    journey: Interval | None = None

    @property
    def adjusted(self) -> bool:
        """Say whether exclusions changed anything."""
        return self.units != self.raw_units or self.events != self.raw_events


def subjects_of(versions: Iterable[SLOVersion], *, groups: bool = False) -> dict[int, list[Subject]]:
    """Return what is to be reckoned, by version: first what is alerted on, then further objectives, then groups.

    A composite comes as a whole, then by component.
    """
    known = list(versions)
    slugs = [one.part for version in known if version.is_composite for one in version.all_objectives]
    parts = {}
    if slugs:
        found = SLOVersion.objects.filter(slo__slug__in=slugs, retired_at__isnull=True)
        parts = {part.slo.slug: part for part in found.select_related("slo", "slo__service", "counts_with")}
    subjects = {}
    for version in known:
        objectives = version.all_objectives
        if version.is_composite:
            members = [(one, parts[one.part]) for one in objectives if one.part in parts]
            first = objectives[0]
            whole = Objective("", version.target, first.slice_minutes, first.slice_target)
            tallies = tuple(part.tally_id for _, part in members)
            subjects[version.pk] = [
                Subject(
                    version,
                    whole,
                    tallies,
                    tuple(one.weight for one, _ in members),
                    parts=tuple(part for _, part in members),
                ),
                *(Subject(part, one, (part.tally_id,)) for one, part in members),
            ]
            continue
        subjects[version.pk] = [Subject(version, one, (version.tally_id,)) for one in objectives]
        if groups:
            subjects[version.pk] += [
                Subject(version, objectives[0], (group.tally_id,), labels=group.labels)
                for group in groups_of(version=version)
            ]
    return subjects


def reckon(
    wanted: Sequence[tuple[Subject, Minutes]], *, known_at: datetime | None = None, assumed: Assumed | None = None
) -> list[Reckoned]:
    """Return each subject's window (first minute, minute after its last), in order, in a fixed number of queries.

    Time slices cost one read of the minutes for each of their tallies more.
    """
    if not wanted:
        return []
    spans = _spans(wanted, known_at, assumed)
    edges = {minute for _, window in wanted for minute in window}
    for subject, (start, end) in wanted if spans else ():
        for low, high in _clipped(spans.get(subject.version.slo_id, ()), start, end):
            edges |= {low, high}
    sums = sums_before((tally for subject, _ in wanted for tally in subject.tallies), edges)
    slices = _slices(wanted, spans)
    return [
        _reckoned(
            subject,
            window,
            sums,
            spans.get(subject.version.slo_id, ()) if spans else (),
            slices.get(_key(subject)) if slices else None,
        )
        for subject, window in wanted
    ]


def spans_of(
    slos: Iterable[SLO],
    start: int,
    end: int,
    known_at: datetime | None = None,
    assumed: Assumed | None = None,
) -> dict[int, list[Span]]:
    """Return the excluded minutes of SLOs from `start` to before `end`."""
    return excluded_spans(
        slos,
        since=datetime.fromtimestamp(start * 60, UTC),
        until=datetime.fromtimestamp(end * 60, UTC),
        known_at=known_at,
        assumed=assumed,
    )


def slices_of(subject: Subject, start: int, end: int, excluded: Sequence[Span]) -> dict[int, Counts]:
    """Return the units of a subject's time slices, by their first minute."""
    slicing = Slicing.of(subject.objective, subject.method, subject.rule)
    begin = max(start, minute_of(subject.version.counted_from))
    found = [
        judged_slices(
            tally_minutes(tally, start_minute=begin, end_minute=end), slicing, start=begin, end=end, excluded=excluded
        )
        for tally in subject.tallies
    ]
    return found[0] if len(found) == 1 else merged_slices(found, subject.weights, subject.method)


_Key = tuple[int, str, tuple[int, ...]]


def _key(subject: Subject) -> _Key:
    return subject.version.pk, subject.objective.name, subject.tallies


def _spans(
    wanted: Sequence[tuple[Subject, Minutes]], known_at: datetime | None, assumed: Assumed | None
) -> dict[int, list[Span]]:
    slos = {subject.version.slo_id: subject.version.slo for subject, _ in wanted}
    start, end = min(window[0] for _, window in wanted), max(window[1] for _, window in wanted)
    return spans_of(slos.values(), start, end, known_at, assumed)


def _clipped(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    return [(max(low, start), min(high, end)) for low, high in spans if low < end and high > start]


def _slices(
    wanted: Sequence[tuple[Subject, Minutes]], spans: Mapping[int, list[Span]]
) -> dict[_Key, tuple[SliceSums, SliceSums]]:
    """Return adjusted and raw slices of the subjects that are judged by slices."""
    ranges: dict[_Key, tuple[Subject, int, int]] = {}
    for subject, (start, end) in wanted:
        if subject.method is Method.OCCURRENCES:
            continue
        _, low, high = ranges.get(_key(subject), (subject, start, end))
        ranges[_key(subject)] = (subject, min(low, start), max(high, end))
    found = {}
    for key, (subject, start, end) in ranges.items():
        excluded = spans.get(subject.version.slo_id, [])
        raw = SliceSums(slices_of(subject, start, end, ()))
        found[key] = (SliceSums(slices_of(subject, start, end, excluded)) if excluded else raw, raw)
    return found


def _reckoned(
    subject: Subject,
    window: Minutes,
    sums: Mapping[tuple[int, int], Counts],
    spans: Sequence[Span],
    slices: tuple[SliceSums, SliceSums] | None,
) -> Reckoned:
    start, end = window
    raw = [sums[tally, end] - sums[tally, start] for tally in subject.tallies]
    if len(raw) == 1 and not spans and slices is None:
        return Reckoned(raw[0], raw[0], raw[0], raw[0])
    adjusted = raw
    for low, high in _clipped(spans, start, end):
        adjusted = [
            without_excluded(counts, sums[tally, high] - sums[tally, low], subject.rule)
            for counts, tally in zip(adjusted, subject.tallies, strict=True)
        ]
    if len(raw) == 1 and slices is None:
        return Reckoned(adjusted[0], adjusted[0], raw[0], raw[0])
    events, raw_events = sum(adjusted, Counts()), sum(raw, Counts())
    journey = journey_bounds([sli(one) for one in adjusted]) if len(raw) > 1 else None
    if slices is not None:
        return Reckoned(slices[0].between(start, end), events, slices[1].between(start, end), raw_events, journey)
    units, raw_units = mean_units(adjusted, subject.weights), mean_units(raw, subject.weights)
    return Reckoned(units, events, raw_units, raw_events, journey)

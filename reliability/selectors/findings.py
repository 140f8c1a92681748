"""Which SLOs' numbers are doubtful, and why."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from reliability.data import DataState
from reliability.domain.budgets import Counts
from reliability.domain.findings import Finding, FindingKind, findings_of_hours, resets, silence
from reliability.domain.objectives import Method
from reliability.models import SLO, Collection
from reliability.selectors.budgets import versions_in_force
from reliability.selectors.reckoning import Subject, subjects_of
from reliability.selectors.sources import data_statuses
from reliability.selectors.tallies import bucket_sums, last_measured_minutes, minute_of, sums_before

HOURS = 72
GONE = (DataState.UNKNOWN_METRIC, DataState.NO_SERIES)


def findings_of(*, slos: Sequence[SLO], now: datetime) -> dict[int, list[Finding]]:
    """Return what makes SLOs' numbers doubtful, by primary key, in a fixed number of queries; nothing where nothing is.

    It is judged by the events of the last 72 hours, as they were counted: exclusions do not hide it.
    """
    versions = versions_in_force(slos=slos)
    subjects = {key: found[0] for key, found in subjects_of(versions).items()}
    readings = data_statuses(versions)
    last = last_measured_minutes(part for subject in subjects.values() for part in subject.counted_by)
    hours = _hours(list(subjects.values()), now)
    tallies = {tally for subject in subjects.values() for tally in subject.tallies}
    reset = dict(Collection.objects.filter(version__in=tallies).values_list("version_id", "resets"))
    found = {}
    for version in versions:
        subject = subjects[version.pk]
        lived = now - version.counted_from
        one = [
            *_silences(subject, readings[version.pk].state, readings[version.pk].detail, last, now, lived),
            *findings_of_hours(
                hours[version.pk],
                target=float(subject.objective.target) if subject.method is Method.OCCURRENCES else None,
                lived=min(max(lived // timedelta(hours=1), 0), HOURS),
            ),
        ]
        if readings[version.pk].state is DataState.GOOD_ABOVE_TOTAL:
            one.append(Finding(FindingKind.GOOD_ABOVE_TOTAL, readings[version.pk].detail))
        started = resets(sum(reset.get(tally, 0) for tally in subject.tallies), lived=lived)
        if started is not None:
            one.append(started)
        if one:
            found[version.slo_id] = one
    return found


def _silences(  # noqa: PLR0917 what one version's silence is judged by
    subject: Subject, state: DataState, detail: str, last: dict[int, int], now: datetime, lived: timedelta
) -> list[Finding]:
    found = []
    for part in subject.counted_by:
        minute = last.get(part.pk)
        since_last = now - datetime.fromtimestamp((minute + 1) * 60, UTC) if minute is not None else None
        one = silence(since_last=since_last, lived=lived, vanished=state in GONE, detail=detail)
        if one is not None and one not in found:
            found.append(one)
    return found


def _hours(subjects: Sequence[Subject], now: datetime) -> dict[int, list[Counts]]:
    """Return the events of the last whole hours of each version, all of a composite's parts together."""
    start, end = hours_judged(now)
    ids = {tally for subject in subjects for tally in subject.tallies}
    series = bucket_sums(ids, start_minute=start, end_minute=end, step=60)
    before = sums_before(ids, [start])
    found: dict[int, list[Counts]] = {}
    for subject in subjects:
        together = [Counts()] * HOURS
        for tally in subject.tallies:
            previous = before[tally, start]
            for place, sums in enumerate(series[tally]):
                if sums is not None:
                    together[place] += sums - previous
                    previous = sums
        found[subject.version.pk] = [_averaged(hour, len(subject.tallies)) for hour in together]
    return found


def hours_judged(now: datetime) -> tuple[int, int]:
    """Return the first minute of the whole hours by which numbers are judged, and the minute after their last."""
    end = minute_of(now) // 60 * 60
    return end - HOURS * 60, end


def _averaged(hour: Counts, parts: int) -> Counts:
    """Return an hour whose measured minutes are of the average part."""
    if parts <= 1:
        return hour
    return Counts(hour.good, hour.bad, hour.unknown, hour.minutes_measured // parts, hour.unknown_low)

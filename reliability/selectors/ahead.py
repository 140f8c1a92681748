"""Everything that the page of an SLO will ask of the sums, read at once."""

from datetime import datetime

from reliability.selectors.budgets import BURN_WINDOWS, window_minutes
from reliability.selectors.charts import Frame, burn_windows, left_windows
from reliability.selectors.findings import hours_judged
from reliability.selectors.foresight import hours_seen
from reliability.selectors.reckoning import Subject, minute_after, spans_of
from reliability.selectors.shelves import numbers_before, shelves_of, slots_of


def read_ahead(*, subject: Subject, frame: Frame, now: datetime) -> None:
    """Read what charts, budgets, forecast and findings of a subject need, for the rest of the look.

    What is asked for besides is read when it is: a minute that is missing here costs a query, and nothing else.
    """
    version, end = subject.version, minute_after(now)
    first_hour, last_hour = hours_judged(now)
    minutes = {end, *window_minutes(version.window, now), *(end - length for length in BURN_WINDOWS.values())}
    minutes.update(range(first_hour, last_hour + 1, 60))
    minutes.update(range(frame.first // frame.step * frame.step, frame.end, frame.step))
    for window in (*left_windows(frame), *burn_windows(frame), *hours_seen(version=version, now=now)):
        minutes.update(window)
    for span in spans_of([version.slo], min(minutes), end).get(version.slo_id, ()):
        minutes.update(span)
    numbers_before(shelves_of(slots_of(subject.tallies)), minutes)

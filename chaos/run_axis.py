"""One time axis of a run: what the SLOs burnt, the faults, what the probes saw, what the watcher decided."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

from chaos.data import FaultState, RunState
from chaos.models import ChaosRun, RunEvent
from chaos.services import spec_of
from core.drawings import Interval, Lane, Mark, TimeAxis
from core.states import Tone, tone_of
from reliability.selectors import minute_of, minute_series, slo_by_slug, version_in_force

BEFORE, AFTER = timedelta(seconds=20), timedelta(seconds=20)
MOST_BURN = 14.4


def run_axis(run: ChaosRun, *, now: datetime, width: int = 1100) -> TimeAxis:
    """Draw a run. Lanes: burn of each SLO by the minute, run, faults as bands, probes, watcher."""
    start = run.requested_at - BEFORE
    end = (run.ended_at or max(now, run.requested_at)) + AFTER
    events = list(run.events.all())
    return TimeAxis(
        label=f"What the run did, {run.reference}",
        start=start,
        end=end,
        now=now if run.ended_at is None else None,
        lanes=[
            *(_burn(slug, start, end) for slug in spec_of(run.revision).steady_state.slos),
            Lane("Run", [Interval(str(run.revision.experiment), run.requested_at, run.ended_at, tone=Tone.ACTIVE)]),
            Lane("Faults", [_band(fault) for fault in run.faults.all() if fault.injected_at is not None]),
            Lane("Probes", list(_answers(events, end if run.ended_at is None else run.ended_at))),
            Lane("Watcher", [_decision(one) for one in events if one.kind == "watcher"]),
        ],
        marks=[Mark(run.deadline_at, "Deadline", Tone.BAD)] if run.deadline_at <= end else [],
        width=width,
    )


def _band(fault: Any) -> Interval:
    tone = tone_of(fault.state) if fault.state == FaultState.DIRTY else Tone.RISK
    one_way = fault.state == FaultState.LASTING
    ended = fault.reverted_at or (fault.injected_at + timedelta(seconds=1) if one_way else None)
    return Interval(f"{fault.action} on {', '.join(fault.targets)}", fault.injected_at, ended, tone=tone)


def _answers(events: Iterable[RunEvent], end: datetime) -> Iterable[Interval]:
    """Yield what the probes said, each answer until the next one."""
    probes = [one for one in events if one.kind == "probe"]
    for one, following in zip_longest(probes, probes[1:]):
        good = one.text == "the steady state holds"
        yield Interval(one.text, one.at, following.at if following else end, tone=Tone.OK if good else Tone.BAD)


def _decision(event: RunEvent) -> Interval:
    return Interval(event.text, event.at, event.at + timedelta(seconds=1), tone=Tone.BAD)


def _burn(slug: str, start: datetime, end: datetime) -> Lane:
    """Return a lane with the burn rate of each minute; a minute that was not measured is shown as unknown."""
    slo = slo_by_slug(slug=slug)
    version = version_in_force(slo=slo) if slo is not None else None
    if version is None:
        return Lane(f"{slug} burn")
    first, last = minute_of(start), minute_of(end) + 1
    counted = dict(minute_series(version=version, start_minute=first, end_minute=last))
    allowed = 1 - float(version.target)
    intervals = []
    for minute in range(first, last):
        at = datetime.fromtimestamp(minute * 60, tz=UTC)
        counts = counted.get(minute)
        if counts is None or (not counts.minutes_measured and not counts.total):
            intervals.append(Interval("not measured", at, at + timedelta(minutes=1), tone=Tone.UNKNOWN))
            continue
        burn = counts.bad / counts.total / allowed if counts.total and allowed else 0.0
        tone = Tone.BAD if burn > MOST_BURN else Tone.RISK if burn > 1 else Tone.OK
        text = f"{burn:.1f} x" if counts.total else "no traffic"
        intervals.append(Interval(text, at, at + timedelta(minutes=1), tone=tone))
    return Lane(f"{slug} burn", intervals)


def progress_of(run: ChaosRun, *, now: datetime) -> dict[str, Any] | None:
    """Return how far a run is: seconds gone, seconds in all as foreseen, what it is doing; None when it has ended."""
    if run.state == RunState.FINISHED:
        return None
    spec = spec_of(run.revision)
    begun = run.started_at or run.requested_at
    gone = max((now - begun).total_seconds(), 0.0)
    hold = spec.hold.total_seconds()
    whole = hold + spec.steady_state.recover_within.total_seconds()
    doing = "Starting"
    if run.state == RunState.STOPPING:
        doing = "Undoing"
    elif run.started_at is not None:
        doing = "Holding the faults" if gone < hold else "Waiting for the steady state"
    return {
        "doing": doing,
        "gone": timedelta(seconds=round(gone)),
        "left": timedelta(seconds=round(max(whole - gone, 0))),
        "value": min(gone, whole),
        "whole": whole,
    }

"""The charts of an SLO's page: on one time axis, with what happened behind the lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from catalog.data import ActivityKind
from catalog.selectors import activities_between
from core.states import Tone
from ledger.selectors import entries
from reliability.domain.alerting import BurnTier
from reliability.domain.budgets import Counts, budget_remaining_ratio, burn_rate
from reliability.domain.forecast import Forecast
from reliability.domain.windows import RollingWindow
from reliability.models import SLO, SLOVersion
from reliability.selectors.history import MOST_ACTIVITIES, POINTS, STEPS, TONES
from reliability.selectors.reckoning import Subject, minute_after, reckon, spans_of
from reliability.selectors.tallies import bucket_sums, minute_of

FORECAST_SHARE = 4
SHORTEST = 30
AXIS = "slo"
NO_TIER = BurnTier("none", "info", 60, 5, 1.0)


@dataclass(frozen=True)
class Frame:
    """The time axis that the charts of a page share: minutes, and instants ahead of now for the forecast."""

    version: SLOVersion
    first: int
    end: int
    step: int
    now: datetime
    ahead: tuple[int, ...] = ()
    raw: bool = False

    @property
    def edges(self) -> list[int]:
        """The minute after each step."""
        return list(range(self.end, self.first, -self.step))[::-1]

    @property
    def times(self) -> list[int]:
        """The steps as seconds since 1970, with those ahead."""
        return [edge * 60 for edge in self.edges] + list(self.ahead)

    @property
    def since(self) -> datetime:
        """Where the axis begins."""
        return datetime.fromtimestamp(self.first * 60, UTC)

    def with_forecast(self, foreseen: Forecast | None) -> "Frame":
        """Return the axis with a quarter more ahead of now, as far as the forecast goes."""
        if foreseen is None:
            return self
        hours = min(len(foreseen.path), (self.end - self.first) // 60 // FORECAST_SHARE)
        return replace(self, ahead=tuple((self.end + 60 * (hour + 1)) * 60 for hour in range(hours)))

    def chart(self, series: list[dict[str, Any]], rows: Sequence[Sequence[Any]], unit: str) -> dict[str, Any]:
        """Return a chart over the whole axis; nothing is drawn ahead of now where a row ends."""
        length = len(self.times)
        padded = [[*row, *([None] * (length - len(row)))] for row in rows]
        return {"series": series, "rows": [self.times, *padded], "unit": unit, "sync": AXIS}


def frame_of(version: SLOVersion, now: datetime, *, span: timedelta | None = None, raw: bool = False) -> Frame:
    """Return the axis over the SLO's window or the last `span`; with `raw`, as if nothing were excluded."""
    start, _ = version.window.bounds(now)
    end = minute_after(now)
    first = min(max(minute_of(start), minute_of(version.counted_from)), end - SHORTEST)
    if span is not None:
        first = max(first, end - span // timedelta(minutes=1))
    step = next((one for one in STEPS if (end - first) / one <= POINTS), STEPS[-1])
    return Frame(version, first, end, step, now, raw=raw)


def burn_down(*, subject: Subject, frame: Frame, foreseen: Forecast | None = None) -> dict[str, Any]:
    """Return the chart of what was left of the budget over the window, its bounds, and how it may go on."""
    target, edges = subject.objective.target, frame.edges
    windows = left_windows(frame)
    found = reckon([(subject, one) for one in (*windows, *((edge - frame.step, edge) for edge in edges))])
    lows: list[float | None] = []
    highs: list[float | None] = []
    for reckoned, piece in zip(found[: len(edges)], found[len(edges) :], strict=True):
        measured = piece.raw_events.minutes_measured > 0
        left = budget_remaining_ratio(_units(reckoned, frame), target) if measured else None
        lows.append(_percent(left.low) if left else None)
        highs.append(_percent(left.high) if left else None)
    rows: list[list[float | None]] = [lows]
    series = [{"label": "Left", "tone": "active", "width": 2}]
    if lows != highs:
        rows.append(highs)
        series = [
            {"label": "Left at least", "tone": "active", "width": 2},
            {"label": "Left at most", "tone": "unknown", "dash": [4, 3]},
        ]
    if frame.ahead and foreseen is not None:
        gap: list[float | None] = [None] * len(edges)
        labels = ("If bad days follow", "If usual days follow", "If good days follow")
        for position, label in enumerate(labels):
            ahead = [_percent(one[position]) for one in foreseen.path[: len(frame.ahead)]]
            rows.append([*gap[:-1], lows[-1], *ahead])
            series.append({"label": label, "tone": "plain", "dash": [2, 4]})
    return frame.chart(series, rows, "%")


def left_windows(frame: Frame) -> list[tuple[int, int]]:
    """Return the window that the budget is of at each step."""
    window = frame.version.window
    begin, length = minute_of(window.bounds(frame.now)[0]), window.length // timedelta(minutes=1)
    rolling = isinstance(window, RollingWindow)
    return [(edge - length if rolling else begin, edge) for edge in frame.edges]


def burn_windows(frame: Frame) -> list[tuple[int, int]]:
    """Return the long windows of the fastest tier, step by step, and then the short ones."""
    tier = _fastest(frame.version) or NO_TIER
    return [(edge - minutes, edge) for minutes in (tier.long_minutes, tier.short_minutes) for edge in frame.edges]


def _fastest(version: SLOVersion) -> BurnTier | None:
    tiers = (BurnTier(**values) for values in version.tiers)
    return min(tiers, key=lambda tier: tier.long_minutes, default=None)


def burn_chart(*, subject: Subject, frame: Frame) -> dict[str, Any]:
    """Return the chart of the burn rate over the windows of the fastest tier, with its threshold."""
    target, edges = subject.objective.target, frame.edges
    alerted = _fastest(frame.version)
    tier = alerted or NO_TIER
    found = reckon([(subject, window) for window in burn_windows(frame)])
    rates = [burn_rate(_units(one, frame), target) if one.raw_events.minutes_measured else None for one in found]
    values = [round(rate.low, 3) if rate else None for rate in rates]
    series: list[dict[str, Any]] = [
        {"label": f"Over {written_minutes(tier.long_minutes)}", "tone": "active", "width": 2},
        {"label": f"Over {written_minutes(tier.short_minutes)}", "tone": "risk"},
    ]
    rows: list[list[Any]] = [values[: len(edges)], values[len(edges) :]]
    if alerted is not None:
        series.append({"label": f"Alert above ({tier.name})", "tone": "bad", "dash": [6, 4]})
        rows.append([tier.threshold] * len(edges))
    return frame.chart(series, rows, "\u00d7")


def events_chart(*, subject: Subject, frame: Frame) -> dict[str, Any]:
    """Return the chart of events as counted: good, bad and unknown, exclusions not taken off."""
    found = [one.raw_events for one in reckon([(subject, (edge - frame.step, edge)) for edge in frame.edges])]
    series: list[dict[str, Any]] = [
        {"label": "Good", "tone": "ok"},
        {"label": "Bad", "tone": "bad", "width": 2},
        {"label": "Unknown", "tone": "unknown", "dash": [4, 3]},
    ]
    names = ("good", "bad", "unknown")
    rows = [[getattr(one, name) if one.minutes_measured else None for one in found] for name in names]
    return frame.chart(series, rows, "")


def lanes_chart(*, subject: Subject, frame: Frame, slo: SLO) -> dict[str, Any]:
    """Return what happened as lanes on the same axis: measuring, alerts, exclusions, activities by kind."""
    lanes = [{"label": "Measured", "items": list(_measured(subject, frame))}]
    alerts = firings(slo_slug=slo.slug, since=frame.since, until=frame.now)
    if alerts:
        items = [_item(f"Alert {policy}", start, ended or frame.now, Tone.BAD) for policy, start, ended in alerts]
        lanes.append({"label": "Alerts", "items": items})
    excluded = spans_of([slo], frame.first, frame.end).get(slo.pk, ())
    if excluded:
        items = [
            {"label": "Excluded", "start": low * 60, "end": high * 60, "tone": Tone.FROZEN.value}
            for low, high in excluded
        ]
        lanes.append({"label": "Excluded", "items": items})
    found = list(activities_between(frame.since, frame.now, service_id=slo.service_id)[:MOST_ACTIVITIES])
    for kind in ActivityKind:
        items = [
            _item(one.title, one.started_at, one.ended_at or frame.now, TONES.get(kind, Tone.PLAIN), one.url)
            for one in found
            if one.kind == kind
        ]
        if items:
            lanes.append({"label": str(kind.label), "items": items})
    return {**frame.chart([{"label": "", "tone": "plain"}], [[]], ""), "lanes": lanes}


def marks_of(lanes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is drawn behind every line: all lanes but the first, which says what was measured."""
    return [item for lane in lanes["lanes"][1:] for item in lane["items"]]


def happenings(lanes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the same as a list, newest first: label, kind, instant and link."""
    found = [
        {
            "label": item["label"],
            "kind": lane["label"],
            "at": datetime.fromtimestamp(item["start"], UTC),
            "url": item.get("url", ""),
        }
        for lane in lanes["lanes"][1:]
        for item in lane["items"]
    ]
    return sorted(found, key=lambda one: one["at"], reverse=True)


def firings(*, slo_slug: str, since: datetime, until: datetime) -> list[tuple[str, datetime, datetime | None]]:
    """Return when alerts of an SLO fired and resolved, newest first, as the ledger has it."""
    found = entries(types=["slo.burn_alert_changed"], subjects=[f"slo:{slo_slug}"], since=since, until=until)
    ends: dict[str, datetime] = {}
    spans = []
    for entry in found[:400]:
        payload = entry.payload
        if payload is None:
            continue
        if payload["state"] == "firing":
            spans.append((str(payload["policy"]), entry.occurred_at, ends.get(str(payload["alert_key"]))))
        else:
            ends[str(payload["alert_key"])] = entry.occurred_at
    return spans


def written_minutes(minutes: int) -> str:
    """Return a number of minutes in its largest whole unit: `6 h`."""
    if minutes % 1440 == 0:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def _units(reckoned: Any, frame: Frame) -> Counts:
    units: Counts = reckoned.raw_units if frame.raw else reckoned.units
    return units


def _item(label: str, start: datetime, end: datetime, tone: Tone, url: str = "") -> dict[str, Any]:
    return {"label": label, "start": start.timestamp(), "end": end.timestamp(), "tone": tone.value, "url": url}


def _measured(subject: Subject, frame: Frame) -> Iterator[dict[str, Any]]:
    """Yield stretches in which all of a subject's tallies were measured, by steps."""
    sums = bucket_sums(subject.tallies, start_minute=frame.first, end_minute=frame.end, step=frame.step)
    lines = list(zip(*(sums[tally] for tally in subject.tallies), strict=True))
    begun: int | None = None
    for position, line in enumerate([*lines, (None,)], start=frame.first // frame.step):
        known = all(one is not None for one in line)
        if known and begun is None:
            begun = position
        elif not known and begun is not None:
            low, high = begun * frame.step * 60, min(position * frame.step * 60, frame.end * 60)
            yield {"label": "Measured", "start": low, "end": high, "tone": Tone.OK.value}
            begun = None


def _percent(value: float) -> float:
    return round(value * 100, 3)

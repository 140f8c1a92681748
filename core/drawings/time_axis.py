"""Intervals in lanes over a common time axis."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core.states import Tone

LABEL_WIDTH = 104
ROW = 22
TOP = 26


@dataclass(frozen=True)
class Interval:
    """Something that lasted; without an end it goes on. `text` stands in its bar where that is not the title."""

    title: str
    started_at: datetime
    ended_at: datetime | None = None
    url: str = ""
    tone: Tone = Tone.PLAIN
    text: str = ""


@dataclass(frozen=True)
class Lane:
    """Intervals of one kind; those that overlap are stacked."""

    label: str
    intervals: Sequence[Interval] = ()


@dataclass(frozen=True)
class Mark:
    """An instant drawn across all lanes."""

    at: datetime
    title: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class TimeAxis:
    """What is drawn: a span of time, lanes, and instants. `width` in pixels: about 760 in a column, 1100 on a page.

    `chooses` is the id of a dialog whose fields `starts_at` and `ends_at` get the span that is dragged over the axis.
    """

    label: str
    start: datetime
    end: datetime
    lanes: Sequence[Lane]
    now: datetime | None = None
    marks: Sequence[Mark] = ()
    width: int = 760
    chooses: str = ""

    @property
    def label_width(self) -> int:
        """The room that the longest label of a lane needs, within bounds."""
        longest = max((len(lane.label) for lane in self.lanes), default=0)
        return min(240, max(LABEL_WIDTH, round(6.6 * longest) + 14))

    @property
    def is_empty(self) -> bool:
        """Say whether no interval and no mark would be drawn."""
        return not self.marks and not any(lane.intervals for lane in self.lanes)


_STEPS = [
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(days=1),
    timedelta(days=2),
    timedelta(days=7),
    timedelta(days=30),
]


def draw_time_axis(axis: TimeAxis) -> SafeString:
    """Return the axis as SVG in the reader's time zone; it scrolls sideways where it does not fit."""
    rows: list[SafeString] = []
    y = TOP
    for lane in axis.lanes:
        levels = _levels(lane.intervals, axis)
        height = ROW * max(1, len(levels))
        rows.append(
            format_html(
                '<rect class="axis-lane" x="0" y="{}" width="{}" height="{}"/>'
                '<text class="axis-label" x="4" y="{}">{}</text>',
                y,
                axis.width,
                height,
                y + 15,
                lane.label,
            )
        )
        for level, intervals in enumerate(levels):
            rows.extend(_bar(interval, axis, y + level * ROW) for interval in intervals)
        y += height + 2
    marks = [_mark(mark, axis, y) for mark in axis.marks if axis.start <= mark.at <= axis.end]
    if axis.now is not None and axis.start <= axis.now <= axis.end:
        x = _x(axis.now, axis)
        marks.append(format_html('<line class="axis-now" x1="{}" y1="18" x2="{}" y2="{}"/>', x, x, y))
    return format_html(
        '<div class="drawing-scroll" tabindex="0" role="group" aria-label="{}">'
        '<svg class="axis" viewBox="0 0 {} {}" role="group" aria-label="{}"{}>{}{}{}</svg></div>',
        axis.label,
        axis.width,
        y + 2,
        axis.label,
        _chosen_by_dragging(axis),
        _ticks(axis, y),
        format_html_join("", "{}", ((row,) for row in rows)),
        format_html_join("", "{}", ((mark,) for mark in marks)),
    )


def _chosen_by_dragging(axis: TimeAxis) -> SafeString:
    """Return what `spans.js` has to know: where the axis begins, of which time it is, and in which zone to write."""
    if not axis.chooses:
        return SafeString("")
    return format_html(
        ' data-chooses="{}" data-from="{}" data-until="{}" data-left="{}" data-zone="{}"',
        axis.chooses,
        round(axis.start.timestamp() * 1000),
        round(axis.end.timestamp() * 1000),
        axis.label_width,
        timezone.get_current_timezone_name(),
    )


def _x(moment: datetime, axis: TimeAxis) -> str:
    share = (moment - axis.start) / (axis.end - axis.start)
    return f"{axis.label_width + (axis.width - axis.label_width) * min(1.0, max(0.0, share)):.1f}"


def _levels(intervals: Sequence[Interval], axis: TimeAxis) -> list[list[Interval]]:
    """Put intervals that overlap on levels of their own, keeping room for the thinnest mark."""
    least = (axis.end - axis.start) * 0.008
    levels: list[list[Interval]] = []
    ends: list[datetime] = []
    for interval in sorted(intervals, key=lambda one: one.started_at):
        end = max(interval.ended_at or axis.end, interval.started_at + least)
        if interval.started_at > axis.end or end < axis.start:
            continue
        for level, busy_until in enumerate(ends):
            if interval.started_at >= busy_until:
                levels[level].append(interval)
                ends[level] = end
                break
        else:
            levels.append([interval])
            ends.append(end)
    return levels


def _bar(interval: Interval, axis: TimeAxis, y: int) -> SafeString:
    left, right = float(_x(interval.started_at, axis)), float(_x(interval.ended_at or axis.end, axis))
    zone = timezone.get_current_timezone_name()
    began = timezone.localtime(interval.started_at).strftime("%Y-%m-%d %H:%M:%S")
    ended = timezone.localtime(interval.ended_at).strftime("%H:%M:%S") if interval.ended_at else "still going on"
    title = f"{interval.title}: {began} to {ended} ({zone})"
    rect = format_html(
        '<rect class="axis-bar tone-{}" x="{}" y="{}" width="{}" height="{}" rx="3"><title>{}</title></rect>',
        interval.tone.value,
        f"{min(left, axis.width - 4):.1f}",
        y + 3,
        f"{max(4.0, right - left):.1f}",
        ROW - 6,
        title,
    )
    room = int((right - left - 8) / 6.2)
    if room >= 4:
        text = interval.text or interval.title
        text = text if len(text) <= room else text[: room - 1] + "…"
        rect = format_html(
            '{}<text class="axis-text tone-{}" x="{}" y="{}">{}</text>',
            rect,
            interval.tone.value,
            f"{left + 5:.1f}",
            y + 15,
            text,
        )
    if not interval.url:
        return rect
    return format_html('<a href="{}" aria-label="{}">{}</a>', interval.url, title, rect)


def _mark(mark: Mark, axis: TimeAxis, bottom: int) -> SafeString:
    x = _x(mark.at, axis)
    return format_html(
        '<line class="axis-mark tone-{}" x1="{}" y1="18" x2="{}" y2="{}"><title>{}</title></line>',
        mark.tone.value,
        x,
        x,
        bottom,
        f"{mark.title}: {timezone.localtime(mark.at):%Y-%m-%d %H:%M:%S}",
    )


def _ticks(axis: TimeAxis, bottom: int) -> SafeString:
    span = axis.end - axis.start
    step = next((step for step in _STEPS if span / step <= 8), span / 6)
    first = timezone.localtime(axis.start).replace(hour=0, minute=0, second=0, microsecond=0)
    first += step * (-(-(axis.start - first) // step))
    pattern = "%d %b" if step >= timedelta(days=1) else "%H:%M" if span <= timedelta(days=1) else "%d %b %H:%M"
    ticks = []
    while first <= axis.end:
        x = _x(first, axis)
        last = " axis-time-last" if float(x) > axis.width - 36 else ""
        ticks.append((x, x, bottom, last, x, timezone.localtime(first).strftime(pattern)))
        first += step
    return format_html_join(
        "",
        '<line class="axis-tick" x1="{}" y1="20" x2="{}" y2="{}"/><text class="axis-time{}" x="{}" y="14">{}</text>',
        ticks,
    )

"""Bars and sparklines for tables and tiles."""

from collections.abc import Sequence

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from core.states import Tone


def draw_budget_bar(
    *,
    low: float | None,
    high: float | None,
    forecast: float | None = None,
    label: str,
    tone: Tone | str = Tone.OK,
) -> SafeString:
    """Return a bar from 0 to 1: solid up to `low`, hatched up to `high`; a tick where the forecast ends.

    What is not known is the hatched part between both ends; None on either side hatches the whole bar.
    """
    if low is None or high is None:
        low, high, tone = 0.0, 1.0, Tone.UNKNOWN
    low, high = _within(low), _within(high)
    tick = (
        format_html('<rect class="bar-tick" x="{}" y="0" width="1.4" height="12"/>', _n(_within(forecast) * 98.6))
        if forecast is not None
        else ""
    )
    return format_html(
        '<svg class="bar tone-{}" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>"
        '<rect class="bar-track" x="0" y="2" width="100" height="8" rx="2"/>'
        '<rect class="bar-solid" x="0" y="2" width="{}" height="8" rx="2"/>'
        '<rect class="bar-doubt" x="{}" y="2" width="{}" height="8"/>{}</svg>',
        Tone(tone).value,
        label,
        label,
        _n(low * 100),
        _n(low * 100),
        _n(max(0.0, high - low) * 100),
        tick,
    )


def draw_sparkline(
    values: Sequence[float | None], *, label: str, top: float | None = None, tone: Tone | str = Tone.PLAIN
) -> SafeString:
    """Return a line of the values from oldest to newest; None leaves a gap, never a zero."""
    known = [value for value in values if value is not None]
    ceiling = max([top or 0.0, *known, 1e-12])
    step = 100 / max(1, len(values) - 1)
    runs: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{_n(index * step)},{_n(22 - 20 * max(0.0, value) / ceiling)}")
    # Numbers alone go in, each made by _n: nothing here can carry markup.
    lines = "".join(f'<polyline points="{" ".join(run if len(run) > 1 else [*run, *run])}"/>' for run in runs if run)
    return format_html(
        '<svg class="spark tone-{}" viewBox="0 0 100 24" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>",
        Tone(tone).value,
        label,
        label,
        mark_safe(lines),  # noqa: S308 made of numbers above  # nosec B308, B703
    )


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")

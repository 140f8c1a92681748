"""Template tags and filters that every page may use; `docs/reference/pages.md` shows each of them."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson
from django import template
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, RadioSelect, Select
from django.forms.boundfield import BoundWidget
from django.forms.widgets import ChoiceWidget
from django.http import HttpRequest
from django.template import Context
from django.template.loader import render_to_string
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

from core import formatting
from core.drawings import Graph, TimeAxis, draw_budget_bar, draw_graph, draw_sparkline, draw_time_axis
from core.drawings.icons import draw_icon
from core.navigation import FOLDED_SECTIONS, Entry, entries_for
from core.states import Tone, shown, tone_of

register = template.Library()


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """An icon from the sprite, as decoration."""
    return draw_icon(name, classes=classes)


_CODED = re.compile(r"`([^`]+)`")


@register.filter
def coded(text: Any) -> SafeString:
    """Text in which `what stands so` is shown as code; all else is escaped, unless it is markup already."""
    return mark_safe(_CODED.sub(r"<code>\1</code>", conditional_escape(text)))  # noqa: S308 escaped before  # nosec B308, B703


@register.simple_tag
def state(value: object, word: str = "", tone: str = "") -> SafeString:
    """A state as word, icon and colour: `{% state incident.status %}`; `word` and `tone` replace what is looked up."""
    one = shown(value, word=word, tone=tone or None)
    return format_html(
        '<span class="state tone-{}">{}<span>{}</span></span>', one.tone.value, draw_icon(one.icon), one.word
    )


@register.filter
def tone(value: object) -> str:
    """The tone of a state word, for a class: `class="tone-{{ run.status|tone }}"`."""
    return tone_of(value).value


@register.simple_tag(takes_context=True)
def ago(context: Context, moment: datetime | None) -> SafeString:
    """A moment relative to now, the exact one on hover in the reader's zone."""
    return formatting.time_element(moment, now=context.get("now") if isinstance(context.get("now"), datetime) else None)


@register.filter
def exact(moment: datetime | None) -> str:
    """A moment to the second in the reader's zone, the zone named."""
    return formatting.exact_time(moment) if moment else formatting.MISSING


@register.filter
def duration(value: timedelta | float | None) -> str:
    """A duration in its two largest units; a number counts as seconds."""
    return formatting.written_duration(value)


@register.filter
def number(value: float | Decimal | None, digits: int | None = None) -> str:
    """A number with thin spaces between thousands; missing is a dash."""
    return formatting.written_number(value, digits=digits)


@register.filter
def percent(value: float | Decimal | None, digits: int | None = None) -> str:
    """A ratio (0 to 1) as percent, precise enough to tell it from 100 %; missing is the word unknown."""
    return formatting.written_ratio(value, digits=digits)


@register.filter
def interval(bounds: Any, digits: int | None = None) -> str:
    """Write a share between two bounds (`low`, `high`): one number where they are equal."""
    return formatting.written_interval(bounds.low, bounds.high, digits=digits) if bounds is not None else "unknown"


@register.simple_tag
def budget_bar(
    low: float | None, high: float | None = None, *, forecast: float | None = None, label: str = "", tone: str = "ok"
) -> SafeString:
    """A bar of what is left: solid to `low`, hatched (not known) to `high`, a tick where the forecast ends."""
    high = low if high is None else high
    if not label:
        label = "Not known" if low is None or high is None else f"{formatting.written_ratio(low)} left"
        if low is not None and high is not None and high > low:
            label = f"{formatting.written_ratio(low)} to {formatting.written_ratio(high)} left"
    return draw_budget_bar(low=low, high=high, forecast=forecast, label=label, tone=tone)


@register.simple_tag
def sparkline(
    values: Sequence[float | None], label: str, *, top: float | None = None, tone: str = "plain"
) -> SafeString:
    """A small line of values, oldest first; None leaves a gap."""
    return draw_sparkline(values, label=label, top=top, tone=tone)


@register.simple_tag
def time_axis(axis: TimeAxis) -> SafeString:
    """Intervals in lanes: pass a `core.drawings.TimeAxis`."""
    return draw_time_axis(axis)


@register.simple_tag
def dependency_graph(graph: Graph) -> SafeString:
    """Boxes and arrows in layers: pass a `core.drawings.Graph`."""
    return draw_graph(graph)


@register.simple_tag
def chart(name: str, data: Mapping[str, Any], label: str, height: int = 220) -> SafeString:
    """A time-series chart. `data`: `{"series": [{"label", "tone"}], "rows": [[seconds, …], [value, …], …], "unit"}`.

    The numbers go into a data block that `charts.js` reads; without the script the label alone remains.
    """
    block = orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS).decode()
    block = block.replace("<", "\\u003C").replace(">", "\\u003E").replace("&", "\\u0026")
    return format_html(
        '<figure class="chart" data-chart="{}-data" data-height="{}" aria-label="{}" role="img"></figure>'
        '<script type="application/json" id="{}-data">{}</script>',
        name,
        height,
        label,
        name,
        mark_safe(block),  # noqa: S308 JSON with every character that could end the element escaped  # nosec B308, B703
    )


@register.simple_tag
def form_field(field: BoundField) -> SafeString:
    """The widget of a form field with the classes of the site and its messages tied to it."""
    widget = field.field.widget
    classes = "form-control"
    if isinstance(widget, (RadioSelect, CheckboxSelectMultiple, CheckboxInput)):
        classes = "form-check-input"
    elif isinstance(widget, Select):
        classes = "form-select"
    if field.errors:
        classes += " is-invalid"
    described = [f"{field.auto_id}_helptext"] if field.help_text else []
    described += [f"{field.auto_id}_errors"] if field.errors else []
    attributes: dict[str, str | bool] = {"class": f"{classes} {widget.attrs.get('class', '')}".strip()}
    if described:
        attributes["aria-describedby"] = " ".join(described)
    return mark_safe(field.as_widget(attrs=attributes))  # noqa: S308 Django's own escaped markup  # nosec B308, B703


@register.simple_tag
def form_choice(choice: BoundWidget) -> SafeString:
    """One box or radio button of a group, without its label."""
    choice.data["attrs"]["class"] = "form-check-input"
    return choice.tag()


@register.filter
def is_checkbox(field: BoundField) -> bool:
    """Say whether the field is one box to tick, whose label stands beside it."""
    return isinstance(field.field.widget, CheckboxInput)


@register.filter
def is_choice_group(field: BoundField) -> bool:
    """Say whether the field is several boxes or radio buttons, which need a fieldset."""
    widget = field.field.widget
    return isinstance(widget, ChoiceWidget) and isinstance(widget, (RadioSelect, CheckboxSelectMultiple))


@register.simple_tag(takes_context=True)
def menu(context: Context) -> SafeString | str:
    """The menu for this reader in sections, with a mark where the reader is."""
    request: HttpRequest | None = context.get("request")
    if request is None:
        return ""
    match = request.resolver_match
    here = match.view_name if match else ""
    entries = tuple(entries_for(getattr(request, "principal", None)))
    return _written_menu(entries, tuple(one.url_name for one in entries if _is_within(here, one.url_name)))


@lru_cache(maxsize=512)
def _written_menu(entries: tuple[Entry, ...], current: tuple[str, ...]) -> SafeString:
    """Write a menu once: it would be a third of what a small page costs. What is seldom opened is folded."""
    sections: dict[str, list[Entry]] = {}
    for entry in entries:
        sections.setdefault(entry.section, []).append(entry)
    shown = []
    for label, some in sections.items():
        items = [{"entry": entry, "current": entry.url_name in current} for entry in some]
        folded = label in FOLDED_SECTIONS and not any(item["current"] for item in items)
        shown.append({"label": label, "entries": items, "folded": folded})
    return render_to_string("components/menu.html", {"sections": shown})


@register.filter
def times(count: int) -> range:
    """A range to loop over."""
    return range(count)


def _is_within(here: str, url_name: str) -> bool:
    """`incidents:incident_detail` is within `incidents:incident_list`."""
    if here == url_name:
        return True
    stem, _, last = url_name.rpartition("_")
    return bool(stem) and last in {"list", "index"} and here.startswith(f"{stem}_")


__all__ = ["Tone", "register"]

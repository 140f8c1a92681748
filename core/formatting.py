"""How values are written on pages: times in the reader's zone, durations, numbers, shares."""

from datetime import date, datetime, timedelta
from decimal import Decimal

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
MISSING = "—"
MINUS = "\u2212"
THIN_SPACE = "\u202f"


def exact_time(moment: datetime) -> str:
    """Return a moment to the second in the reader's zone, the zone named."""
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S} {timezone.get_current_timezone_name()}"


def relative_time(moment: datetime, *, now: datetime) -> str:
    """Return a moment as seen from now: `in 3 min`, `2 h ago`, `just now`."""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 5:
        return "just now"
    text = written_duration(timedelta(seconds=abs(seconds)), parts=1)
    return f"in {text}" if seconds > 0 else f"{text} ago"


def written_duration(duration: timedelta | float | None, *, parts: int = 2) -> str:
    """Return a duration in its two largest units: `3 h 12 min`, `41 s`, `250 ms`."""
    if duration is None:
        return MISSING
    total = duration.total_seconds() if isinstance(duration, timedelta) else float(duration)
    if total < 0:
        return f"{MINUS}{written_duration(-total, parts=parts)}"
    if total < 1:
        return f"{round(total * 1000)} ms" if total else "0 s"
    rest = round(total)
    words: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or (words and len(words) < parts):
            words.append((count, unit))
        if len(words) == parts:
            break
    return " ".join(f"{count} {unit}" for count, unit in words if count) or "0 s"


def written_number(value: float | Decimal | None, *, digits: int | None = None) -> str:
    """Return a number with a thin space between thousands; a missing one is a dash, never 0."""
    if value is None:
        return MISSING
    if digits is None:
        digits = 0 if float(value).is_integer() else 2
    return f"{value:,.{digits}f}".replace(",", THIN_SPACE).replace("-", MINUS)


def written_ratio(value: float | Decimal | None, *, digits: int | None = None) -> str:
    """Return a ratio as percent with as many digits as tell it from 100 %; a missing one says so."""
    if value is None:
        return "unknown"
    percent = float(value) * 100
    if digits is not None:
        return f"{percent:.{digits}f} %".replace("-", MINUS)
    for precision in (1, 2, 3, 4):
        text = f"{percent:.{precision}f}"
        if percent in (0.0, 100.0) or (float(text) != 100.0 and abs(float(text) - percent) < 10**-precision / 1.9):
            break
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %".replace("-", MINUS)


def written_interval(low: float, high: float, *, digits: int | None = None) -> str:
    """Return a share that lies between two bounds, with as many digits as tell them apart: `98.57 to 98.63 %`."""
    if low == high:
        return written_ratio(low, digits=digits)
    texts = ["", ""]
    for more in range(digits or 1, 6):
        texts = [written_ratio(bound, digits=more).removesuffix(" %") for bound in (low, high)]
        if texts[0] != texts[1]:
            break
    return f"{texts[0]} to {texts[1]} %"


def time_element(moment: datetime | None, *, now: datetime | None = None) -> SafeString:
    """Return a `<time>`: relative in the text, exact in the reader's zone on hover."""
    if moment is None:
        return format_html('<span class="text-secondary">{}</span>', MISSING)
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        moment.isoformat(),
        exact_time(moment),
        relative_time(moment, now=now or timezone.now()),
    )


def plain_text(value: object) -> str:
    """Return any value as a file or a cell without markup says it."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)

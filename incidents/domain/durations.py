"""Durations as people write them: `90s`, `5m`, `1h30m`, `2d`."""

import re
from datetime import timedelta

_FORM = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def parse_duration(text: str) -> timedelta:
    """Return the duration; raises ValueError when the text is none, or longer than a year."""
    match = _FORM.fullmatch(text.strip()) if len(text) < 40 else None
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration such as 90s, 5m, 1h30m or 2d")
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups())
    found = timedelta(seconds=((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if found > timedelta(days=366):
        raise ValueError(f"{text!r} is longer than a year")
    return found

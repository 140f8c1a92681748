"""Keep secrets out of what is stored: values under names that sound like one, and credentials in addresses."""

import re
from typing import Any

SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|authorization|cookie|credential|private_?key", re.IGNORECASE
)
CREDENTIALS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
HIDDEN = "[hidden]"


def redacted(value: Any) -> Any:
    """Return a JSON value with what looks like a secret replaced."""
    if isinstance(value, dict):
        return {
            str(key): HIDDEN if item not in (None, "") and SECRET_NAME.search(str(key)) else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return CREDENTIALS.sub(rf"\g<scheme>{HIDDEN}@", value) if isinstance(value, str) else value

"""Canonical JSON (RFC 8785) for values without floats and with ASCII keys, where sorted orjson output equals it."""

from typing import Any

import orjson

MAX_SAFE_INTEGER = 2**53 - 1


class NotCanonicalError(ValueError):
    """A value that an entry cannot hold; the message names its path."""


def canonical_json(value: Any) -> bytes:
    """Return the one byte string that stands for `value`. Raises NotCanonicalError."""
    _ensure_canonical(value, "")
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _ensure_canonical(value: Any, path: str) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, str):
        if any(0xD800 <= ord(character) <= 0xDFFF for character in value):
            raise NotCanonicalError(f"{path or 'value'}: text with a lone surrogate; allowed is well-formed Unicode")
    elif isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise NotCanonicalError(f"{path or 'value'}: {value}; allowed are whole numbers up to 2^53 - 1, or text")
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _ensure_canonical(item, f"{path}[{position}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise NotCanonicalError(f"{path or 'value'}: the key {key!r}; allowed are ASCII keys")
            _ensure_canonical(item, f"{path}.{key}" if path else key)
    else:
        raise NotCanonicalError(
            f"{path or 'value'}: a {type(value).__name__}; allowed are text, whole numbers, booleans, lists and maps "
            "(carry a ratio as its counts, or as decimal text)"
        )

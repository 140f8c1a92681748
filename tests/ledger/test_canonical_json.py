"""Canonical JSON against a direct transcription of RFC 8785 for the values that entries hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.canonical import NotCanonicalError, canonical_json
from ledger.pack.verify import canonical

SHORT = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r", 0x22: '\\"', 0x5C: "\\\\"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.text(st.characters(max_codepoint=127))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def text(value: str) -> str:
    return '"' + "".join(SHORT.get(ord(c)) or (f"\\u{ord(c):04x}" if ord(c) < 0x20 else c) for c in value) + '"'


def transcribed(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return "[" + ",".join(transcribed(item) for item in value) + "]"
    keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
    return "{" + ",".join(f"{text(key)}:{transcribed(value[key])}" for key in keys) + "}"


@given(VALUES)
def test_it_is_what_the_standard_says(value: Any) -> None:
    assert canonical_json(value) == transcribed(value).encode()


@given(VALUES)
def test_the_offline_script_writes_the_same(value: Any) -> None:
    assert canonical(value) == canonical_json(value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"ratio": 0.5}, "ratio: a float"),
        ({"a": [1, {"b": 2.0}]}, r"a\[1\]\.b: a float"),
        ({"n": 2**53}, "whole numbers"),
        ({"größe": 1}, "ASCII keys"),
        ({1: "x"}, "ASCII keys"),
        ({"t": "\ud800"}, "surrogate"),
        ({"b": b"x"}, "a bytes"),
    ],
)
def test_what_an_entry_cannot_hold_is_refused_with_its_path(value: Any, said: str) -> None:
    with pytest.raises(NotCanonicalError, match=said):
        canonical_json(value)

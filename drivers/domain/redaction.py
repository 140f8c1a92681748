"""Take secrets out of text: those that are known by value, and whatever has the shape of one."""

import re
from collections.abc import Iterable

GONE = "[removed]"
SHORTEST = 6
_SHAPES = (
    # Private keys, whole.
    (re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL), GONE),
    # A name and a password in an address.
    (re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^\s/@\"']+@", re.IGNORECASE), r"\g<scheme>" + GONE + "@"),
    # What stands in a query may be anything.
    (re.compile(r"(?P<address>[a-z][a-z0-9+.-]*://[^\s?\"'<>]+)\?[^\s\"'<>]+", re.IGNORECASE), r"\g<address>?" + GONE),
    # Headers that prove who asks.
    (
        re.compile(r"(?P<kind>\b(?:bearer|basic|token|digest)\s+)[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE),
        r"\g<kind>" + GONE,
    ),
    (re.compile(r"(?P<name>\b(?:set-)?cookie\b[\"']?\s*[:=]\s*)[^\n]+", re.IGNORECASE), r"\g<name>" + GONE),
    # A field whose name says it.
    (
        re.compile(
            r"(?P<name>[A-Za-z0-9_.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
            r"|authorization|signature|sessionid|session_key|credential)[A-Za-z0-9_.-]*[\"']?\s*[:=]\s*[\"']?)"
            r"[^\s\"',;&}\]]{3,}",
            re.IGNORECASE,
        ),
        r"\g<name>" + GONE,
    ),
    # Tokens by the look of them.
    (re.compile(r"\b(?:assay_|whsec_|xox[a-z]-|gh[a-z]_|glpat-|AKIA|sk-|eyJ)[A-Za-z0-9_./+=-]{8,}"), GONE),
    # Mail addresses: not secret, and nobody's business.
    (re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+"), "[mail address]"),
)


def redacted(text: str, *, known: Iterable[str] = ()) -> str:
    """Return text without the known secrets and without what looks like one."""
    for secret in sorted({one for one in known if len(one) >= SHORTEST}, key=len, reverse=True):
        text = text.replace(secret, GONE)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text

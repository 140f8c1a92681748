"""Syslog messages as RFC 5424 writes them, framed by octet counting as RFC 5425 (TLS) and RFC 6587 (TCP) ask.

No Django, no clock, no I/O.
"""

import re
from collections.abc import Iterable, Mapping

# Facility 13 is "log audit", severity 6 "informational" (RFC 5424, tables 1 and 2).
PRIORITY = 13 * 8 + 6
# 32473 is the enterprise number for examples and documentation (RFC 5612); no other sender's element is named so.
ELEMENT = "assay@32473"
BOM = b"\xef\xbb\xbf"
NIL = "-"
_NOT_PRINTED = re.compile(r"[^\x21-\x7e]")


def header_field(text: str, longest: int) -> str:
    """Return text for a header field: printable ASCII without spaces, or `-` for nothing."""
    return _NOT_PRINTED.sub("_", text)[:longest] or NIL


def structured_data(values: Mapping[str, str]) -> str:
    """Return one element of structured data; quotes, backslashes and closing brackets are escaped (RFC 5424, 6.3.3)."""
    pairs = []
    for name, value in values.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
        pairs.append(f'{header_field(name, 32)}="{escaped}"')
    return f"[{' '.join((ELEMENT, *pairs))}]"


def syslog_message(
    *, timestamp: str, hostname: str, message_id: str, values: Mapping[str, str], text: bytes, app: str = "assay"
) -> bytes:
    """Return one message: `timestamp` is RFC 3339 with at most six digits of fraction, `text` UTF-8."""
    head = (
        f"<{PRIORITY}>1 {timestamp} {header_field(hostname, 255)} {header_field(app, 48)} {NIL} "
        f"{header_field(message_id, 32)} {structured_data(values)} "
    )
    return head.encode() + BOM + text


def framed(messages: Iterable[bytes]) -> bytes:
    """Return messages one after the other, each behind its length in octets and a space."""
    return b"".join(b"%d %s" % (len(message), message) for message in messages)

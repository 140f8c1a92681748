"""Identifiers that sort by time and say what they name: `inc_01jf…`."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """Return `prefix_` and 26 characters of Crockford base 32: 48 bits of milliseconds, 80 random bits (as ULID)."""
    number = (int(time.time() * 1000) << 80) | secrets.randbits(80)
    digits = [_ALPHABET[(number >> shift) & 31] for shift in range(125, -5, -5)]
    return f"{prefix}_{''.join(digits)}"

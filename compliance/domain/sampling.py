"""Samples that anybody can draw again: HMAC-SHA256 of the seed over each item decides the order (RFC 2104)."""

import hashlib
import hmac
from collections.abc import Sequence


def items_digest(items: Sequence[int]) -> str:
    """Return the SHA-256 of the items as decimal numbers, one a line."""
    return hashlib.sha256("".join(f"{item}\n" for item in items).encode()).hexdigest()


def draw(items: Sequence[int], *, seed: str, size: int) -> list[int]:
    """Return `size` items in the order of HMAC-SHA256(seed, item), the smallest first."""
    key = seed.encode()
    return sorted(items, key=lambda item: hmac.new(key, str(item).encode(), hashlib.sha256).digest())[:size]

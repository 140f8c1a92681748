"""Entries as readers of the whole log get them."""

import hashlib
from datetime import datetime
from typing import Any, NamedTuple

import orjson


class SealedEntry(NamedTuple):
    """An entry with its place in the log. A tuple: readers go through millions of them."""

    pk: int
    seq: int
    entry_type: str
    occurred_at: datetime
    actor: str
    subject: str
    payload_sha256: str
    nonce: bytes | None
    body: bytes | None
    erased_at: datetime | None

    @property
    def payload(self) -> dict[str, Any] | None:
        """What the entry says, or None when its content was erased or its time was over."""
        if self.erased_at or self.body is None:
            return None
        value: dict[str, Any] = orjson.loads(bytes(self.body))
        return value

    @property
    def sound(self) -> bool:
        """Say whether the content is the one that was recorded."""
        return hashlib.sha256(bytes(self.nonce or b"") + bytes(self.body or b"")).hexdigest() == self.payload_sha256

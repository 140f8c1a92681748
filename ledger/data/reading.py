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
    nonce: bytes
    body: bytes
    erased_at: datetime | None

    @property
    def payload(self) -> dict[str, Any] | None:
        """What the entry says, or None when its content was erased."""
        value: dict[str, Any] | None = None if self.erased_at else orjson.loads(bytes(self.body))
        return value

    @property
    def sound(self) -> bool:
        """Say whether the content is the one that was recorded."""
        return hashlib.sha256(bytes(self.nonce) + bytes(self.body)).hexdigest() == self.payload_sha256

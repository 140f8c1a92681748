"""What an evidence pack is made of, and who makes it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from ledger.data.base import EvidenceType

# The capabilities that the pages and commands of this room ask for; the room above defines them.
VIEW = "ledger.view"
EXPORT = "ledger.export"
KEEP = "site.admin"

# A file of a pack: whole, or in pieces that are made while it is written.
Document = bytes | Iterable[bytes]


class Reader(Protocol):
    """Who reads or exports, as far as this room needs to know: a principal."""

    @property
    def reference(self) -> str:
        """`user:12`."""

    def may(self, capability: Any, *, team_id: int | None = None) -> bool:
        """Say whether the reader may."""


@dataclass(frozen=True)
class Selection:
    """Which entries a pack is about. A part left empty does not narrow; `until` is exclusive.

    `seqs` picks entries by their place in the log, besides the rest.
    """

    types: tuple[str, ...] = ()
    evidence_types: tuple[EvidenceType, ...] = ()
    subjects: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    seqs: frozenset[int] | None = None


@dataclass(frozen=True)
class Omission:
    """Something that a reader may expect in a pack and that is not in it."""

    what: str
    reason: str


@dataclass(frozen=True)
class EvidencePack:
    """A finished pack: a ZIP file with everything needed to verify it."""

    name: str
    content: bytes
    manifest_sha256: str
    entries: int
    artifacts: int
    checkpoint_size: int
    key: str
    omissions: tuple[Omission, ...] = ()

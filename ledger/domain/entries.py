"""The bytes of an entry that its leaf hash covers. Changing anything here is a new format version."""

from datetime import UTC, datetime
from typing import NamedTuple

import orjson

from ledger.domain.tree import leaf_hash

FORMAT_VERSION = 1


OUTLIVED_SUBJECT = "entries"


def outlived_subject(first: int, last: int) -> str:
    """Return the subject of the entry that says that the payloads of these places went, their time being over."""
    return f"{OUTLIVED_SUBJECT}:{first}-{last}"


def outlived_range(subject: str) -> tuple[int, int]:
    """Return the first and the last place that such a subject names; of any other an empty range."""
    first, _, last = subject.removeprefix(f"{OUTLIVED_SUBJECT}:").partition("-")
    return (int(first), int(last)) if first.isdecimal() and last.isdecimal() else (0, -1)


class EntryFacts(NamedTuple):
    """What an entry's hash covers beside its place in the log. A tuple: verification makes millions of them."""

    entry_type: str
    version: int
    evidence_type: str
    actor: str
    subject: str
    recorded_at: datetime | str
    occurred_at: datetime | str
    period_start: datetime | str | None
    period_end: datetime | str | None
    payload_sha256: str
    artifacts: list[str]


def instant_text(instant: datetime | str | None) -> str | None:
    """Return `2026-01-31T12:00:00.000000Z`; text is taken to be of this form already."""
    if instant is None or isinstance(instant, str):
        return instant
    return instant.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def entry_bytes(facts: EntryFacts, *, origin: str, seq: int, previous: bytes) -> bytes:
    """Return an entry as canonical JSON; `previous` is the leaf hash of the entry before, or empty.

    The values are text, whole numbers and lists of text under ASCII keys, so sorted orjson output is RFC 8785.
    """
    document = {
        "v": FORMAT_VERSION,
        "log": origin,
        "seq": seq,
        "prev": previous.hex(),
        "type": facts.entry_type,
        "ver": facts.version,
        "evidence": facts.evidence_type,
        "actor": facts.actor,
        "subject": facts.subject,
        "recorded_at": instant_text(facts.recorded_at),
        "occurred_at": instant_text(facts.occurred_at),
        "period_start": instant_text(facts.period_start),
        "period_end": instant_text(facts.period_end),
        "payload_sha256": facts.payload_sha256,
        "artifacts": facts.artifacts,
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def entry_leaf(facts: EntryFacts, *, origin: str, seq: int, previous: bytes) -> bytes:
    """Return the leaf hash of an entry."""
    return leaf_hash(entry_bytes(facts, origin=origin, seq=seq, previous=previous))

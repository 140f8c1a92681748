"""What happens to the log itself."""

from datetime import datetime
from typing import ClassVar

from ledger.data.base import EvidenceType, LedgerPayload


class KeyRotated(LedgerPayload):
    """The key that signs checkpoints was replaced. The note is signed by the old key and by the new one."""

    entry_type: ClassVar[str] = "ledger.key_rotated"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    old_key: str
    new_key: str
    size: int
    note: str
    reason: str


class PayloadErased(LedgerPayload):
    """The content of an entry was erased, by whom and why. The entry itself, its hash and its place remain."""

    entry_type: ClassVar[str] = "ledger.payload_erased"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    seq: int
    erased_type: str
    payload_sha256: str
    reason: str


class PayloadsOutlived(LedgerPayload):
    """The payloads of a range of entries went because their time was over. Their entries, hashes and places remain.

    Its subject is `entries:FIRST-LAST`, by number in the log; an entry of the range may still have its payload: `held`
    counts those that a legal hold keeps.
    """

    entry_type: ClassVar[str] = "ledger.payloads_outlived"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    count: int
    first_seq: int
    last_seq: int
    oldest: datetime
    newest: datetime
    outlived_before: datetime
    part: str = ""
    held: int = 0


class CheckpointAnchored(LedgerPayload):
    """An outside anchor has a checkpoint."""

    entry_type: ClassVar[str] = "ledger.checkpoint_anchored"
    evidence_type: ClassVar[EvidenceType | None] = EvidenceType.AUD
    anchor: str
    kind: str
    size: int
    root: str
    anchored_at: datetime
    says: str

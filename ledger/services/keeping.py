"""What is done to the log itself: its key is replaced, a payload is erased, a checkpoint from elsewhere is compared."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from core.proving import dangerous
from ledger.data.log import KeyRotated, PayloadErased
from ledger.data.packs import KEEP, Reader
from ledger.domain.notes import NoteRefusedError, raw_public_key, sign_rotation, verifier_key
from ledger.models import EntryContent, KeyRotation, LedgerEntry, LogHead
from ledger.services.checkpoints import finish_rotation, make_checkpoint, next_key_file, open_known, signing_key
from ledger.services.proving import NotInLogError, root_at
from ledger.services.recording import record
from ledger.services.sealing import log_origin


class NotErasableError(ValueError):
    """The entry is not sealed yet, or its content is gone already."""


@dangerous("rotate the key of the ledger")
def rotate_key(*, principal: Reader, reason: str) -> KeyRotation:
    """Replace the key that signs checkpoints, and record it with a note that both keys sign.

    The last checkpoint of the old key is made first. The new key lies beside the old one until the change has
    committed. Raises PermissionDenied.
    """
    _ensure_keeper(principal)
    checkpoint = make_checkpoint()
    old, new = signing_key(), Ed25519PrivateKey.generate()
    origin = log_origin()
    note = sign_rotation(name=origin, old=old, new=new, size=checkpoint.size)
    keys = [verifier_key(origin, raw_public_key(key.public_key())) for key in (old, new)]
    waiting = next_key_file()
    waiting.unlink(missing_ok=True)
    waiting.touch(mode=0o600)
    waiting.write_text(new.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()).hex(), "ascii")
    with transaction.atomic():
        LogHead.objects.select_for_update().get(pk=1)
        rotation = KeyRotation.objects.create(
            old_key=keys[0], new_key=keys[1], size=checkpoint.size, note=note, rotated_at=timezone.now()
        )
        record(
            KeyRotated(old_key=keys[0], new_key=keys[1], size=checkpoint.size, note=note, reason=reason[:500]),
            actor=principal.reference,
            subject=f"log:{origin}"[:200],
        )
    finish_rotation()
    return rotation


@transaction.atomic
def erase_payload(*, principal: Reader, entry: LedgerEntry, reason: str) -> LedgerEntry:
    """Erase what an entry says, nonce and all; the entry stays and a tombstone says who, when and why.

    Raises PermissionDenied, NotErasableError, ValueError without a reason.
    """
    _ensure_keeper(principal)
    if not reason.strip():
        raise ValueError("a reason is required")
    if entry.entry_type in {PayloadErased.entry_type, KeyRotated.entry_type}:
        raise NotErasableError("What happened to the log itself is never erased.")
    seq = entry.seq
    if seq is None:
        raise NotErasableError("The entry is not sealed yet; that takes a few seconds.")
    # Without the nonce, a small payload cannot be guessed from its digest.
    erased = EntryContent.objects.filter(pk=entry.pk, erased_at__isnull=True).update(
        body=b"", nonce=b"", erased_at=timezone.now()
    )
    if not erased:
        raise NotErasableError("The content was erased already.")
    return record(
        PayloadErased(
            seq=seq, erased_type=entry.entry_type, payload_sha256=entry.payload_sha256, reason=reason.strip()[:500]
        ),
        actor=principal.reference,
        subject=f"entry:{seq}",
    )


@dataclass(frozen=True)
class Witnessed:
    """Whether a checkpoint kept elsewhere is one of this log, in words."""

    holds: bool
    says: str
    size: int = 0


def compare_checkpoint(note: str) -> Witnessed:
    """Compare a checkpoint that somebody kept elsewhere with the log as it is now."""
    try:
        head = open_known(note.replace("\r\n", "\n").strip("\n") + "\n")
    except NoteRefusedError as error:
        return Witnessed(holds=False, says=f"This is not a checkpoint that this log has signed: {error}.")
    size, says = head.size, ""
    if head.origin != log_origin():
        says = f"It speaks of the log {head.origin}."
    else:
        try:
            if root_at(size) != head.root:
                says = f"The first {size} entries are not the ones that were signed."
        except NotInLogError:
            says = f"It speaks of {size} entries, and the log has fewer: it was cut."
    if says:
        return Witnessed(holds=False, says=says, size=size)
    return Witnessed(holds=True, says=f"The log still begins with the {size} entries that were signed.", size=size)


def _ensure_keeper(principal: Reader) -> None:
    if not principal.may(KEEP):
        raise PermissionDenied("Administrators of the site keep the ledger.")

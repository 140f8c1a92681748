"""Signed statements of the log's size and root, and the key that signs them."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from django.utils import timezone

from core.identifiers import new_id
from ledger.domain.notes import (
    NoteRefusedError,
    TreeHead,
    open_checkpoint,
    open_rotation,
    raw_public_key,
    sign_checkpoint,
    verifier_key,
)
from ledger.domain.tree import root_of_frontier
from ledger.models import Checkpoint, KeyRotation, LogHead
from ledger.services.sealing import log_origin, seal_pending


class NothingSealedError(RuntimeError):
    """The log is empty: there is nothing to sign."""


def signing_key() -> Ed25519PrivateKey:
    """Return the log's key; it is made on first use, in a file that only this user may read."""
    path = Path(settings.LEDGER_KEY_FILE)
    finish_rotation()
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text("ascii").strip()))
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        draft = path.with_name(f".{new_id('key')}")
        draft.touch(mode=0o600)
        draft.write_text(raw.hex(), "ascii")
        try:
            # Two processes may make the key at once: the first to link its file wins, both then read that one.
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text("ascii").strip()))


def next_key_file() -> Path:
    """Return where a new key waits until the rotation to it has committed."""
    return Path(f"{settings.LEDGER_KEY_FILE}.next")


def finish_rotation() -> None:
    """Put a new key in force whose rotation has committed; a crash in between is made good here."""
    waiting = next_key_file()
    try:
        raw = bytes.fromhex(waiting.read_text("ascii").strip())
    except FileNotFoundError:
        return
    public = raw_public_key(Ed25519PrivateKey.from_private_bytes(raw).public_key())
    newest = KeyRotation.objects.last()
    if newest is not None and newest.new_key == verifier_key(log_origin(), public):
        waiting.replace(settings.LEDGER_KEY_FILE)


def known_keys() -> list[bytes]:
    """Return every key that this log has had, the present one first, each vouched for by the one after it."""
    keys = [public_key()]
    for rotation in KeyRotation.objects.order_by("-pk"):
        try:
            old, new, _ = open_rotation(rotation.note, name=log_origin())
        except NoteRefusedError:
            break
        if new != keys[-1]:
            break
        keys.append(old)
    return keys


def open_known(note: str) -> TreeHead:
    """Return what a checkpoint of this log says if any of its keys has signed it. Raises NoteRefusedError."""
    origin, refused = log_origin(), NoteRefusedError("this log has no key")
    for public in known_keys():
        try:
            return open_checkpoint(note, name=origin, public=public)
        except NoteRefusedError as error:
            refused = error
    raise refused


def public_key() -> bytes:
    """Return the 32 bytes of the key that checkpoints are signed with."""
    return raw_public_key(signing_key().public_key())


def public_verifier_key() -> str:
    """Return the key as text to hand to an auditor."""
    return verifier_key(log_origin(), public_key())


def make_checkpoint() -> Checkpoint:
    """Seal what is pending and sign the log's size and root; the newest checkpoint if nothing has come since.

    Raises NothingSealedError on an empty log.
    """
    seal_pending()
    head = LogHead.objects.filter(pk=1).first()
    if head is None or not head.size:
        raise NothingSealedError("The log is empty; record something first.")
    newest = Checkpoint.objects.first()
    if newest is not None and newest.size == head.size:
        return newest
    root = root_of_frontier([bytes.fromhex(text) for text in head.frontier])
    note = sign_checkpoint(TreeHead(origin=head.origin, size=head.size, root=root), name=head.origin, key=signing_key())
    return Checkpoint.objects.create(size=head.size, root=root, note=note, created_at=timezone.now())

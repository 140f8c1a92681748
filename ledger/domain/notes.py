"""Checkpoints as C2SP signed notes (c2sp.org/signed-note, c2sp.org/tlog-checkpoint) with Ed25519."""

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ED25519 = b"\x01"


class NoteRefusedError(ValueError):
    """A note that is not well formed, or whose signature does not hold."""


@dataclass(frozen=True)
class TreeHead:
    """What a checkpoint says: the log's name, how many leaves, and their root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """Return the text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def raw_public_key(key: Ed25519PublicKey) -> bytes:
    """Return the 32 bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(name: str, public: bytes) -> bytes:
    """Return the four bytes that name a key in a signature line."""
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """Return the key as text to hand to an auditor: `name+id+base64`."""
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(ED25519 + public).decode()}"


def sign_note(text: str, *, name: str, key: Ed25519PrivateKey) -> str:
    """Return a text (which ends with a newline) as a signed note."""
    signature = key_id(name, raw_public_key(key.public_key())) + key.sign(text.encode())
    return f"{text}\n— {name} {base64.b64encode(signature).decode()}\n"


def sign_checkpoint(head: TreeHead, *, name: str, key: Ed25519PrivateKey) -> str:
    """Return the signed note of a tree head."""
    return sign_note(head.text(), name=name, key=key)


def read_verifier_key(text: str) -> tuple[str, bytes]:
    """Return name and public key of `name+id+base64`. Raises NoteRefusedError."""
    name, _, rest = text.strip().partition("+")
    try:
        raw = base64.b64decode(rest.partition("+")[2], validate=True)
    except ValueError:
        raw = b""
    if raw[:1] != ED25519 or len(raw) != 33 or verifier_key(name, raw[1:]) != text.strip():
        raise NoteRefusedError("not a verifier key")
    return name, raw[1:]


def open_checkpoint(note: str, *, name: str, public: bytes) -> TreeHead:
    """Return what a note says if this key has signed it. Raises NoteRefusedError."""
    lines = open_note(note, name=name, public=public)
    if len(lines) != 3:
        raise NoteRefusedError("not a checkpoint: three lines, an empty one and signatures are expected")
    try:
        return TreeHead(origin=lines[0], size=int(lines[1]), root=base64.b64decode(lines[2], validate=True))
    except ValueError:
        raise NoteRefusedError("not a checkpoint: a size and a root are expected") from None


def open_note(note: str, *, name: str, public: bytes) -> list[str]:
    """Return the lines of a note that this key has signed. Raises NoteRefusedError."""
    text, separator, signatures = note.partition("\n\n")
    if not separator:
        raise NoteRefusedError("not a signed note: an empty line and signatures are expected")
    wanted = key_id(name, public)
    for line in signatures.splitlines():
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "—" or parts[1] != name:
            continue
        try:
            raw = base64.b64decode(parts[2], validate=True)
        except ValueError:
            continue
        if raw[:4] == wanted:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], f"{text}\n".encode())
            except InvalidSignature:
                raise NoteRefusedError("the signature does not hold") from None
            return text.split("\n")
    raise NoteRefusedError(f"no signature by {name} with key {wanted.hex()}")


def sign_rotation(*, name: str, old: Ed25519PrivateKey, new: Ed25519PrivateKey, size: int) -> str:
    """Return the note that hands a log over from one key to the next, signed by both."""
    keys = [verifier_key(name, raw_public_key(key.public_key())) for key in (old, new)]
    text = f"{name}\nkey rotation\n{keys[0]}\n{keys[1]}\n{size}\n"
    first, second = (sign_note(text, name=name, key=key) for key in (old, new))
    return first + second.partition("\n\n")[2]


def open_rotation(note: str, *, name: str) -> tuple[bytes, bytes, int]:
    """Return old key, new key and size of a rotation that both keys have signed. Raises NoteRefusedError."""
    lines = note.partition("\n\n")[0].split("\n")
    if len(lines) != 5 or lines[:2] != [name, "key rotation"] or not lines[4].isdecimal():
        raise NoteRefusedError("not a key rotation of this log")
    (_, old), (_, new) = read_verifier_key(lines[2]), read_verifier_key(lines[3])
    for public in (old, new):
        open_note(note, name=name, public=public)
    return old, new, int(lines[4])

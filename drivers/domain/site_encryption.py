"""The envelope of a backup: chunks under AES-256-GCM that cannot be cut, reordered, swapped or read without the key.

The chunking is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: "Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance", 2015): each nonce holds a prefix of the file, the chunk's number and whether it is the last one. The
header is authenticated with every chunk. A passphrase goes through scrypt (RFC 7914), a key through HKDF (RFC 5869).
"""

import hashlib
import hmac
import io
import json
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"ASSAY-BACKUP\n"
FORMAT = 1
CHUNK_BYTES = 1024 * 1024
TAG_BYTES = 16
KEY_BYTES = 32
MAX_HEADER_BYTES = 4096
SCRYPT_N = 2**15
MAX_SCRYPT_N = 2**20
_LENGTH = struct.Struct(">I")


class BackupUnreadableError(ValueError):
    """The file cannot be used; the message says why in one sentence."""


class WrongKeyError(BackupUnreadableError):
    """The key or passphrase is not the one that the backup was made with."""


class NewerFormatError(BackupUnreadableError):
    """The backup was made by a newer version than this one."""


@dataclass(frozen=True)
class BackupKey:
    """What a backup is locked with: the bytes of a key file, or a passphrase."""

    secret: bytes
    is_passphrase: bool

    def __repr__(self) -> str:
        return f"BackupKey({'passphrase' if self.is_passphrase else 'key file'})"


def key_from_text(text: str) -> BackupKey:
    """Return the key that a key file holds: 64 hexadecimal digits. Raises ValueError."""
    secret = bytes.fromhex(text.strip())
    if len(secret) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, written as {2 * KEY_BYTES} hexadecimal digits")
    return BackupKey(secret, is_passphrase=False)


def new_key_text() -> str:
    """Return a new random key as text for a key file."""
    return secrets.token_bytes(KEY_BYTES).hex()


class EncryptingWriter(io.RawIOBase):
    """Takes plain bytes and writes a backup's envelope; only `finish` makes it whole."""

    def __init__(self, out: BinaryIO, key: BackupKey) -> None:
        salt = secrets.token_bytes(16)
        header: dict[str, Any] = {"format": FORMAT, "cipher": "AES-256-GCM-STREAM", "chunk_bytes": CHUNK_BYTES}
        header |= {"salt": salt.hex(), "kdf": "scrypt" if key.is_passphrase else "hkdf"}
        if key.is_passphrase:
            header |= {"n": SCRYPT_N, "r": 8, "p": 1}
        file_key, check, self._prefix = _derive(key, header)
        raw = json.dumps({**header, "key_check": check.hex()}, sort_keys=True).encode()
        self._out = out
        self._cipher = AESGCM(file_key)
        self._about = hashlib.sha256(raw).digest()
        self._buffer = bytearray()
        self._number = 0
        out.write(MAGIC + _LENGTH.pack(len(raw)) + raw)

    def writable(self) -> bool:
        """Say that bytes may be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Take bytes; whole chunks are sealed and written on."""
        self._buffer += data
        while len(self._buffer) > CHUNK_BYTES:
            self._seal(bytes(self._buffer[:CHUNK_BYTES]), last=False)
            del self._buffer[:CHUNK_BYTES]
        return len(data)

    def finish(self) -> None:
        """Seal the last chunk. What was not finished is read as truncated."""
        self._seal(bytes(self._buffer), last=True)
        self._buffer.clear()

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        nonce = _nonce(self._prefix, self._number, last=last)
        self._out.write(self._cipher.encrypt(nonce, chunk, self._about))
        self._number += 1


class DecryptingReader(io.RawIOBase):
    """Gives back the plain bytes of an envelope, each chunk only after it was authenticated."""

    def __init__(self, source: BinaryIO, key: BackupKey, *, progress: Callable[[int], None] | None = None) -> None:
        if source.read(len(MAGIC)) != MAGIC:
            raise BackupUnreadableError("This is not a backup of this site: it does not begin like one.")
        header, raw = _read_header(source)
        file_key, check, self._prefix = _derive(key, header)
        if not hmac.compare_digest(check.hex(), str(header.get("key_check"))):
            raise WrongKeyError("Wrong key: this backup was made with another key or passphrase.")
        self._source = source
        self._cipher = AESGCM(file_key)
        self._about = hashlib.sha256(raw).digest()
        self._ahead = source.read(CHUNK_BYTES + TAG_BYTES)
        self._plain = b""
        self._number = 0
        self._ended = False
        self._progress = progress

    def readable(self) -> bool:
        """Say that bytes may be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer; 0 at the end."""
        while not self._plain and not self._ended:
            self._open_next()
        count = min(len(buffer), len(self._plain))
        buffer[:count] = self._plain[:count]
        self._plain = self._plain[count:]
        return count

    def drain(self) -> None:
        """Read to the end, so that a cut or changed tail is noticed."""
        while self.read(CHUNK_BYTES):
            pass

    def _open_next(self) -> None:
        sealed, self._ahead = self._ahead, self._source.read(CHUNK_BYTES + TAG_BYTES)
        last = not self._ahead
        try:
            self._plain = self._cipher.decrypt(_nonce(self._prefix, self._number, last=last), sealed, self._about)
        except InvalidTag:
            raise BackupUnreadableError(self._why(sealed, last=last)) from None
        self._number += 1
        self._ended = last
        if self._progress is not None:
            self._progress(self._number * (CHUNK_BYTES + TAG_BYTES))

    def _why(self, sealed: bytes, *, last: bool) -> str:
        if last:
            try:
                self._cipher.decrypt(_nonce(self._prefix, self._number, last=False), sealed, self._about)
            except InvalidTag:
                whole = len(sealed) == CHUNK_BYTES + TAG_BYTES
                if not whole:
                    return "The backup is truncated or its end was changed: the last chunk does not hold."
            else:
                return f"The backup is truncated: it ends after chunk {self._number + 1} and more belongs to it."
        return f"The backup was changed or damaged: chunk {self._number + 1} does not hold."


def _read_header(source: BinaryIO) -> tuple[dict[str, Any], bytes]:
    size = source.read(_LENGTH.size)
    if len(size) < _LENGTH.size or not 0 < _LENGTH.unpack(size)[0] <= MAX_HEADER_BYTES:
        raise BackupUnreadableError("The backup is truncated or damaged: its header cannot be read.")
    raw = source.read(_LENGTH.unpack(size)[0])
    try:
        header = json.loads(raw)
        number = int(header["format"])
    except (ValueError, KeyError, TypeError):
        raise BackupUnreadableError("The backup is truncated or damaged: its header cannot be read.") from None
    if number > FORMAT:
        raise NewerFormatError(f"The backup has format {number}; this version reads up to {FORMAT}. Update first.")
    return header, raw


def _derive(key: BackupKey, header: dict[str, Any]) -> tuple[bytes, bytes, bytes]:
    """Return the file's key, what tells a wrong key apart, and the prefix of its nonces."""
    if key.is_passphrase != (header.get("kdf") == "scrypt"):
        wanted = "a passphrase" if header.get("kdf") == "scrypt" else "a key file"
        raise WrongKeyError(f"Wrong key: this backup was made with {wanted}.")
    try:
        salt = bytes.fromhex(header["salt"])
        secret = key.secret
        if key.is_passphrase:
            n, r, p = int(header["n"]), int(header["r"]), int(header["p"])
            if not (n <= MAX_SCRYPT_N and r <= 16 and p <= 4):
                raise BackupUnreadableError("The backup's header asks for more work than is allowed.")
            secret = Scrypt(salt=salt, length=KEY_BYTES, n=n, r=r, p=p).derive(secret)
        derived = HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES + 16 + 7, salt=salt, info=b"assay-backup-1").derive(
            secret
        )
    except (KeyError, ValueError, TypeError) as error:
        if isinstance(error, BackupUnreadableError):
            raise
        raise BackupUnreadableError("The backup is damaged: its header cannot be read.") from None
    return derived[:KEY_BYTES], derived[KEY_BYTES:-7], derived[-7:]


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + _LENGTH.pack(number) + (b"\x01" if last else b"\x00")

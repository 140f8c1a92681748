"""The envelope of a backup: what is cut, changed, reordered or opened with another key is refused by name."""

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.domain import site_encryption
from drivers.domain.site_encryption import (
    BackupKey,
    BackupUnreadableError,
    DecryptingReader,
    EncryptingWriter,
    NewerFormatError,
    WrongKeyError,
    key_from_text,
    new_key_text,
)

KEY = key_from_text("ab" * 32)
CHUNK = 64


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_encryption, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(site_encryption, "SCRYPT_N", 2**10)


def seal(content: bytes, key: BackupKey = KEY, *, finish: bool = True) -> bytes:
    out = io.BytesIO()
    writer = EncryptingWriter(out, key)
    for start in range(0, len(content), 50):
        writer.write(content[start : start + 50])
    if finish:
        writer.finish()
    return out.getvalue()


def open_(sealed: bytes, key: BackupKey = KEY) -> bytes:
    return DecryptingReader(io.BytesIO(sealed), key).readall() or b""


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=5 * CHUNK))
def test_what_was_sealed_comes_back(content: bytes) -> None:
    assert open_(seal(content)) == content


@pytest.mark.parametrize("size", [0, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_every_cut_is_noticed(size: int) -> None:
    sealed = seal(b"x" * size)
    for end in range(len(sealed)):
        with pytest.raises(BackupUnreadableError):
            open_(sealed[:end])


def test_a_cut_at_the_end_of_a_chunk_is_called_truncated() -> None:
    sealed = seal(b"x" * 3 * CHUNK)
    with pytest.raises(BackupUnreadableError, match="truncated: it ends after chunk 2 "):
        open_(sealed[: -(CHUNK + 16)])


def test_a_file_that_was_not_finished_is_truncated() -> None:
    with pytest.raises(BackupUnreadableError, match="truncated"):
        open_(seal(b"x" * 3 * CHUNK, finish=False))


def test_every_changed_byte_is_noticed() -> None:
    sealed = bytearray(seal(b"y" * 2 * CHUNK))
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(BackupUnreadableError):
            open_(bytes(changed))


def test_chunks_cannot_be_swapped() -> None:
    sealed = seal(b"a" * CHUNK + b"b" * CHUNK + b"c")
    tail = CHUNK + 16
    head = len(sealed) - 2 * tail - 17
    swapped = sealed[:head] + sealed[head + tail : head + 2 * tail] + sealed[head : head + tail] + sealed[-17:]
    with pytest.raises(BackupUnreadableError, match="chunk 1 does not hold"):
        open_(swapped)


def test_another_key_is_called_a_wrong_key() -> None:
    with pytest.raises(WrongKeyError, match="another key"):
        open_(seal(b"z"), key_from_text(new_key_text()))


def test_a_passphrase_opens_what_it_sealed_and_nothing_else() -> None:
    sealed = seal(b"z", BackupKey(b"correct horse battery", is_passphrase=True))
    assert open_(sealed, BackupKey(b"correct horse battery", is_passphrase=True)) == b"z"
    with pytest.raises(WrongKeyError, match="another key or passphrase"):
        open_(sealed, BackupKey(b"wrong", is_passphrase=True))
    with pytest.raises(WrongKeyError, match="made with a passphrase"):
        open_(sealed)


def test_a_newer_format_asks_for_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_encryption, "FORMAT", 2)
    sealed = seal(b"z")
    monkeypatch.setattr(site_encryption, "FORMAT", 1)
    with pytest.raises(NewerFormatError, match="format 2; this version reads up to 1"):
        open_(sealed)


def test_a_header_cannot_ask_for_endless_work() -> None:
    sealed = seal(b"z", BackupKey(b"p", is_passphrase=True)).replace(b'"n": 1024', b'"n": 9999999', 1)
    with pytest.raises(BackupUnreadableError):
        open_(sealed, BackupKey(b"p", is_passphrase=True))


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\x00"])
def test_another_file_is_refused(content: bytes) -> None:
    with pytest.raises(BackupUnreadableError, match="not a backup"):
        open_(content)


def test_a_key_does_not_show_itself() -> None:
    shown: Any = repr(KEY)
    assert "ab" * 8 not in shown

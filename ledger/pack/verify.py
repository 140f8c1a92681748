#!/usr/bin/env python3
"""Verify an evidence pack offline, with Python's standard library alone.

    python3 verify.py [PACK] --key NAME+ID+KEY [--checkpoint OLDER.note …] [--json]

PACK is the ZIP file or the folder it was unpacked to; left out, the folder of this script. Nothing inside the pack is
trusted: what is trusted is the key, or a checkpoint received earlier, that is given on the command line. Get this
script, too, from somewhere else than the pack if somebody might have changed the pack.

Exit code 0: everything holds. 1: it does not. 2: wrong use. 3: nothing was found wrong, but no key or checkpoint was
given, so nothing shows who made the pack.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:  # the arithmetic below does the same, slower
    Ed25519PublicKey = None  # type: ignore[assignment,misc]

FORMAT = "assay-evidence-pack"
UNLISTED = {"manifest.json", "manifest.note"}
EMPTY_ROOT = hashlib.sha256(b"").digest()


class BrokenError(Exception):
    """Something in the pack does not hold."""


# Ed25519 (RFC 8032, section 5.1.7), for machines without the cryptography package.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def _add(one: Any, two: Any) -> Any:
    a = (one[1] - one[0]) * (two[1] - two[0]) % P
    b = (one[1] + one[0]) * (two[1] + two[0]) % P
    c = 2 * one[3] * two[3] * D % P
    d = 2 * one[2] * two[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def _times(number: int, point: Any) -> Any:
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = _add(result, point)
        point = _add(point, point)
        number >>= 1
    return result


def _decoded(raw: bytes) -> Any:
    """Return the point of 32 bytes, or None."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def _encoded(point: Any) -> bytes:
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    number: int = y | (x & 1) << 255
    return number.to_bytes(32, "little")


BASE = _decoded((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signature_holds_slowly(public: bytes, signature: bytes, message: bytes) -> bool:
    """Verify an Ed25519 signature in plain Python."""
    if len(public) != 32 or len(signature) != 64:
        return False
    key = _decoded(public)
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or scalar >= ORDER:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    factor = int.from_bytes(digest, "little") % ORDER
    negative = (P - key[0], key[1], key[2], P - key[3])
    return _encoded(_add(_times(scalar, BASE), _times(factor, negative))) == signature[:32]


def signature_holds(public: bytes, signature: bytes, message: bytes) -> bool:
    """Verify an Ed25519 signature."""
    if Ed25519PublicKey is None:
        return signature_holds_slowly(public, signature, message)
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# Keys and signed notes (c2sp.org/signed-note).


def read_key(text: str) -> tuple[str, bytes]:
    """Return name and public key of `name+id+base64`. Raises ValueError."""
    parts = text.strip().split("+", 2)  # base64 may itself hold a plus sign
    name, identity, encoded = parts if len(parts) == 3 else ("", "", "")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raw = b""
    if not name or len(raw) != 33 or raw[:1] != b"\x01":
        raise ValueError("a key looks like name+8 hexadecimal digits+44 characters of base64")
    if hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] != identity:
        raise ValueError("the key's id does not belong to it: it was not copied whole")
    return name, raw[1:]


def open_note(note: str, name: str, public: bytes) -> list[str]:
    """Return the lines of a note that this key has signed. Raises BrokenError."""
    text, found, signatures = note.partition("\n\n")
    if not found:
        raise BrokenError("it is not a signed note")
    wanted = hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]
    for line in signatures.splitlines():
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014" or parts[1] != name:
            continue
        try:
            raw = base64.b64decode(parts[2], validate=True)
        except binascii.Error:
            continue
        if raw[:4] == wanted and signature_holds(public, raw[4:], text.encode() + b"\n"):
            return text.split("\n")
    raise BrokenError(f"no signature of {name} with this key holds")


def read_checkpoint(lines: list[str]) -> tuple[str, int, bytes]:
    """Return log, size and root of a checkpoint's lines. Raises BrokenError."""
    try:
        return lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True)
    except (IndexError, ValueError):
        raise BrokenError("it is not a checkpoint") from None


# The tree (RFC 6962, RFC 9162).


def leaf_of(line: bytes) -> bytes:
    """Return the leaf hash of an entry's bytes."""
    return hashlib.sha256(b"\x00" + line).digest()


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """Return the root over all leaves."""
    stack: list[tuple[int, bytes]] = []
    for leaf in leaves:
        height, value = 0, leaf
        while stack and stack[-1][0] == height:
            value = node(stack.pop()[1], value)
            height += 1
        stack.append((height, value))
    if not stack:
        return EMPTY_ROOT
    root = stack.pop()[1]
    while stack:
        root = node(stack.pop()[1], root)
    return root


def root_by_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    position, last, value = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if position & 1 or position == last:
            value = node(sibling, value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node(value, sibling)
        position, last = position >> 1, last >> 1
    return value if last == 0 else None


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: list[bytes]) -> bool:
    """Say whether a proof shows that the tree of `new` leaves begins with that of `old` (RFC 9162, 2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if not 0 < old < new:
        return False
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    before = after = path[0]
    for value in path[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            before, after = node(value, before), node(value, after)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            after = node(after, value)
        first, last = first >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


# The pack.


class Pack:
    """The files of a pack, in a ZIP file or in a folder."""

    def __init__(self, place: Path) -> None:
        self._folder: Path | None = None
        self._zip: zipfile.ZipFile | None = None
        if place.is_dir():
            self._folder = place
            found = [path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()]
            self.names = {name for name in found if "__pycache__" not in name}
            return
        self._zip = zipfile.ZipFile(place)
        listed = [info.filename for info in self._zip.infolist() if not info.is_dir()]
        self.names = set(listed)
        if len(listed) != len(self.names):
            raise BrokenError("the ZIP file holds two files of one name")

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises BrokenError."""
        if name not in self.names:
            raise BrokenError(f"{name} is missing")
        try:
            if self._zip is not None:
                return self._zip.read(name)
            assert self._folder is not None  # noqa: S101 one of the two is set
            return (self._folder / name).read_bytes()
        except (OSError, zipfile.BadZipFile) as error:
            raise BrokenError(f"{name} cannot be read: {error}") from None

    def digest(self, name: str) -> tuple[str, int]:
        """Return a file's SHA-256 and size, without holding it whole. Raises BrokenError."""
        if name not in self.names:
            raise BrokenError(f"{name} is missing")
        digest, size = hashlib.sha256(), 0
        try:
            folder = self._folder or Path()
            with self._zip.open(name) if self._zip is not None else (folder / name).open("rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    size += len(chunk)
        except (OSError, zipfile.BadZipFile) as error:
            raise BrokenError(f"{name} cannot be read: {error}") from None
        return digest.hexdigest(), size

    def lines(self, name: str) -> Iterator[bytes]:
        """Yield a file's lines, without holding it whole. Raises BrokenError."""
        if name not in self.names:
            raise BrokenError(f"{name} is missing")
        try:
            folder = self._folder or Path()
            with self._zip.open(name) if self._zip is not None else (folder / name).open("rb") as file:
                for line in file:
                    yield line.removesuffix(b"\n")
        except (OSError, zipfile.BadZipFile) as error:
            raise BrokenError(f"{name} cannot be read: {error}") from None

    def records(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield the records of a file of JSON lines; each speaks of a later entry than the one before."""
        newest = -1
        for line in self.lines(name):
            record = _json(line, name)
            if record["seq"] <= newest:
                raise BrokenError(f"{name} says two things of entry {record['seq']}, or is out of order")
            newest = record["seq"]
            yield record


def _json(raw: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError:
        raise BrokenError(f"{name} is not JSON") from None
    if not isinstance(value, dict):
        raise BrokenError(f"{name} does not hold records")
    return value


def canonical(value: Any) -> bytes:
    """Return canonical JSON (RFC 8785) of values without floats and with ASCII keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def _hex(text: Any) -> bytes:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        raise BrokenError(f"{str(text)[:40]!r} is not hexadecimal") from None


class Report:
    """What was checked: what holds, what does not, and what cannot be told from here."""

    def __init__(self) -> None:
        self.holds: list[str] = []
        self.broken: list[str] = []
        self.unproved: list[str] = []
        self.trusted = False

    @property
    def code(self) -> int:
        """The exit code."""
        return 1 if self.broken else 0 if self.trusted else 3

    def check(self, said: str, call: Any, *given: Any) -> Any:
        """Run a check; what it returns, or None when it does not hold."""
        try:
            answer = call(*given)
        except BrokenError as error:
            self.broken.append(f"{said}: {error}")
            return None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            self.broken.append(f"{said}: not of the form that is expected ({type(error).__name__}: {error})")
            return None
        self.holds.append(answer if isinstance(answer, str) else said)
        return answer


def verify(pack: Pack, key: str | None, known: list[str]) -> Report:
    """Check everything. `key` and the checkpoints `known` come from outside the pack."""
    report = Report()
    manifest = report.check("The manifest can be read", lambda: _manifest(pack))
    if manifest is None:
        return report
    claimed = report.check("The pack names its key", lambda: read_key(manifest["key"]))
    if claimed is None:
        return report
    name, public = claimed
    trusted = read_key(key) if key is not None else None
    keys = report.check("Keys of the log", _keys, pack, claimed, trusted) or [claimed[1]]
    if report.broken:
        return report
    if trusted is not None:
        report.holds[-1] = (
            "The pack was signed with the key given to this script"
            if trusted[1] == public
            else "The pack was signed with a key that the key given to this script has handed over to"
        )
    else:
        report.holds.pop()
    report.check("The manifest is signed", _manifest_signature, pack, name, public)
    report.check("Every file is the one that the manifest lists", _files, pack, manifest)
    head = report.check("The checkpoint is signed", _checkpoint, pack, manifest, name, public)
    if head is not None:
        size, root = head
        entries = report.check("Entries", _entries, pack, manifest, size, root)
        if entries is not None:
            report.holds[-1] = f"All {len(entries)} entries are in the log of {size} entries that was signed"
            report.check("Payloads", _payloads, pack, manifest, entries)
            if any(item["payload"] != "included" for item in manifest["entries"]):
                _tombstones(report, pack, manifest)
            report.check("Artifacts", _artifacts, manifest, entries)
            _completeness(report, pack, manifest, entries, head)
        for text in known:
            report.check("A checkpoint received earlier", _earlier, pack, text, name, keys, head)
    report.trusted = key is not None or bool(known)
    _limits(report, manifest, key, known)
    return report


def _manifest(pack: Pack) -> dict[str, Any]:
    manifest = _json(pack.read("manifest.json"), "manifest.json")
    if manifest.get("format") != FORMAT or manifest.get("version") != 1:
        raise BrokenError(f"this script reads {FORMAT} version 1")
    return manifest


def _keys(pack: Pack, claimed: tuple[str, bytes], trusted: tuple[str, bytes] | None) -> list[bytes]:
    """Return the keys that may have signed for this log, the pack's own first.

    Each rotation is signed by the old key and by the new one. With a trusted key, the chain must lead from it to the
    key of the pack.
    """
    name, public = claimed
    hops: list[tuple[bytes, bytes]] = []
    for line in pack.lines("keys.jsonl") if "keys.jsonl" in pack.names else []:
        note = _json(line, "keys.jsonl")["rotation"]
        said = note.partition("\n\n")[0].split("\n")
        if len(said) != 5 or said[:2] != [name, "key rotation"]:
            raise BrokenError("a rotation does not belong to this log")
        old, new = read_key(said[2])[1], read_key(said[3])[1]
        open_note(note, name, old)
        open_note(note, name, new)
        hops.append((old, new))
    keys = [public]
    for old, new in reversed(hops):
        if new == keys[-1]:
            keys.append(old)
    if trusted is not None and (trusted[0] != name or trusted[1] not in keys):
        raise BrokenError("the pack was signed by another key than the one given")
    # What came before the trusted key vouches for nothing.
    return keys if trusted is None else keys[: keys.index(trusted[1]) + 1]


def _manifest_signature(pack: Pack, name: str, public: bytes) -> None:
    lines = open_note(pack.read("manifest.note").decode(), name, public)
    digest = hashlib.sha256(pack.read("manifest.json")).hexdigest()
    if lines[:3] != [name, "evidence pack manifest", f"sha256:{digest}"]:
        raise BrokenError("what was signed is another manifest")


def _files(pack: Pack, manifest: dict[str, Any]) -> str:
    listed = manifest["files"]
    if extra := sorted(pack.names - set(listed) - UNLISTED):
        raise BrokenError(f"{extra[0]} is in the pack and not in the manifest")
    for name, said in sorted(listed.items()):
        if pack.digest(name) != (said["sha256"], said["bytes"]):
            raise BrokenError(f"{name} was changed")
    return f"All {len(listed)} files are the ones that the manifest lists"


def _checkpoint(pack: Pack, manifest: dict[str, Any], name: str, public: bytes) -> tuple[int, bytes]:
    log, size, root = read_checkpoint(open_note(pack.read("checkpoint.note").decode(), name, public))
    if (log, size, root.hex()) != (manifest["log"], manifest["checkpoint"]["size"], manifest["checkpoint"]["root"]):
        raise BrokenError("it is not the one that the manifest speaks of")
    return size, root


def _entries(pack: Pack, manifest: dict[str, Any], size: int, root: bytes) -> dict[int, dict[str, Any]]:
    """Return what the rest needs of the entries, by seq, each proved to be in the signed log.

    Entries and proofs lie in the same order, so that neither is ever held whole.
    """
    found: dict[int, dict[str, Any]] = {}
    proofs = pack.records("proofs.jsonl")
    newest, before = -1, b""
    for line in pack.lines("entries.jsonl"):
        entry = _json(line, "entries.jsonl")
        seq = entry["seq"]
        if canonical(entry) != line:
            raise BrokenError(f"entry {seq} is not in canonical form")
        if seq <= newest:
            raise BrokenError(f"entry {seq} is out of order")
        leaf = leaf_of(line)
        if entry["log"] != manifest["log"]:
            raise BrokenError(f"entry {seq} belongs to the log {entry['log']}")
        proof = next((one for one in proofs if one["seq"] >= seq), None)
        if proof is None or proof["seq"] != seq:
            raise BrokenError(f"entry {seq} has no proof")
        if root_by_path(leaf, seq, size, [_hex(value) for value in proof["path"]]) != root:
            raise BrokenError(f"entry {seq} is not in the log that was signed")
        if seq - 1 == newest and entry["prev"] != before.hex():
            raise BrokenError(f"entry {seq} does not follow entry {seq - 1}")
        newest, before = seq, leaf
        found[seq] = {"artifacts": entry["artifacts"], "payload_sha256": entry["payload_sha256"]}
    if list(found) != [item["seq"] for item in manifest["entries"]]:
        raise BrokenError("the entries are not the ones that the manifest lists")
    return found


def _payloads(pack: Pack, manifest: dict[str, Any], entries: dict[int, dict[str, Any]]) -> str:
    without = {item["seq"] for item in manifest["entries"] if item["payload"] != "included"}
    omitted = {item["what"] for item in manifest["omissions"]}
    for seq in sorted(without):
        if f"the payload of entry {seq}" not in omitted:
            raise BrokenError(f"the payload of entry {seq} is left out, and no omission says why")
    wanted = iter(seq for seq in entries if seq not in without)
    count = 0
    for payload in pack.records("payloads.jsonl"):
        said = payload["seq"]
        if said not in entries or said in without:
            raise BrokenError(f"there is a payload for entry {said}, which should have none")
        seq = next(wanted, None)
        if seq is None or seq != said:
            raise BrokenError(f"the payload of entry {seq} is missing")
        body = payload["payload"].encode("utf-8")
        if hashlib.sha256(_hex(payload["nonce"]) + body).hexdigest() != entries[seq]["payload_sha256"]:
            raise BrokenError(f"the payload of entry {seq} is not the one that was recorded")
        count += 1
    if (seq := next(wanted, None)) is not None:
        raise BrokenError(f"the payload of entry {seq} is missing")
    missing = f", {len(without)} were erased" if without else ""
    return f"All {count} payloads are the ones that were recorded{missing}"


def _tombstones(report: Report, pack: Pack, manifest: dict[str, Any]) -> None:
    """Check that each payload that is said to be erased has a tombstone in the log."""
    erased = {item["seq"] for item in manifest["entries"] if item["payload"] != "included"}
    if "headers.jsonl" not in manifest["files"]:
        report.unproved.append(f"That the {len(erased)} payloads which are missing were erased in the open.")
        return

    def buried() -> str:
        headers = [_json(line, "headers.jsonl") for line in pack.lines("headers.jsonl")]
        stones = {one["subject"] for one in headers if one["type"] == "ledger.payload_erased"}
        # The payloads of a range went because their time was over: its subject says which, as entries:FIRST-LAST.
        ranges = [
            (int(found.group(1)), int(found.group(2)))
            for one in headers
            if one["type"] == "ledger.payloads_outlived"
            and (found := re.fullmatch(r"entries:(\d+)-(\d+)", one["subject"]))
        ]
        for seq in sorted(erased):
            if f"entry:{seq}" not in stones and not any(first <= seq <= last for first, last in ranges):
                raise BrokenError(f"the payload of entry {seq} is missing, and no tombstone says who erased it")
        return f"Each of the {len(erased)} erased payloads has its tombstone in the log"

    report.check("Erased payloads", buried)


def _artifacts(manifest: dict[str, Any], entries: dict[int, dict[str, Any]]) -> str:
    listed = {item["sha256"]: item for item in manifest["artifacts"]}
    said = " ".join(item["what"] for item in manifest["omissions"])
    for item in manifest["artifacts"]:
        if not item["path"] and item["sha256"] not in said:
            raise BrokenError(f"the artifact {item['sha256']} is left out, and no omission says why")
    for seq, entry in entries.items():
        for digest in entry["artifacts"]:
            if digest not in listed:
                raise BrokenError(f"entry {seq} refers to {digest}, which the manifest does not mention")
    there = [item for item in listed.values() if item["path"]]
    for item in there:
        # The file is the one that the manifest lists; it must also be the one that the entry names.
        if manifest["files"].get(item["path"], {}).get("sha256") != item["sha256"]:
            raise BrokenError(f"{item['path']} is not the file that was recorded")
    left_out = f", {len(listed) - len(there)} are left out with a reason" if len(there) < len(listed) else ""
    return f"All {len(there)} artifacts are the files that were recorded{left_out}"


def _completeness(
    report: Report, pack: Pack, manifest: dict[str, Any], entries: dict[int, Any], head: tuple[int, bytes]
) -> None:
    size, root = head
    if "headers.jsonl" not in manifest["files"]:
        report.unproved.append(
            "That every entry which the selection covers is here: the pack does not carry the headers of the others."
        )
        return

    def complete() -> str:
        selection, leaves = manifest["selection"], []
        chosen = None if selection["seqs"] is None else frozenset(selection["seqs"])
        strange: int | None = None
        for number, line in enumerate(pack.lines("headers.jsonl")):
            leaves.append(leaf_of(line))
            header = _json(line, "headers.jsonl")
            if header["seq"] != number:
                raise BrokenError(f"header {number} speaks of entry {header['seq']}")
            if strange is None and _covers(selection, header, chosen) != (number in entries):
                strange = number
        if len(leaves) != size or root_of(leaves) != root:
            raise BrokenError("the headers are not those of the log that was signed")
        if strange is not None:
            raise BrokenError(f"entry {strange} was left out, or is here although the selection does not cover it")
        return f"Nothing that the selection covers was left out of the {size} entries of the log"

    report.check("The selection is complete", complete)


def _covers(selection: dict[str, Any], header: dict[str, Any], chosen: frozenset[int] | None) -> bool:
    """Say whether the selection covers an entry. Instants are text of one form, so that they compare as text."""
    return (
        (not selection["types"] or header["type"] in selection["types"])
        and (not selection["evidence_types"] or header["evidence"] in selection["evidence_types"])
        and (not selection["subjects"] or header["subject"] in selection["subjects"])
        and (selection["since"] is None or header["occurred_at"] >= selection["since"])
        and (selection["until"] is None or header["occurred_at"] < selection["until"])
        and (chosen is None or header["seq"] in chosen)
    )


def _earlier(pack: Pack, note: str, name: str, keys: list[bytes], head: tuple[int, bytes] | None) -> str:
    """Check that the log of the pack begins with the log that a checkpoint from outside speaks of."""
    if head is None:
        raise BrokenError("the pack has no checkpoint to compare it with")
    size, root = head
    log, old, old_root = read_checkpoint(_opened(note, name, keys))
    if log != name:
        raise BrokenError(f"it speaks of the log {log}")
    if old > size:
        raise BrokenError(f"it speaks of {old} entries, the pack of {size}: the log was cut, or the pack is older")
    proofs = {
        record["old"]: record["path"]
        for record in (_json(line, "consistency") for line in pack.lines("consistency.jsonl"))
    }
    if old != size and old not in proofs:
        raise BrokenError(f"the pack has no proof that its log begins with the first {old} entries")
    path = [] if old == size else [_hex(value) for value in proofs[old]]
    if not is_consistent(old, size, old_root, root, path):
        raise BrokenError(f"the first {old} entries were rewritten since")
    return f"The log still begins with the {old} entries of the checkpoint given to this script"


def _opened(note: str, name: str, keys: list[bytes]) -> list[str]:
    refused = BrokenError("there is no key")
    for public in keys:
        try:
            return open_note(note, name, public)
        except BrokenError as error:
            refused = error
    raise refused


def _limits(report: Report, manifest: dict[str, Any], key: str | None, known: list[str]) -> None:
    if key is None and not known:
        report.unproved.append(
            "Who made the pack: give --key, received from the site by another way, or --checkpoint, kept from earlier."
        )
    if not known:
        report.unproved.append(
            "That the log was not rewritten before this pack was made: compare with a checkpoint kept from earlier "
            "(--checkpoint)."
        )
    report.unproved.append("That what was recorded is true, and that everything which happened was recorded.")
    report.unproved.append(
        "The times of entries: they are the site's own clock, bounded only by checkpoints kept elsewhere."
    )
    report.unproved += [f"Left out: {item['what']} ({item['reason']})." for item in manifest["omissions"]]


def main(arguments: list[str] | None = None) -> int:
    """Verify, print, and return the exit code."""
    parser = argparse.ArgumentParser(description="Verify an evidence pack offline.")
    parser.add_argument("pack", nargs="?", default=str(Path(__file__).resolve().parent), help="ZIP file or folder")
    parser.add_argument("--key", help="the log's public key, from elsewhere than the pack: name+id+base64")
    parser.add_argument(
        "--checkpoint", action="append", default=[], metavar="FILE", help="a checkpoint kept from earlier"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    given = parser.parse_args(arguments)
    try:
        if given.key is not None:
            read_key(given.key)
        known = [Path(name).read_text("utf-8") for name in given.checkpoint]
        pack = Pack(Path(given.pack))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except BrokenError as error:
        sys.stderr.write(f"NO  {error}\n")
        return 1
    report = verify(pack, given.key, known)
    answer = {0: "yes", 1: "no", 3: "origin unproven"}[report.code]
    if given.json:
        result = {"answer": answer, "holds": report.holds, "broken": report.broken, "unproved": report.unproved}
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return report.code
    out = [f"yes  {said}" for said in report.holds]
    out += [f"NO   {said}" for said in report.broken]
    out += ["", "This cannot prove:", *(f"  -  {said}" for said in report.unproved), ""]
    out += [
        {
            0: "YES: the pack is whole and unchanged, and signed with the key that you trust.",
            1: "NO: the pack does not hold. See the lines that begin with NO.",
            3: "ORIGIN UNPROVEN: nothing in the pack contradicts itself, but nothing shows who made it (see --key).",
        }[report.code]
    ]
    sys.stdout.write("\n".join(out) + "\n")
    return report.code


if __name__ == "__main__":
    sys.exit(main())

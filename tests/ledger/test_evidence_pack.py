"""Packs as an auditor gets them: verified by the script that they carry, run by itself."""

import base64
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.data import EvidenceType
from ledger.data.access import AuditedAction
from ledger.data.controls import ControlRetired
from ledger.data.packs import EvidencePack, Omission, Selection
from ledger.domain.notes import raw_public_key, sign_note, verifier_key
from ledger.models import EntryContent, LedgerEntry
from ledger.pack import verify as offline
from ledger.services import (
    NothingSealedError,
    erase_payload,
    export_pack,
    make_checkpoint,
    record,
    rotate_key,
    seal_pending,
    store_artifact,
)
from ledger.services.artifacts import artifact_path
from ledger.services.checkpoints import signing_key

pytestmark = [pytest.mark.django_db, pytest.mark.database]
Files = dict[str, bytes]


@dataclass(frozen=True)
class Olga:
    reference: str = "user:7"
    authenticated_at: None = None

    def may(self, capability: Any, *, team_id: int | None = None) -> bool:
        return True


def fill(count: int) -> None:
    digest = store_artifact(b"journal", media_type="text/plain", name="journal.txt")
    for number in range(count):
        record(
            AuditedAction(action="lamp.lit", target=f"{number} \u2028 é"),
            actor="user:1",
            subject=f"lamp:{number}",
            artifacts=[digest] if number == 3 else [],
        )
        record(ControlRetired(control=f"C-{number}", reason="x"), actor="user:2", subject=f"control:C-{number}")


@pytest.fixture(autouse=True)
def log(settings: Any, tmp_path: Path) -> None:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path / "key"


def make(**given: Any) -> EvidencePack:
    selection = Selection(evidence_types=(EvidenceType.AUD,))
    asked: dict[str, Any] = {
        "title": "Lamps, 2026",
        "selection": selection,
        "documents": {"controls/a.html": b"<p>A"},
    } | given
    return export_pack(principal=Olga(), **asked)


def opened(pack: EvidencePack) -> Files:
    with zipfile.ZipFile(io.BytesIO(pack.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def verify(place: Path, *arguments: str) -> tuple[int, str]:
    """Run a pack's script apart from Assay: isolated mode, so that nothing of this project can be imported."""
    script = place / "verify.py" if place.is_dir() else Path(offline.__file__)
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(place), *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def unpack(files: Files, folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


@pytest.mark.integration
def test_a_pack_holds_for_whoever_has_the_key(tmp_path: Path) -> None:
    fill(6)
    pack = make(omissions=[Omission("the paper files", "they are in the archive")])
    zipped = tmp_path / pack.name
    zipped.write_bytes(pack.content)
    folder = unpack(opened(pack), tmp_path / "pack")
    for place in (zipped, folder):
        code, said = verify(place, "--key", pack.key)
        assert code == 0, said
        assert "All 6 entries are in the log of 12 entries" in said
        assert "Nothing that the selection covers was left out" in said
        assert "Left out: the paper files (they are in the archive)" in said
    assert verify(folder)[0] == 3
    assert "origin unproven" in verify(folder, "--json")[1]


@pytest.mark.integration
def test_a_key_that_is_not_one_is_wrong_use(tmp_path: Path) -> None:
    fill(1)
    pack = make()
    folder = unpack(opened(pack), tmp_path / "pack")
    assert verify(folder, "--key", "site+00000000+AAAA")[0] == 2
    assert verify(folder, "--key", pack.key[:-4])[0] == 2
    assert verify(tmp_path / "nowhere", "--key", pack.key)[0] == 2


@pytest.mark.integration
def test_a_pack_is_compared_with_a_checkpoint_kept_from_earlier(tmp_path: Path) -> None:
    fill(3)
    kept = tmp_path / "kept.note"
    kept.write_text(make_checkpoint().note, "utf-8")
    fill(4)
    pack = make()
    folder = unpack(opened(pack), tmp_path / "pack")
    code, said = verify(folder, "--checkpoint", str(kept))
    assert code == 0, said
    assert "still begins with the 6 entries" in said
    forged = kept.read_text("utf-8").splitlines()
    forged[2] = base64.b64encode(b"x" * 32).decode()
    root_of_another_past = sign_note("\n".join(forged[:3]) + "\n", name=forged[0], key=signing_key())
    kept.write_text(root_of_another_past, "utf-8")
    code, said = verify(folder, "--checkpoint", str(kept))
    assert code == 1
    assert "were rewritten since" in said


def lines_of(files: Files, name: str) -> list[bytes]:
    return files[name].splitlines()


def put(files: Files, name: str, lines: list[bytes]) -> None:
    files[name] = b"".join(line + b"\n" for line in lines)


def edit_entry(files: Files) -> None:
    files["entries.jsonl"] = files["entries.jsonl"].replace(b"user:1", b"user:9", 1)


def edit_payload(files: Files) -> None:
    files["payloads.jsonl"] = files["payloads.jsonl"].replace(b"lamp.lit", b"lamp.out", 1)


def drop_payload(files: Files) -> None:
    put(files, "payloads.jsonl", lines_of(files, "payloads.jsonl")[1:])


def edit_artifact(files: Files) -> None:
    name = next(name for name in files if name.startswith("artifacts/"))
    files[name] = b"another journal"


def edit_proof(files: Files) -> None:
    proofs = [json.loads(line) for line in lines_of(files, "proofs.jsonl")]
    proofs[2]["path"][0] = "00" * 32
    put(files, "proofs.jsonl", [json.dumps(proof).encode() for proof in proofs])


def edit_checkpoint(files: Files) -> None:
    lines = files["checkpoint.note"].decode().splitlines()
    lines[2] = base64.b64encode(b"y" * 32).decode()
    files["checkpoint.note"] = ("\n".join(lines) + "\n").encode()


def drop_entry(files: Files) -> None:
    put(files, "entries.jsonl", lines_of(files, "entries.jsonl")[:-1])


def drop_entry_everywhere(files: Files) -> None:
    """Leave an entry out as an administrator of the site could: entry, payload, proof and the manifest's line."""
    for name in ("entries.jsonl", "payloads.jsonl", "proofs.jsonl"):
        put(files, name, lines_of(files, name)[:-1])
    manifest = json.loads(files["manifest.json"])
    manifest["entries"].pop()
    files["manifest.json"] = json.dumps(manifest).encode()


def reorder(files: Files) -> None:
    lines = lines_of(files, "entries.jsonl")
    lines[0], lines[1] = lines[1], lines[0]
    put(files, "entries.jsonl", lines)


def edit_headers(files: Files) -> None:
    files["headers.jsonl"] = files["headers.jsonl"].replace(b"user:2", b"user:1", 1)


def edit_document(files: Files) -> None:
    files["documents/controls/a.html"] = b"<p>B"


def add_file(files: Files) -> None:
    files["documents/more.html"] = b"<p>planted"


def edit_title(files: Files) -> None:
    files["manifest.json"] = files["manifest.json"].replace(b"Lamps", b"Lambs", 1)


TAMPERING = [
    edit_entry,
    edit_payload,
    drop_payload,
    edit_artifact,
    edit_proof,
    edit_checkpoint,
    drop_entry,
    drop_entry_everywhere,
    reorder,
    edit_headers,
    edit_document,
    add_file,
    edit_title,
]


def relist(files: Files) -> None:
    """Bring the manifest's digests up to date, as whoever tampers would."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in files.items()
        if not name.startswith("manifest.")
    }
    files["manifest.json"] = json.dumps(manifest).encode()


def resign(files: Files, key: Ed25519PrivateKey) -> None:
    name = json.loads(files["manifest.json"])["log"]
    digest = hashlib.sha256(files["manifest.json"]).hexdigest()
    text = f"{name}\nevidence pack manifest\nsha256:{digest}\n"
    files["manifest.note"] = sign_note(text, name=name, key=key).encode()


def result(files: Files, folder: Path, key: str) -> offline.Report:
    return offline.verify(offline.Pack(unpack(files, folder)), key, [])


@pytest.mark.parametrize("tamper", TAMPERING)
def test_whatever_is_changed_in_a_pack_is_found(tamper: Callable[[Files], None], tmp_path: Path) -> None:
    fill(6)
    pack = make()
    for name, adapt in (("plain", lambda _: None), ("relisted", relist)):
        files = opened(pack)
        tamper(files)
        adapt(files)
        report = result(files, tmp_path / name, pack.key)
        assert report.code == 1, report.holds


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (edit_entry, "is not in the log that was signed"),
        (edit_payload, "is not the one that was recorded"),
        (drop_payload, "is missing"),
        (edit_artifact, "is not the file that was recorded"),
        (edit_proof, "is not in the log that was signed"),
        (edit_checkpoint, "no signature"),
        (drop_entry, "not the ones that the manifest lists"),
        (drop_entry_everywhere, "was left out"),
        (reorder, "out of order"),
        (edit_headers, "not those of the log"),
    ],
)
def test_the_log_shows_it_even_when_the_manifest_is_signed_again(
    tamper: Callable[[Files], None], said: str, tmp_path: Path
) -> None:
    """The worst case: whoever tampers can sign manifests (but did not sign another log)."""
    fill(6)
    pack = make()
    files = opened(pack)
    tamper(files)
    relist(files)
    resign(files, signing_key())
    report = result(files, tmp_path / "pack", pack.key)
    assert any(said in line for line in report.broken), report.broken


def test_a_pack_signed_with_another_key_is_refused(tmp_path: Path) -> None:
    fill(2)
    pack = make()
    files = opened(pack)
    stranger = Ed25519PrivateKey.generate()
    manifest = json.loads(files["manifest.json"])
    manifest["key"] = verifier_key(manifest["log"], raw_public_key(stranger.public_key()))
    files["manifest.json"] = json.dumps(manifest).encode()
    resign(files, stranger)
    assert any("another key than the one given" in line for line in result(files, tmp_path / "pack", pack.key).broken)


def test_a_pack_without_headers_says_that_it_cannot_prove_completeness(tmp_path: Path) -> None:
    fill(2)
    pack = make(headers=False)
    report = result(opened(pack), tmp_path / "pack", pack.key)
    assert report.code == 0
    assert any("every entry which the selection covers" in line for line in report.unproved)


def test_an_erased_payload_and_a_lost_file_are_listed_as_left_out(tmp_path: Path) -> None:
    fill(5)
    seal_pending()
    erase_payload(principal=Olga(), entry=LedgerEntry.objects.get(subject="lamp:1"), reason="asked for by the person")
    digest = LedgerEntry.objects.get(subject="lamp:3").artifacts[0]
    artifact_path(digest).unlink()
    pack = make()
    report = result(opened(pack), tmp_path / "pack", pack.key)
    assert report.code == 0, report.broken
    assert [omission.reason for omission in pack.omissions] == [
        "it was erased from the log",
        "the file is gone from the store",
    ]


def test_making_a_pack_is_recorded() -> None:
    fill(1)
    pack = make()
    entry = LedgerEntry.objects.get(subject__startswith="pack:")
    assert entry.actor == "user:7"
    assert entry.payload is not None
    assert entry.payload["after"] == {"manifest_sha256": pack.manifest_sha256, "entries": "1"}


def test_there_is_no_pack_of_an_empty_log() -> None:
    with pytest.raises(NothingSealedError):
        make()


@pytest.mark.parametrize("path", ["../evil", "/etc/passwd", "a/../../b", "a\\b", ""])
def test_a_document_may_not_lead_out_of_the_pack(path: str) -> None:
    fill(1)
    with pytest.raises(ValueError, match="relative path"):
        make(documents={path: b""})


@given(st.binary(max_size=200), st.integers(0, 511))
@settings(max_examples=25, deadline=None)
def test_signatures_are_checked_alike_with_and_without_the_cryptography_package(message: bytes, bit: int) -> None:
    key = Ed25519PrivateKey.generate()
    public = raw_public_key(key.public_key())
    signature = bytearray(key.sign(message))
    assert offline.signature_holds_slowly(public, bytes(signature), message)
    signature[bit // 8] ^= 1 << bit % 8
    assert not offline.signature_holds_slowly(public, bytes(signature), message)
    assert not offline.signature_holds(public, bytes(signature), message)
    assert not offline.signature_holds_slowly(public, key.sign(message), message + b".")


def test_ed25519_gives_the_answer_of_the_standard() -> None:
    """RFC 8032, section 7.1, test 2."""
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert offline.signature_holds_slowly(public, signature, b"\x72")
    assert not offline.signature_holds_slowly(public, signature, b"\x73")


def test_a_payload_that_vanished_without_a_tombstone_is_refused(tmp_path: Path) -> None:
    fill(3)
    EntryContent.objects.filter(entry__subject="lamp:1").update(body=b"", nonce=b"", erased_at=timezone.now())
    pack = make()
    assert any("no tombstone" in line for line in result(opened(pack), tmp_path / "pack", pack.key).broken)


def test_a_hidden_omission_is_refused_even_when_signed_again(tmp_path: Path) -> None:
    fill(5)
    artifact_path(LedgerEntry.objects.get(subject="lamp:3").artifacts[0]).unlink()
    pack = make()
    files = opened(pack)
    manifest = json.loads(files["manifest.json"])
    manifest["omissions"] = []
    files["manifest.json"] = json.dumps(manifest).encode()
    assert any("manifest" in line for line in result(files, tmp_path / "one", pack.key).broken)
    resign(files, signing_key())
    assert any("no omission says why" in line for line in result(files, tmp_path / "two", pack.key).broken)


def test_the_key_of_before_a_rotation_still_vouches(tmp_path: Path) -> None:
    fill(2)
    first = make_checkpoint()
    old = make().key
    rotate_key(principal=Olga(), reason="yearly")
    fill(1)
    rotate_key(principal=Olga(), reason="again")
    pack = make()
    assert pack.key != old
    report = result(opened(pack), tmp_path / "pack", old)
    assert report.code == 0, report.broken
    assert any("handed over to" in line for line in report.holds)
    report = offline.verify(offline.Pack(tmp_path / "pack"), old, [first.note])
    assert report.code == 0, report.broken


@pytest.mark.parametrize("change", ["drop", "forge"])
def test_a_rotation_that_is_missing_or_forged_is_refused(change: str, tmp_path: Path) -> None:
    fill(2)
    old = make().key
    rotation = rotate_key(principal=Olga(), reason="yearly")
    pack = make()
    files = opened(pack)
    if change == "drop":
        files["keys.jsonl"] = b""
    else:
        # Signed by the new key alone: whoever took over the site cannot make the old key agree.
        text = rotation.note.partition("\n\n")[0] + "\n"
        forged = sign_note(text, name=text.splitlines()[0], key=signing_key())
        files["keys.jsonl"] = json.dumps({"rotation": forged}).encode() + b"\n"
    relist(files)
    resign(files, signing_key())
    assert result(files, tmp_path / "pack", old).code == 1

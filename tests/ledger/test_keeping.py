"""What is done to the log itself: keys, erasure, anchors, checkpoints from elsewhere."""

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command

from core.periodic import run_now
from core.work import drain
from delivery.models import Delivery
from ledger.data.access import AuditedAction
from ledger.models import Anchor, AnchorReceipt, Checkpoint, EntryContent, LedgerEntry
from ledger.selectors import entries
from ledger.services import (
    AnchorRefusedError,
    NotErasableError,
    add_anchor,
    anchor_checkpoint,
    compare_checkpoint,
    erase_payload,
    make_checkpoint,
    record,
    rotate_key,
    seal_pending,
    stamp_holds,
    verify_log,
)
from ledger.services.anchoring import ANCHOR_QUEUE
from ledger.services.checkpoints import next_key_file, public_key

pytestmark = [pytest.mark.django_db]


@dataclass(frozen=True)
class Somebody:
    reference: str = "user:7"
    keeper: bool = True

    def may(self, capability: Any, *, team_id: int | None = None) -> bool:
        return self.keeper


ADMIN, READER = Somebody(), Somebody(keeper=False)


@pytest.fixture(autouse=True)
def log(settings: Any, tmp_path: Path) -> None:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path / "key"
    fill(5)


def fill(count: int) -> None:
    for number in range(count):
        record(AuditedAction(action="lamp.lit", target=f"{number}"), actor="user:1", subject=f"lamp:{number}")
    seal_pending()


def test_a_rotation_is_signed_by_both_keys_and_the_log_still_verifies() -> None:
    first, old = make_checkpoint(), public_key()
    rotation = rotate_key(principal=ADMIN, reason="yearly")
    assert public_key() != old
    assert not next_key_file().exists()
    fill(3)
    make_checkpoint()
    found = verify_log()
    assert found.holds, found.problems
    assert compare_checkpoint(first.note).holds
    assert rotation.note.count("\u2014 ") == 2
    assert entries(types=["ledger.key_rotated"]).count() == 1


def test_a_crash_between_commit_and_the_new_key_is_made_good(settings: Any) -> None:
    old_key = Path(settings.LEDGER_KEY_FILE)
    make_checkpoint()
    before = old_key.read_text()
    rotate_key(principal=ADMIN, reason="yearly")
    after = old_key.read_text()
    next_key_file().write_text(after)
    old_key.write_text(before)
    assert verify_log().holds
    assert old_key.read_text() == after


def test_only_a_keeper_keeps() -> None:
    entry = LedgerEntry.objects.get(subject="lamp:1")
    with pytest.raises(PermissionDenied):
        rotate_key(principal=READER, reason="x")
    with pytest.raises(PermissionDenied):
        erase_payload(principal=READER, entry=entry, reason="x")
    with pytest.raises(PermissionDenied):
        add_anchor(principal=READER, name="a", kind="mail", target="a@example.org")


def test_an_erased_payload_leaves_a_tombstone_and_the_log_holds() -> None:
    entry = entries().get(subject="lamp:1")
    erase_payload(principal=ADMIN, entry=entry, reason="the person asked")
    content = EntryContent.objects.get(pk=entry.pk)
    assert (bytes(content.body), bytes(content.nonce)) == (b"", b"")
    stone = entries(types=["ledger.payload_erased"]).get()
    assert stone.payload is not None
    assert stone.payload["seq"] == entry.seq
    seal_pending()
    found = verify_log()
    assert (found.holds, found.erased) == (True, 1), found.problems
    with pytest.raises(NotErasableError):
        erase_payload(principal=ADMIN, entry=entry, reason="again")
    with pytest.raises(NotErasableError):
        erase_payload(principal=ADMIN, entry=entries().get(pk=stone.pk), reason="hide it")


def test_an_erasure_without_a_tombstone_is_found() -> None:
    entry = LedgerEntry.objects.get(subject="lamp:2")
    EntryContent.objects.filter(pk=entry.pk).update(body=b"", nonce=b"", erased_at=entry.recorded_at)
    assert any("no tombstone" in problem for problem in verify_log().problems)


def test_a_checkpoint_from_elsewhere_is_compared() -> None:
    first = make_checkpoint()
    fill(4)
    assert compare_checkpoint(first.note).holds
    assert compare_checkpoint(first.note.replace("\n", "\r\n")).holds
    assert not compare_checkpoint(first.note.replace("5", "4", 1)).holds
    assert not compare_checkpoint("nonsense").holds


def test_the_command_says_yes_and_no(tmp_path: Path) -> None:
    note = tmp_path / "kept.note"
    note.write_text(make_checkpoint().note)
    call_command("ledger", "witness", str(note))
    note.write_text("nothing")
    with pytest.raises(CommandError) as ended:
        call_command("ledger", "witness", str(note))
    assert ended.value.returncode == 1
    call_command("ledger", "consistency", "2", "5")
    with pytest.raises(CommandError):
        call_command("ledger", "consistency", "2", "500")


def told(anchor: Anchor) -> AnchorReceipt:
    anchor_checkpoint(make_checkpoint())
    drain(ANCHOR_QUEUE)
    return AnchorReceipt.objects.get(anchor=anchor)


def test_a_git_folder_keeps_each_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    anchor = add_anchor(principal=ADMIN, name="git", kind="git", target=str(folder), every_hours=1)
    receipt = told(anchor)
    assert receipt.status == "delivered", receipt.last_error
    assert receipt.says.startswith("commit ")
    kept = list(folder.glob("*.note"))
    assert [one.read_text() for one in kept] == [Checkpoint.objects.get().note]
    assert entries(types=["ledger.checkpoint_anchored"]).count() == 1
    # Its turn is over: the next one comes an hour later.
    fill(1)
    assert anchor_checkpoint(make_checkpoint()) == 0


def test_mail_is_handed_to_the_outbox_with_note_and_key() -> None:
    receipt = told(add_anchor(principal=ADMIN, name="mail", kind="mail", target="auditor@example.org"))
    delivery = Delivery.objects.get(about="anchor:mail")
    assert receipt.checkpoint.note in delivery.text
    assert receipt.status == "delivered"


@pytest.mark.parametrize(
    ("kind", "target", "roots"),
    [("fax", "1", ""), ("mail", "", ""), ("git", "/nonexistent", ""), ("rfc3161", "http://tsa", "no certificate")],
)
def test_an_anchor_that_cannot_work_is_refused(kind: str, target: str, roots: str) -> None:
    with pytest.raises(AnchorRefusedError):
        add_anchor(principal=ADMIN, name="a", kind=kind, target=target, roots=roots)


def test_the_hourly_checkpoint_is_anchored() -> None:
    add_anchor(principal=ADMIN, name="mail", kind="mail", target="auditor@example.org")
    run_now("ledger.checkpoint")
    assert AnchorReceipt.objects.count() == 1


CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ordering = yes
"""


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A time-stamping authority made of openssl and a loopback server."""

    def openssl(*arguments: str, given: bytes = b"") -> bytes:
        run = subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True, cwd=tmp_path)
        return run.stdout

    subject = ("-subj", "/CN=root", "-days", "30", "-nodes", "-newkey", "rsa:2048")
    usage = ("-addext", "keyUsage=critical,keyCertSign", "-addext", "basicConstraints=critical,CA:TRUE")
    openssl("req", "-x509", *subject, "-keyout", "root.key", "-out", "root.pem", *usage)
    openssl("req", "-new", "-subj", "/CN=tsa", "-nodes", "-newkey", "rsa:2048", "-keyout", "tsa.key", "-out", "tsa.csr")
    (tmp_path / "ext").write_text("extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n")
    signed = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "30", "-extfile", "ext")
    openssl("x509", "-req", "-in", "tsa.csr", *signed, "-out", "tsa.pem")
    (tmp_path / "config").write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "serial").write_text("01\n")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (tmp_path / "q").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            answer = openssl("ts", "-reply", "-config", "config", "-queryfile", "q")
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", tmp_path / "root.pem"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.integration
def test_a_time_stamping_authority_vouches_for_the_time(authority: tuple[str, Path], tmp_path: Path) -> None:
    address, root = authority
    anchor = add_anchor(
        principal=ADMIN,
        name="tsa",
        kind="rfc3161",
        target=address,
        roots=root.read_text(),
        allow=("127.0.0.1",),
    )
    receipt = told(anchor)
    assert receipt.status == "delivered", receipt.last_error
    assert "stamped at" in receipt.says
    assert stamp_holds(receipt)
    # The same token vouches for nothing else.
    fill(1)
    receipt.checkpoint = make_checkpoint()
    assert not stamp_holds(receipt)


@pytest.mark.integration
def test_a_stamp_of_a_stranger_is_not_taken(authority: tuple[str, Path], tmp_path: Path) -> None:
    address, _ = authority
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-subj",
            "/CN=other",
            "-nodes",
            "-newkey",
            "rsa:2048",
            "-keyout",
            "other.key",
            "-out",
            "other.pem",
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    roots = (tmp_path / "other.pem").read_text()
    anchor = add_anchor(principal=ADMIN, name="tsa", kind="rfc3161", target=address, roots=roots, allow=("127.0.0.1",))
    receipt = told(anchor)
    assert receipt.status == "waiting"
    assert "does not hold" in receipt.last_error

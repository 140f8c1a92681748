from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest

from ledger.data.access import AuditedAction
from ledger.domain.notes import open_checkpoint, verifier_key
from ledger.domain.tree import root_from_inclusion
from ledger.models import Artifact, Checkpoint, EntryContent, LedgerEntry, LogHead, Seal, TreeNode
from ledger.services import (
    log_origin,
    make_checkpoint,
    prove_inclusion,
    public_key,
    public_verifier_key,
    record,
    seal_pending,
    store_artifact,
    verify_log,
)
from ledger.services.artifacts import artifact_path

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.fixture(autouse=True)
def log(settings, tmp_path) -> None:  # type: ignore[no-untyped-def]
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path / "key"
    digest = store_artifact(b"journal", media_type="text/plain", name="journal.txt")
    for number in range(7):
        record(
            AuditedAction(action="lamp.lit", target=str(number)),
            actor="user:1",
            subject=f"lamp:{number}",
            artifacts=[digest] if number == 3 else [],
        )
    seal_pending()
    make_checkpoint()
    for number in range(7, 12):
        record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{number}")
    seal_pending()


def test_an_untouched_log_holds() -> None:
    found = verify_log()
    assert found.holds, found.problems
    assert (found.entries, found.checkpoints, found.artifacts, found.pending) == (12, 1, 1, 0)


def test_a_log_that_grows_while_it_is_verified_holds() -> None:
    def grow(_entries: int) -> None:
        record(AuditedAction(action="lamp.lit", target="late"), actor="user:1", subject="lamp:late")
        seal_pending()
        make_checkpoint()

    found = verify_log(progress=grow)
    assert found.holds, found.problems
    assert found.entries == 12
    assert Seal.objects.count() > 12


@pytest.mark.parametrize("microseconds", [0, 500_000, 1])
@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Asia/Kolkata")])
def test_an_instant_is_verified_however_the_database_writes_it(microseconds: int, zone: tzinfo) -> None:
    instant = datetime(2026, 1, 31, 1, 2, 3, microseconds, tzinfo=zone)
    payload = AuditedAction(action="lamp.lit", target="1")
    record(payload, actor="user:1", subject="lamp:1", occurred_at=instant, period=(instant, instant))
    seal_pending()
    assert verify_log().holds, verify_log().problems


def entry(seq: int) -> LedgerEntry:
    return LedgerEntry.objects.get(seal__seq=seq)


def change_payload() -> None:
    EntryContent.objects.filter(pk=entry(2).pk).update(body=b"{}")


def cut_the_tail() -> None:
    for seal in Seal.objects.filter(seq__gte=5):
        seal.delete()
    LogHead.objects.update(size=5)


def lose_the_file() -> None:
    artifact_path(Artifact.objects.get().sha256).unlink()


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (change_payload, "entry 2: its payload"),
        (lambda: LedgerEntry.objects.filter(pk=entry(4).pk).update(actor="user:9"), "entry 4: the entry"),
        (lambda: LedgerEntry.objects.filter(pk=entry(4).pk).update(occurred_at="2020-01-01T00:00:00Z"), "entry 4"),
        (lambda: LedgerEntry.objects.filter(pk=entry(3).pk).update(artifacts=[]), "entry 3"),
        (lambda: Seal.objects.filter(seq=6).delete(), "entry 6 is missing"),
        (lambda: Seal.objects.filter(seq=1).update(leaf_hash=b"x" * 32), "entry 1"),
        (cut_the_tail, "tail was cut"),
        (lambda: LogHead.objects.update(size=11), "12 seals are there"),
        (lambda: LogHead.objects.all().delete(), "12 seals are there"),
        (lambda: LogHead.objects.update(frontier=[]), "stored tree"),
        (lambda: Checkpoint.objects.update(note="forged"), "checkpoint at 7"),
        (lose_the_file, "the file is gone"),
        (lambda: artifact_path(Artifact.objects.get().sha256).write_bytes(b"other"), "the file was changed"),
    ],
)
def test_whatever_is_changed_is_found(tamper: Callable[[], object], said: str) -> None:
    tamper()
    assert any(said in problem for problem in verify_log().problems)


def test_every_entry_can_be_proved_to_be_in_every_size_of_the_log() -> None:
    checkpoint = Checkpoint.objects.get()
    for seq in range(7):
        leaf = bytes(Seal.objects.get(seq=seq).leaf_hash)
        path = prove_inclusion(seq, size=7)
        assert root_from_inclusion(leaf, seq, 7, path) == bytes(checkpoint.root)
    assert TreeNode.objects.exists()


def test_a_proof_takes_three_queries(django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]
    with django_assert_num_queries(3):
        prove_inclusion(2, size=11)


def test_a_checkpoint_is_a_note_that_the_public_key_opens() -> None:
    note = Checkpoint.objects.get().note
    head = open_checkpoint(note, name=log_origin(), public=public_key())
    assert (head.origin, head.size) == (log_origin(), 7)
    assert public_verifier_key() == verifier_key(log_origin(), public_key())

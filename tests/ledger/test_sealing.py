import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, transaction

from ledger.data.access import AuditedAction
from ledger.domain.canonical import NotCanonicalError
from ledger.models import LedgerEntry, LogHead, Seal
from ledger.selectors import entries
from ledger.services import Record, record, record_many, seal_pending, verify_log
from tests.forking import Forked, drop_database, fork, make_database, make_tables

pytestmark = [pytest.mark.long, pytest.mark.django_db, pytest.mark.database]


def act(number: int) -> LedgerEntry:
    return record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{number}")


def test_entries_are_sealed_in_the_order_of_their_commit_without_gaps() -> None:
    for number in range(5):
        act(number)
    assert seal_pending() == 5
    act(5)
    assert seal_pending() == 1
    assert seal_pending() == 0
    assert list(Seal.objects.order_by("seq").values_list("seq", "entry__subject")) == [
        (number, f"lamp:{number}") for number in range(6)
    ]
    assert len(LogHead.objects.get().frontier) == 2  # 6 = 4 + 2


def test_entries_written_together_are_as_those_written_alone_and_one_refused_lets_none_in() -> None:
    def one(number: int, after: str = "after") -> Record:
        payload = AuditedAction(action="lamp.lit", target=str(number), after={after: "on"})
        return Record(payload, actor="user:1", subject=f"lamp:{number}")

    written = record_many([one(0), one(1), one(2)])
    assert [entry.subject for entry in written] == ["lamp:0", "lamp:1", "lamp:2"]
    assert record_many([]) == []
    with pytest.raises(NotCanonicalError, match="ASCII keys"):
        record_many([one(3), one(4, after="größe")])
    assert seal_pending() == 3
    assert [(entry.seq, entry.payload) for entry in entries().order_by("pk")] == [
        (number, one(number).payload.model_dump(mode="json")) for number in range(3)
    ]
    assert verify_log().holds


def test_an_entry_of_a_change_that_is_rolled_back_never_was() -> None:
    with transaction.atomic():
        act(1)
        transaction.set_rollback(True)
    assert seal_pending() == 0
    assert not LedgerEntry.objects.exists()


def test_an_entry_has_its_payload_and_its_place() -> None:
    act(7)
    assert entries().get().seq is None
    seal_pending()
    found = entries(types=["audit.action"], subjects=["lamp:7"]).get()
    assert found.seq == 0
    assert found.payload is not None
    assert found.payload["action"] == "lamp.lit"


def test_a_payload_with_what_an_entry_cannot_hold_is_refused() -> None:
    with pytest.raises(NotCanonicalError, match="ASCII keys"):
        record(AuditedAction(action="a", target="b", after={"größe": "1"}), actor="user:1", subject="x")


def test_an_artifact_must_be_named_by_its_hash() -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        record(AuditedAction(action="a", target="b"), actor="user:1", subject="x", artifacts=["evil"])


WRITER = """
from django.db import transaction
from ledger.data.access import AuditedAction
from ledger.services import record
for number in range(80):
    with transaction.atomic():
        record(AuditedAction(action="storm", target=str(number)), actor="user:1", subject="storm")
        if number % 10 == 9:
            transaction.set_rollback(True)
"""
SEALER = """
import time
from django.db import connection
from ledger.services import seal_pending
def slowly(execute, *given):
    time.sleep(REST)
    return execute(*given)
deadline = time.monotonic() + 60
with connection.execute_wrapper(slowly):
    while time.monotonic() < deadline:
        seal_pending()
"""
COUNT = """
from ledger.services import seal_pending
from ledger.models import LedgerEntry, LogHead, PendingEntry, Seal
from ledger.services import verify_log
seal_pending()
seqs = list(Seal.objects.order_by("seq").values_list("seq", flat=True))
print(LedgerEntry.objects.count(), seqs == list(range(LedgerEntry.objects.count())), LogHead.objects.get().size,
    PendingEntry.objects.count(), verify_log().holds)
"""


@pytest.fixture
def scratch_url(tmp_path: Path) -> Iterator[str]:
    """A database of its own on the engine at hand, for tests that kill processes."""
    if connection.vendor == "sqlite":
        make_tables(tmp_path)
        yield ""
        return
    url = make_database(os.environ["DATABASE_URL"])
    yield url
    drop_database(url)


@pytest.mark.integration
def test_two_sealers_and_one_killed_in_mid_batch_leave_a_log_without_gap_or_double(
    tmp_path: Path, scratch_url: str
) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": scratch_url,
        "ASSAY_STATE_DIR": str(tmp_path),
    }

    def start(code: str) -> Forked:
        return fork("-c", code, environment=environment, stdout=subprocess.PIPE)

    doomed = start(SEALER.replace("REST", "0.005"))  # sleeps between its statements, so that it dies within a batch
    sealers = [start(SEALER.replace("REST", "0")) for _ in range(2)]
    writers = [start(WRITER) for _ in range(3)]
    writers[0].wait(240)
    doomed.kill()
    sealers[0].kill()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    sealers[1].kill()
    for sealer in [doomed, *sealers]:
        sealer.communicate()
    said, _ = start(COUNT).communicate()
    assert said.split() == ["216", "True", "216", "0", "True"]

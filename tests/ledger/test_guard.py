from collections.abc import Callable

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from ledger.data.access import AuditedAction
from ledger.models import Checkpoint, EntryContent, LedgerEntry, LogHead, Seal
from ledger.services import make_checkpoint, record, seal_pending
from ledger.services.guarding import install_guard

pytestmark = [pytest.mark.django_db, pytest.mark.database]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda: LedgerEntry.objects.update(actor="user:2"),
        lambda: LedgerEntry.objects.all()._raw_delete("default"),
        lambda: Seal.objects.update(seq=7),
        lambda: Seal.objects.all()._raw_delete("default"),
        lambda: Checkpoint.objects.update(note=""),
        lambda: EntryContent.objects.update(body=b"{}"),
        lambda: EntryContent.objects.all()._raw_delete("default"),
        lambda: LogHead.objects.update(size=0),
        lambda: LogHead.objects.all()._raw_delete("default"),
    ],
)
def test_the_database_refuses_to_change_or_delete_the_log(tamper: Callable[[], object]) -> None:
    install_guard(connection)
    record(AuditedAction(action="lamp.lit", target="1"), actor="user:1", subject="lamp:1")
    seal_pending()
    make_checkpoint()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        tamper()


def test_the_database_lets_a_payload_be_erased() -> None:
    install_guard(connection)
    record(AuditedAction(action="lamp.lit", target="1"), actor="user:1", subject="lamp:1")
    assert EntryContent.objects.update(body=b"", nonce=b"", erased_at=timezone.now()) == 1

"""What ledger entries say goes when its time is over; that they were there is proved as before."""

import zipfile
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_team, create_user, grant_role
from catalog.models import Environment, Service
from core.parsing import InputRefusedError
from core.partitions import open_months
from core.work import drain
from custody.models import Erasure, LegalHold
from custody.selectors import standings
from custody.services import (
    ERASE_QUEUE,
    count_what_is_kept,
    remove_old_data,
    request_erasure,
    request_hold,
    set_retention,
)
from incidents.data import Severity
from incidents.services import Opening, open_incident
from ledger.data.access import AuditedAction
from ledger.models import EntryContent, LedgerEntry
from ledger.pack import verify as offline
from ledger.selectors import sealed_entries
from ledger.services import (
    PAYLOADS,
    erase_payload,
    explain_proof,
    export_pack,
    make_checkpoint,
    record,
    seal_pending,
    verify_log,
)
from ledger.services.forwarding.documents import next_batch
from ledger.services.guarding import install_guard, remove_guard

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")
OLD = timedelta(days=500)
KEY = "ledger.payloads"


@pytest.fixture(autouse=True)
def admin(settings: Any, tmp_path: Path) -> Principal:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path / "key"
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # Numbers from before there were months, whatever other tests have moved them on to.
            cursor.execute("SELECT setval('ledger_ledgerentry_id_seq', 1000)")
    user = create_user(principal=SITE, username="ada", email="ada@example.com", password="correct horse battery")
    grant_role(principal=SITE, user=user, role=Role.ADMIN, team=None)
    return principal_for_user(user=User.objects.get(username="ada"))


def lamp(number: int) -> LedgerEntry:
    return LedgerEntry.objects.select_related("content", "seal").get(subject=f"lamp:{number}")


def fill() -> None:
    """Four old entries, the second of them erased by hand, and then three that are young."""
    for number in range(4):
        record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{number}")
    LedgerEntry.objects.update(recorded_at=timezone.now() - OLD, occurred_at=timezone.now() - OLD)
    seal_pending()
    stone = erase_payload(principal=SITE, entry=lamp(1), reason="asked for")
    LedgerEntry.objects.filter(pk=stone.pk).update(recorded_at=timezone.now() - OLD)
    open_months(PAYLOADS, now=timezone.now())
    for number in range(4, 6):
        record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{number}")
    seal_pending()
    make_checkpoint()


def remove() -> int:
    count = {one.key: one.count for one in remove_old_data()}.get(KEY, 0)
    seal_pending()
    return count


def test_payloads_are_kept_for_ever_unless_somebody_says_otherwise(admin: Principal) -> None:
    fill()
    assert remove() == 0
    with pytest.raises(InputRefusedError, match="397"):
        set_retention(principal=admin, key=KEY, keep_days=396, reason="disk")


def test_a_payload_whose_time_is_over_goes_and_the_ledger_verifies(
    admin: Principal, client: Client, tmp_path: Path
) -> None:
    fill()
    set_retention(principal=admin, key=KEY, keep_days=400, reason="policy 7")
    install_guard(connection)
    [standing] = [one for one in standings(now=timezone.now()) if one.data_class.key == KEY]
    assert standing.would_go == old_ones() >= 4
    assert remove() == standing.would_go
    assert remove() == 0, "there is nothing left to do"
    remove_guard(connection)
    assert [EntryContent.objects.filter(entry__subject=f"lamp:{number}").exists() for number in range(6)] == [
        False, False, False, False, True, True,
    ]  # fmt: skip
    tombstone = LedgerEntry.objects.select_related("content").get(entry_type="ledger.payload_erased")
    assert tombstone.payload is not None, "what happened to the log itself is kept"
    found = verify_log()
    assert found.problems == []
    assert found.erased == old_ones()
    said = LedgerEntry.objects.get(entry_type="ledger.payloads_outlived")
    assert said.payload is not None
    assert said.payload["count"] == old_ones()
    assert said.subject == f"entries:{said.payload['first_seq']}-{said.payload['last_seq']}"
    shown_as_gone(client)
    verified_offline(admin, tmp_path / "pack")


def old_ones() -> int:
    """How many payloads are old; the tombstone's is never removed."""
    old = LedgerEntry.objects.filter(recorded_at__lt=timezone.now() - timedelta(days=400))
    return old.exclude(entry_type="ledger.payload_erased").count()


def shown_as_gone(client: Client) -> None:
    entry = lamp(0)
    assert (entry.payload, entry.content_gone) == (None, "erased by retention")
    proof = explain_proof(entry)
    assert proof.state == "verified"
    assert any("erased by retention" in sentence for sentence in proof.sentences)
    client.force_login(User.objects.get(username="ada"))
    assert "was erased by retention" in client.get(f"/ledger/entries/{entry.pk}/").content.decode()
    assert "what it said was erased by retention" in client.get("/settings/audit-log/").content.decode()
    answer = client.get(f"/api/v1/ledger/entries/{entry.pk}/").json()
    assert (answer["payload"], answer["payload_gone"]) == (None, "erased by retention")
    assert entry.seq is not None
    [read] = sealed_entries(entry.seq, entry.seq + 1)
    assert read.payload is None
    document = next_batch(entry.seq, origin="x")[0]
    assert orjson.loads(document.body)["payload_left_out"] == "erased by retention"


def verified_offline(admin: Principal, folder: Path) -> None:
    pack = export_pack(principal=admin, title="All")
    with zipfile.ZipFile(BytesIO(pack.content)) as archive:
        archive.extractall(folder)
    report = offline.verify(offline.Pack(folder), pack.key, [])
    assert report.code == 0, report.broken
    assert any("has its tombstone in the log" in line for line in report.holds)
    assert any(one.what == f"the payload of entry {lamp(0).seq}" and "over" in one.reason for one in pack.omissions)
    assert "Erased by retention." in (folder / "index.html").read_text()


def test_a_payload_that_is_gone_without_a_word_is_found() -> None:
    fill()
    EntryContent.objects.filter(entry__subject__in=["lamp:2", "lamp:3"]).delete()
    [problem] = verify_log().problems
    assert problem.startswith(f"entries {lamp(2).seq} to {lamp(3).seq}: payloads are gone, and no entry says")


@pytest.mark.parametrize("target", [KEY, "ledger.entries"])
def test_no_payload_goes_under_a_hold(admin: Principal, target: str) -> None:
    fill()
    set_retention(principal=admin, key=KEY, keep_days=400, reason="policy 7")
    request_hold(principal=admin, kind="class", target=target, reason="case 7")
    assert remove() == 0
    assert lamp(0).payload is not None
    LegalHold.objects.all().delete()
    assert remove() == old_ones() > 0


def test_a_removal_that_is_undone_leaves_payloads_and_says_nothing(admin: Principal) -> None:
    fill()
    set_retention(principal=admin, key=KEY, keep_days=400, reason="policy 7")
    with transaction.atomic():
        remove_old_data()
        transaction.set_rollback(True)
    assert lamp(0).payload is not None
    assert not LedgerEntry.objects.filter(entry_type="ledger.payloads_outlived").exists()


def speak() -> None:
    """Ten old entries of which some are about what is held, in different ways, and then young ones."""
    team = create_team(principal=SITE, slug="power", name="Power")
    stage = Environment.objects.create(slug="live", name="Live")
    gateway = Service.objects.create(slug="gateway", name="Gateway", team=team, tier=1, environment=stage)
    create_user(principal=SITE, username="nadja", email="nadja@example.org", password=None, full_name="Nadja Zzyx")
    incident = open_incident(
        principal=SITE, opening=Opening(title="x", severity=Severity.SEV3, service_ids=(gateway.pk,))
    )
    for subject, target in (
        ("service:gateway", "by subject"),
        (f"incident:{incident.reference}", "by the incident of the service"),
        ("lamp:1", "the gateway by name"),
        ("lamp:2", "something else"),
        ("team:power", "by team"),
        ("lamp:3", "seen by Nadja Zzyx"),
        ("control:kept", "by subject of the ledger"),
    ):
        record(AuditedAction(action="lamp.lit", target=target), actor="user:1", subject=subject)
    LedgerEntry.objects.update(recorded_at=timezone.now() - OLD, occurred_at=timezone.now() - OLD)
    seal_pending()
    open_months(PAYLOADS, now=timezone.now())
    record(AuditedAction(action="lamp.lit", target="young"), actor="user:1", subject="lamp:9")
    seal_pending()
    make_checkpoint()


def said() -> set[str]:
    """Return what lamps still say."""
    return {
        str(entry.payload["target"])
        for entry in LedgerEntry.objects.select_related("content")
        if entry.payload and entry.payload.get("action") == "lamp.lit"
    }


def old_day() -> str:
    return (timezone.now() - OLD).date().isoformat()


@pytest.mark.parametrize(
    ("kind", "target", "kept"),
    [
        ("service", "gateway", {"by subject", "by the incident of the service", "the gateway by name"}),
        ("team", "power", {"by subject", "by the incident of the service", "the gateway by name", "by team"}),
        ("person", "nadja", {"seen by Nadja Zzyx"}),
        ("subject", "control:kept", {"by subject of the ledger"}),
        ("window", "2000-01-01..2000-12-31", set()),
    ],
)
def test_a_hold_keeps_the_payloads_that_it_names_and_no_others(
    admin: Principal, kind: str, target: str, kept: set[str]
) -> None:
    speak()
    set_retention(principal=admin, key=KEY, keep_days=400, reason="policy 7")
    hold = request_hold(principal=admin, kind=kind, target=target, reason="case 7")
    [standing] = [one for one in standings(now=timezone.now()) if one.data_class.key == KEY]
    assert not standing.kept_whole
    assert standing.held_back >= len(kept)
    assert remove() == standing.would_go > 0
    assert said() == kept | {"young"}
    assert remove() == 0, "what is held does not come up again"
    assert verify_log().problems == []
    LegalHold.objects.filter(pk=hold.pk).update(status="released")
    assert remove() >= len(kept)
    assert said() == {"young"}
    assert verify_log().problems == []


def test_a_window_keeps_all_that_was_recorded_in_it_and_the_page_says_how_much(
    admin: Principal, client: Client
) -> None:
    speak()
    set_retention(principal=admin, key=KEY, keep_days=400, reason="policy 7")
    with pytest.raises(InputRefusedError, match="2026-01-01"):
        request_hold(principal=admin, kind="window", target="2026-03-31..2026-01-01", reason="case 7")
    hold = request_hold(principal=admin, kind="window", target=f"{old_day()}..{old_day()}", reason="case 7")
    remove_old_data()
    assert len(said()) == 8
    count_what_is_kept()
    hold.refresh_from_db()
    [payloads] = [one for one in hold.kept if one["class"] == KEY]
    assert payloads["rows"] >= 7
    assert payloads["bytes"] > 7 * 50
    assert not payloads["whole"]
    client.force_login(User.objects.get(username="ada"))
    page = client.get(hold.get_absolute_url()).content.decode()
    assert "Payloads of the ledger" in page
    assert "what it names" in page


def test_what_is_held_of_a_person_is_not_erased(admin: Principal) -> None:
    speak()
    request_hold(principal=admin, kind="person", target="nadja", reason="case 7")
    request_erasure(principal=SITE, username="nadja", reason="asked")
    seal_pending()
    drain(ERASE_QUEUE)
    assert "seen by Nadja Zzyx" in said()
    assert User.objects.filter(email="nadja@example.org").exists(), "the account is closed, and kept"
    LegalHold.objects.update(status="released")
    Erasure.objects.update(due_at=timezone.now())
    drain(ERASE_QUEUE)
    assert not User.objects.filter(email="nadja@example.org").exists()
    assert "seen by Nadja Zzyx" not in said()

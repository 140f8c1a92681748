"""The room's pages and REST endpoints: they work, and refuse strangers, readers and the wrong method."""

import io
import zipfile
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.models import User
from accounts.services import create_user, grant_role
from core.work import drain
from ledger.data.access import AuditedAction
from ledger.models import Checkpoint, EntryContent, LedgerEntry, LogVerification
from ledger.services import make_checkpoint, record, store_artifact

pytestmark = pytest.mark.django_db
SYSTEM = system_principal("test")
ARTIFACT = b"<script>alert(1)</script>"


@pytest.fixture(autouse=True)
def log(settings: Any, tmp_path: Any) -> None:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path / "key"
    carol = create_user(principal=SYSTEM, username="carol", password=None)
    grant_role(principal=SYSTEM, user=carol, role=Role.COMPLIANCE_MANAGER)
    victor = create_user(principal=SYSTEM, username="victor", password=None)
    grant_role(principal=SYSTEM, user=victor, role=Role.VIEWER)
    digest = store_artifact(ARTIFACT, media_type="text/html", name="page.html")
    record(AuditedAction(action="lamp.lit", target="<b>1</b>"), actor="user:1", subject="lamp:1", artifacts=[digest])
    make_checkpoint()
    record(AuditedAction(action="lamp.lit", target="2"), actor="user:1", subject="lamp:2")


def client(name: str = "carol") -> Client:
    one = Client(raise_request_exception=False)
    one.force_login(User.objects.get(username=name))
    return one


def lamp(number: int) -> LedgerEntry:
    return LedgerEntry.objects.get(subject=f"lamp:{number}")


def addresses() -> list[str]:
    entry, checkpoint = lamp(1), Checkpoint.objects.get()
    return [
        "/ledger/",
        "/ledger/?format=csv",
        f"/ledger/entries/{entry.pk}/",
        f"/ledger/artifacts/{entry.artifacts[0]}/",
        "/ledger/checkpoints/",
        f"/ledger/checkpoints/{checkpoint.pk}/",
        "/ledger/verify/",
        "/ledger/export/",
        "/api/v1/ledger/entries/",
        f"/api/v1/ledger/entries/{entry.pk}/",
        f"/api/v1/ledger/entries/{entry.pk}/proof/",
        "/api/v1/ledger/checkpoints/",
        "/api/v1/ledger/key/",
    ]


def test_whoever_may_see_the_ledger_sees_all_of_it() -> None:
    for address in addresses():
        assert client().get(address).status_code == 200, address


def test_a_viewer_and_a_stranger_see_nothing_of_it() -> None:
    for address in addresses():
        assert client("victor").get(address).status_code == 403, address
        assert Client().get(address).status_code in {302, 401, 403}, address


def test_nothing_in_it_can_be_changed_over_http() -> None:
    for address in addresses():
        if address not in {"/ledger/verify/", "/ledger/export/"}:
            assert client().post(address).status_code == 405, address
        assert client().delete(address).status_code == 405, address
    assert client("victor").post("/ledger/verify/").status_code == 403
    assert client("victor").post("/ledger/export/").status_code == 403


def test_an_entry_says_what_proves_it() -> None:
    page = client().get(f"/ledger/entries/{lamp(1).pk}/").content.decode()
    assert "VERIFIED" in page
    assert "lead from it to the root that was signed" in page
    assert "&lt;b&gt;1&lt;/b&gt;" in page
    assert "waits for its place" in client().get(f"/ledger/entries/{lamp(2).pk}/").content.decode()


def test_an_entry_that_was_tampered_with_says_so() -> None:
    LedgerEntry.objects.filter(pk=lamp(1).pk).update(actor="user:9")
    EntryContent.objects.filter(entry=lamp(1)).update(body=b'{"action":"other"}')
    page = client().get(f"/ledger/entries/{lamp(1).pk}/").content.decode()
    assert "BROKEN" in page
    assert "were changed after it was sealed" in page
    assert "not the one that was recorded" in page


def test_an_erased_payload_is_shown_as_erased() -> None:
    EntryContent.objects.filter(entry=lamp(1)).update(body=b"", nonce=b"", erased_at=timezone.now())
    page = client().get(f"/ledger/entries/{lamp(1).pk}/").content.decode()
    assert "The payload was erased" in page
    assert "VERIFIED" in page
    assert client().get(f"/api/v1/ledger/entries/{lamp(1).pk}/").json()["payload"] is None


def test_a_file_is_never_shown_as_a_page() -> None:
    answer = client().get(f"/ledger/artifacts/{lamp(1).artifacts[0]}/")
    assert answer.content == ARTIFACT
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"].startswith("attachment")


def test_the_button_verifies_and_says_the_result_in_words() -> None:
    carol = client()
    assert "NOT LOOKED YET" in carol.get("/ledger/verify/").content.decode()
    assert carol.post("/ledger/verify/").status_code == 302
    assert carol.post("/ledger/verify/").status_code == 302
    run = LogVerification.objects.get()  # the second press did not start a second one
    assert "hx-trigger" in carol.get("/ledger/verify/", headers={"hx-request": "true"}).content.decode()
    drain("ledger.verification")
    assert "NOTHING WAS CHANGED" in carol.get("/ledger/verify/").content.decode()
    LedgerEntry.objects.filter(pk=lamp(1).pk).update(actor="user:9")
    carol.post("/ledger/verify/")
    drain("ledger.verification")
    page = carol.get("/ledger/verify/").content.decode()
    assert "THE LEDGER DOES NOT HOLD" in page
    assert LogVerification.objects.exclude(pk=run.pk).get().status == "broken"


def test_a_pack_is_downloaded_from_the_page() -> None:
    answer = client().post("/ledger/export/", {"title": "Lamps", "evidence_types": ["AUD"], "subject": "lamp:1"})
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as archive:
        assert {"manifest.json", "verify.py", "index.html"} <= set(archive.namelist())
        assert len(archive.read("entries.jsonl").splitlines()) == 1


def test_a_pack_that_ends_before_it_begins_is_refused_at_the_field() -> None:
    form = {"title": "x", "since": "2026-02-01T00:00", "until": "2026-01-01T00:00"}
    answer = client().post("/ledger/export/", form)
    assert answer.status_code == 400
    assert "end must come after" in answer.content.decode()


def test_the_list_of_entries_is_filtered() -> None:
    found = client().get("/api/v1/ledger/entries/", {"subject": "lamp:2"}).json()["results"]
    assert [(one["subject"], one["seq"]) for one in found] == [("lamp:2", None)]
    assert client().get("/api/v1/ledger/entries/", {"evidence_type": "XYZ"}).status_code == 400
    assert client().get("/api/v1/ledger/entries/", {"since": "yesterday"}).status_code == 400


def test_a_proof_of_an_entry_that_waits_is_not_found() -> None:
    assert client().get(f"/api/v1/ledger/entries/{lamp(2).pk}/proof/").status_code == 404
    assert client().get(f"/api/v1/ledger/entries/{lamp(1).pk}/proof/", {"size": "x"}).status_code == 400
    assert client().get(f"/api/v1/ledger/entries/{lamp(1).pk}/proof/", {"size": "999"}).status_code == 404

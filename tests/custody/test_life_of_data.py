"""Data goes when its time is over, never while it is held; people are erased and the ledger still verifies."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.conf import settings as django_settings
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts.data import Capability, Principal, Role, system_principal
from accounts.models import SignInFailure, User
from accounts.selectors import principal_for_user
from accounts.services import create_api_token, create_user, grant_role
from catalog.models import Region, Service
from core.lifecycle import EVIDENCE_FLOOR, DataClass, Held, data_classes, register_class
from core.parsing import InputRefusedError
from core.work import drain
from custody.models import Erasure, LegalHold, RetentionRule
from custody.selectors import holding, standings
from custody.services import (
    ERASE_QUEUE,
    decide_hold,
    decide_release,
    remove_old_data,
    request_erasure,
    request_hold,
    request_release,
    set_retention,
)
from custody.services import retention as retention_service
from delivery.models import Delivery
from demo.services import load_organization
from drivers.domain.site_encryption import BackupKey
from drivers.services.site_backup import back_up
from drivers.services.site_bundle import make_bundle
from drivers.services.site_database import SiteError
from incidents.data import Severity
from incidents.models import Alert, ContactMethod, InboundEvent, Integration
from incidents.services import Opening, open_incident
from ledger.data.access import AuditedAction
from ledger.models import Artifact, EntryContent, LedgerEntry
from ledger.services import (
    FORWARD_QUEUE,
    ExportRefusedError,
    ForwarderRefusedError,
    ForwarderSetup,
    add_forwarder,
    artifact_path,
    ensure_may_leave,
    record,
    seal_pending,
    store_artifact,
    verify_log,
)

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")
OLD = timedelta(days=500)


@pytest.fixture(autouse=True)
def world(undone_after_module: None, settings: Any, tmp_path: Any) -> None:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path / "key"


@pytest.fixture(scope="module", autouse=True)
def organization(undone_after_module: None) -> None:
    load_organization(port=8000)


def who(name: str) -> Principal:
    return principal_for_user(user=User.objects.get(username=name))


def client(name: str) -> Client:
    one = Client(raise_request_exception=False)
    one.force_login(User.objects.get(username=name))
    return one


def bodies(count: int, *, age: timedelta = OLD, service: str = "", prefix: str = "b") -> list[InboundEvent]:
    integration = Integration.objects.all()[0]
    at = timezone.now() - age
    made = [
        InboundEvent.objects.create(
            reference=f"in_{prefix}{number}", integration=integration, idempotency_key=f"{prefix}{number}",
            received_at=at, method="POST", body=b"{}", due_at=at, finished_at=at,
        )
        for number in range(count)
    ]  # fmt: skip
    if service:
        for number, event in enumerate(made):
            Alert.objects.create(
                integration=integration, fingerprint=f"{prefix}{number}", episode_at=at, status="resolved", title="x",
                starts_at=at, resolved_at=timezone.now(), first_received_at=at, last_received_at=at, decision="x",
                service=Service.objects.get(slug=service), event=event,
            )  # fmt: skip
    return made


def entries_of(entry_type: str) -> list[dict[str, Any]]:
    return [entry.payload or {} for entry in LedgerEntry.objects.filter(entry_type=entry_type)]


def test_old_data_goes_in_small_batches_and_what_went_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_service, "BATCH", 3)
    bodies(7)
    young = bodies(1, age=timedelta(days=80), prefix="young")
    [before] = [one for one in standings(now=timezone.now()) if one.data_class.key == "incidents.inbound"]
    assert before.would_go == 7
    removed = {one.key: one.count for one in remove_old_data()}
    assert removed["incidents.inbound"] == 7
    assert [event.pk for event in InboundEvent.objects.filter(reference__startswith="in_")] == [young[0].pk]
    said = [one for one in entries_of("data.removed") if one["data_class"] == "incidents.inbound"]
    assert sorted(one["count"] for one in said) == [1, 3, 3]
    assert said[0]["oldest"]
    assert RetentionRule.objects.get(key="incidents.inbound").removed_in_all == 7


def test_nothing_under_a_hold_goes_and_the_dry_run_says_what_is_held_back() -> None:
    bodies(2, service="gateway", prefix="held")
    bodies(2, service="model-server", prefix="free")
    hold = request_hold(principal=who("carol"), kind="service", target="gateway", reason="case 7")
    [standing] = [one for one in standings(now=timezone.now()) if one.data_class.key == "incidents.inbound"]
    assert (standing.would_go, standing.held_back) == (2, 2)
    remove_old_data()
    assert InboundEvent.objects.filter(reference__startswith="in_held").count() == 2, "it holds before it is confirmed"
    assert not InboundEvent.objects.filter(reference__startswith="in_free").exists()
    decide_hold(principal=who("admin"), hold=hold, approve=True)
    request_release(principal=who("carol"), hold=hold, reason="case closed")
    remove_old_data()
    assert InboundEvent.objects.filter(reference__startswith="in_held").count() == 2
    decide_release(principal=who("admin"), hold=hold, approve=True)
    remove_old_data()
    assert not InboundEvent.objects.filter(reference__startswith="in_held").exists()


def test_a_class_that_cannot_tell_what_is_held_apart_is_kept_whole() -> None:
    digest = store_artifact(b"journal", media_type="text/plain", name="journal")
    Artifact.objects.update(stored_at=timezone.now() - OLD)
    set_retention(principal=who("admin"), key="ledger.artifacts", keep_days=400, reason="policy")
    incident = open_incident(
        principal=SITE, opening=Opening(title="x", severity=Severity.SEV3, service_slugs=("gateway",))
    )
    request_hold(principal=who("carol"), kind="incident", target=incident.reference.lower(), reason="case")
    assert holding().held.incidents == {incident.reference}
    remove_old_data()
    assert artifact_path(digest).exists()
    LegalHold.objects.all().delete()


@pytest.mark.django_db(transaction=False)
def test_an_evidence_file_goes_after_thirteen_months_and_the_ledger_still_verifies(
    django_capture_on_commit_callbacks: Any,
) -> None:
    digest = store_artifact(b"journal", media_type="text/plain", name="journal")
    record(AuditedAction(action="x", target="y"), actor="user:1", subject="x:1", artifacts=[digest])
    Artifact.objects.filter(sha256=digest).update(stored_at=timezone.now() - OLD)
    with pytest.raises(InputRefusedError, match="397"):
        set_retention(principal=who("admin"), key="ledger.artifacts", keep_days=300, reason="disk")
    remove_old_data()
    assert artifact_path(digest).exists(), "kept for ever by default"
    set_retention(principal=who("admin"), key="ledger.artifacts", keep_days=400, reason="policy 4")
    with django_capture_on_commit_callbacks(execute=True):
        remove_old_data()
    assert not artifact_path(digest).exists()
    assert [one["files"] for one in entries_of("data.removed") if one["data_class"] == "ledger.artifacts"] == [[digest]]
    seal_pending()
    assert verify_log().problems == []


def test_no_class_of_evidence_may_be_kept_shorter_than_thirteen_months() -> None:
    assert {one.key for one in data_classes() if one.evidence} == {
        "chaos.journals",
        "compliance.exports",
        "compliance.indicators",
        "compliance.scans",
        "ledger.artifacts",
        "ledger.payloads",
    }
    with pytest.raises(ValueError, match="397"):
        register_class(
            DataClass(
                "x.y", "x", "x", None, EVIDENCE_FLOOR - timedelta(days=1), lambda _: Alert.objects.all(), evidence=True
            )
        )


@pytest.mark.parametrize("key", [one.key for one in data_classes()])
def test_every_class_can_be_asked_with_every_kind_of_hold(key: str) -> None:
    [one] = [one for one in data_classes() if one.key == key]
    now = timezone.now()

    for held in (
        Held(services=frozenset({"gateway"})),
        Held(incidents=frozenset({"INC-1"})),
        Held(engagements=frozenset({"a"})),
    ):
        if one.spare is not None:
            assert one.spare(one.old(now), held).count() <= one.old(now).count()


def test_a_failing_class_does_not_keep_the_others_from_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies(1)
    [deliveries] = [one for one in data_classes() if one.key == "delivery.deliveries"]
    object.__setattr__(deliveries, "old", lambda _: 1 / 0)
    try:
        remove_old_data()
    finally:
        from delivery.lifecycle import _old

        object.__setattr__(deliveries, "old", _old)
    assert "ZeroDivisionError" in RetentionRule.objects.get(key="delivery.deliveries").error
    assert not InboundEvent.objects.filter(reference="in_b0").exists()


def test_a_hold_takes_two_people_and_a_target_that_exists() -> None:
    hold = request_hold(principal=who("carol"), kind="class", target="delivery.deliveries", reason="case")
    with pytest.raises(PermissionDenied, match="Somebody else"):
        decide_hold(principal=who("carol"), hold=hold, approve=True)
    with pytest.raises(PermissionDenied):
        decide_hold(principal=who("olga"), hold=hold, approve=True)
    decide_hold(principal=who("admin"), hold=hold, approve=False)
    assert hold.status == "rejected"
    assert not holding().classes
    with pytest.raises(InputRefusedError):
        decide_hold(principal=who("admin"), hold=hold, approve=True)
    for kind, target in (
        ("service", "gatway"),
        ("incident", "INC-99999"),
        ("engagement", "x"),
        ("class", "x"),
        ("x", "y"),
    ):
        with pytest.raises(InputRefusedError):
            request_hold(principal=who("carol"), kind=kind, target=target, reason="case")
    with pytest.raises(PermissionDenied):
        request_hold(principal=who("olga"), kind="service", target="gateway", reason="case")


def leaver() -> User:
    user = create_user(
        principal=SITE,
        username="dora",
        password="a-long-passphrase-1",
        email="dora@example.org",
        full_name="Dora Leaver",
    )
    grant_role(principal=SITE, user=user, role=Role.VIEWER)
    create_api_token(principal=SITE, owner=user, name="doras", scopes=[Capability.OPERATIONS_VIEW])
    ContactMethod.objects.create(user=user, channel="sms", address="+49301234")
    SignInFailure.objects.create(username="dora", address="192.0.2.1", failed_at=timezone.now())
    Delivery.objects.create(
        reference="dl_dora", idempotency_key="dora", channel="email", address="dora@example.org", subject="Hello Dora",
        text="secret link", created_at=timezone.now(), due_at=timezone.now(), finished_at=timezone.now(),
    )  # fmt: skip
    return user


def test_a_person_is_erased_what_must_stay_is_said_and_the_ledger_verifies() -> None:
    user = leaver()
    record(
        AuditedAction(action="lamp.lit", target="dora@example.org"), actor="user:1", subject="lamp:1",
    )  # fmt: skip
    unrelated = record(
        AuditedAction(action="account.created", target="pandora"), actor="user:1", subject="user:pandora"
    )
    signed_in = Client()
    signed_in.force_login(user)
    seal_pending()
    request_erasure(principal=who("admin"), username="dora", reason="asked in writing")
    seal_pending()
    drain(ERASE_QUEUE)
    row = Erasure.objects.get()
    user.refresh_from_db()
    assert (user.username, user.email, user.get_full_name(), user.is_active) == (f"erased-{user.pk}", "", "", False)
    assert not ContactMethod.objects.filter(user=user).exists()
    assert not SignInFailure.objects.filter(username="dora").exists()
    assert Delivery.objects.get(reference="dl_dora").text == ""
    assert signed_in.get("/settings/account/").status_code == 302, "its sessions have ended"
    left = b" ".join(bytes(body) for body in EntryContent.objects.values_list("body", flat=True))
    assert row.payloads_erased >= 1, "account.created named the mail address"
    assert row.payloads_kept >= 1, "the grant and the lamp are evidence for thirteen months"
    assert row.status == "partial"
    assert row.due_at > timezone.now() + EVIDENCE_FLOOR - timedelta(days=1)
    assert left.count(b"dora@example.org") == 1, "in the lamp's entry alone"
    assert EntryContent.objects.get(pk=unrelated.pk).erased_at is None, "a name within another is no mention"
    seal_pending()
    assert verify_log().problems == []
    # Thirteen months later the rest may go.
    LedgerEntry.objects.update(recorded_at=timezone.now() - OLD)
    Erasure.objects.update(due_at=timezone.now())
    drain(ERASE_QUEUE)
    row = Erasure.objects.get()
    assert (row.status, row.names, row.payloads_kept) == ("done", "", 0)
    left = b" ".join(bytes(body) for body in EntryContent.objects.values_list("body", flat=True))
    assert b"dora@example.org" not in left
    said = entries_of("person.erased")[0]
    assert "dora" not in str(said)
    assert any(part["because"] for part in row.outcome if part["kept"])


def test_what_a_hold_keeps_of_a_person_waits_for_its_end() -> None:
    leaver()
    request_hold(principal=who("carol"), kind="class", target="incidents.contacts", reason="case")
    request_hold(principal=who("carol"), kind="class", target="ledger.entries", reason="case")
    request_erasure(principal=who("admin"), username="dora", reason="asked")
    seal_pending()
    drain(ERASE_QUEUE)
    row = Erasure.objects.get()
    assert row.payloads_erased == 0
    assert ContactMethod.objects.filter(user=row.user).exists()
    [part] = [part for part in row.outcome if part["key"] == "incidents.contacts"]
    assert part["because"] == "A legal hold keeps it."
    LegalHold.objects.update(status="released")
    Erasure.objects.update(due_at=timezone.now())
    drain(ERASE_QUEUE)
    assert not ContactMethod.objects.filter(user=row.user).exists()


def test_nobody_erases_themselves_or_twice() -> None:
    leaver()
    for name, username in (("admin", "admin"), ("admin", "nobody")):
        with pytest.raises(InputRefusedError):
            request_erasure(principal=who(name), username=username, reason="x")
    with pytest.raises(PermissionDenied):
        request_erasure(principal=who("carol"), username="dora", reason="x")
    request_erasure(principal=who("admin"), username="dora", reason="x")
    with pytest.raises(InputRefusedError):
        request_erasure(principal=who("admin"), username="dora", reason="x")


def test_people_see_and_export_what_is_stored_about_them_and_never_a_secret() -> None:
    leaver()
    page = client("dora").get("/settings/account/data/").content.decode()
    assert "Ways to reach them" in page
    assert "Erase this person" not in page
    answer = client("dora").post("/settings/account/data/", {})
    stored = orjson.loads(answer.content)["stored"]
    assert stored["accounts.account"][0]["email"] == "dora@example.org"
    assert stored["incidents.contacts"][0]["address"] == "+49301234"
    assert "digest" not in answer.content.decode()
    assert "argon2" not in answer.content.decode()
    assert client("olga").get("/settings/people/dora/data/").status_code == 403
    assert client("dora").post("/settings/account/data/", {"step": "erase"}).status_code == 403
    assert client("admin").get("/settings/people/dora/data/").status_code == 200
    wrong = client("admin").post("/settings/people/dora/data/", {"step": "erase", "username": "dor", "reason": "x"})
    assert wrong.status_code == 400
    right = client("admin").post("/settings/people/dora/data/", {"step": "erase", "username": "dora", "reason": "x"})
    assert right.status_code == 302
    assert Erasure.objects.count() == 1


def test_an_export_leaves_its_region_only_with_a_reason(settings: Any, tmp_path: Any) -> None:
    Region.objects.create(slug="eu-1", name="A", residency="EU")
    Region.objects.create(slug="eu-2", name="B", residency="EU")
    Region.objects.create(slug="us-1", name="C", residency="US")
    settings.REGION = "eu-1"
    assert ensure_may_leave(region="eu-2", reason="") == {"region": "eu-1", "to_region": "eu-2"}
    for region, problem in (("us-1", "stays in EU"), ("mars", "not a region")):
        with pytest.raises(ExportRefusedError, match=problem):
            ensure_may_leave(region=region, reason="")
    assert ensure_may_leave(region="us-1", reason="audit")["left_residency"] == "EU"
    digest = store_artifact(b"x", media_type="text/plain", name="x")
    assert Artifact.objects.get(sha256=digest).region == "eu-1"
    record(AuditedAction(action="x", target="y"), actor="user:1", subject="x:1")
    seal_pending()
    given = {"title": "Pack", "region": "us-1"}
    refused = client("carol").post("/ledger/export/", given)
    assert refused.status_code == 400
    assert "stays in EU" in refused.content.decode()
    sent = client("carol").post("/ledger/export/", {**given, "region_reason": "the auditor is there"})
    assert sent.status_code == 200
    assert b"".join(sent.streaming_content).startswith(b"PK")  # type: ignore[attr-defined]
    said = [one for one in entries_of("audit.action") if one["action"] == "ledger.pack_exported"]
    assert said[0]["after"]["left_residency"] == "EU"
    assert said[0]["reason"] == "the auditor is there"
    assert client("dora" if User.objects.filter(username="dora").exists() else "olga").post(
        "/settings/account/data/", {"region": "us-1"}
    ).status_code == 400  # fmt: skip


def test_destinations_bundles_and_backups_stay_in_the_region(settings: Any, tmp_path: Any) -> None:
    for slug, residency in (("eu-1", "EU"), ("eu-2", "EU"), ("us-1", "US")):
        Region.objects.create(slug=slug, name=slug, residency=residency)
    before = ForwarderSetup(name="early", kind="webhook", address="https://soc.example.org/a")
    early, _ = add_forwarder(principal=SITE, setup=before)
    settings.REGION = "eu-1"
    setup = ForwarderSetup(name="siem", kind="webhook", address="https://siem.example.org/a")
    for region, problem in (("", "say in which region"), ("us-1", "stays in EU"), ("mars", "not a region")):
        with pytest.raises(ForwarderRefusedError, match=problem):
            add_forwarder(principal=SITE, setup=replace(setup, region=region))
        with pytest.raises(ExportRefusedError, match=problem):
            make_bundle(principal=SITE, region=region)
    assert add_forwarder(principal=SITE, setup=replace(setup, region="eu-2"))[0].region == "eu-2"
    # What was added before the rule is told nothing more, and says why, until somebody says where it is.
    record(AuditedAction(action="x", target="y"), actor="user:1", subject="x:1")
    seal_pending()
    drain(FORWARD_QUEUE)
    early.refresh_from_db()
    assert (early.next_seq, "say in which region" in early.last_error) == (0, True)
    page = client("admin").get("/settings/forwarding/early/").content.decode()
    assert "The data of this site stay in EU" in page
    refused = client("admin").post("/settings/forwarding/early/", {"step": "place", "region": "us-1"})
    assert (refused.status_code, b"stays in EU" in refused.content) == (400, True)
    placed = {"step": "place", "region": "us-1", "reason": "the analysts are there"}
    assert client("admin").post("/settings/forwarding/early/", placed).status_code == 302
    early.refresh_from_db()
    assert (early.region, early.region_reason) == ("us-1", "the analysts are there")
    assert client("admin").post("/settings/system/", {}).status_code == 302
    assert make_bundle(principal=SITE, region="us-1", reason="the maker asked")[1].startswith(b"PK")
    with pytest.raises(SiteError, match="stays in EU"):
        back_up(
            principal=SITE, target=tmp_path / "b", key=BackupKey(b"correct horse", is_passphrase=True), region="us-1"
        )
    said = [one["action"] for one in entries_of("audit.action")]
    assert {"forwarder.placed", "support_bundle.made"} <= set(said)


def test_the_pages_work_and_refuse_readers(capsys: pytest.CaptureFixture[str]) -> None:
    hold = request_hold(principal=who("carol"), kind="service", target="gateway", reason="case")
    addresses = [
        "/settings/data/", "/settings/data/classes/incidents.inbound/", "/settings/data/holds/",
        "/settings/data/holds/add/", hold.get_absolute_url(), "/settings/data/erasures/",
    ]  # fmt: skip
    for address in addresses:
        assert client("admin").get(address).status_code == 200, address
        assert client("olga").get(address).status_code == 403, address
        assert Client().get(address).status_code == 302, address
    rule = addresses[1]
    assert client("carol").post(rule, {"keep_days": "30", "reason": "x"}).status_code == 403
    assert client("admin").post(rule, {"keep_days": "1", "reason": "x"}).status_code == 400
    assert client("admin").post(rule, {"keep_days": "30", "reason": "less is enough"}).status_code == 302
    assert RetentionRule.objects.get(key="incidents.inbound").keep_days == 30
    assert client("carol").post(addresses[3], {"kind": "service", "target": "nope", "reason": "x"}).status_code == 400
    assert client("admin").post(hold.get_absolute_url(), {"step": "approve"}).status_code == 302
    hold.refresh_from_db()
    assert hold.status == "active"
    call_command("custody", "preview", "--format", "json")
    rows = orjson.loads(capsys.readouterr().out)
    assert {"incidents.inbound", "ledger.artifacts"} <= {row["class"] for row in rows}
    assert django_settings.REGION == ""

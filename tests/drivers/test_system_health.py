"""System health says what is wrong and what to do; the support bundle holds everything but secrets."""

import io
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from core.beats import ProcessBeat, beat
from core.partition_ranges import first_key, following, month_at
from core.partitions import drop_part, partitioned_tables, parts, problems
from core.periodic import ensure_jobs
from core.work import PeriodicJob
from custody.services import set_retention
from delivery.data import Channel
from delivery.models import Connector, DeliveryAttempt, Endpoint, OutsideWatch
from delivery.services import send
from drivers.domain.redaction import redacted
from drivers.services import site_check
from drivers.services import site_health as module
from drivers.services.site_bundle import make_bundle
from drivers.services.site_check import Finding, Verdict
from drivers.services.site_health import site_health
from ledger.data.access import AuditedAction
from ledger.models import Forwarder, LedgerEntry
from ledger.services import record, seal_pending
from tests.engines import by_month

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")
PAGE = "/settings/system/"


@pytest.fixture(autouse=True)
def well(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site in good health: a scheduler and a worker beat, nothing is late. Its own checks have tests of their own."""
    settings.STATE_DIR = tmp_path
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path / "ledger_key"
    monkeypatch.setattr(module, "check_site", lambda **_: [Finding("database", Verdict.GOOD, "It answers.")])
    for kind in ("scheduler", "worker"):
        _beat(kind)
    for name, role in (("admin", Role.ADMIN), ("carol", Role.COMPLIANCE_MANAGER)):
        grant_role(principal=SITE, user=create_user(principal=SITE, username=name, password=None), role=role)
    seal_pending()


def _beat(kind: str, **more: Any) -> ProcessBeat:
    given = {"kind": kind, "host": "h", "release": "1", "seen_at": timezone.now(), "clock_offset": timedelta(0), **more}
    return ProcessBeat.objects.update_or_create(name=f"{kind}:h:1", defaults=given)[0]


def client(name: str = "admin") -> Client:
    one = Client(raise_request_exception=False)
    one.force_login(User.objects.get(username=name))
    return one


def test_a_well_site_says_so() -> None:
    OutsideWatch.objects.create(
        slug="other", url="https://watch.example/t/planted", every=timedelta(minutes=1), due_at=timezone.now()
    )
    found = site_health(principal=SITE)
    assert (found.verdict, found.sentence) == (Verdict.GOOD, "Everything is as it must be.")
    assert {one.name for one in found.queues} >= {"core.events", "core.periodic", "ledger.forward"}
    assert found.versions["Django"].startswith("5.")
    assert [one["name"] for one in found.channels] == ["other"]
    assert {one["what"] for one in found.storage} == {"disk of the state folder", "database", "artifacts"}


def test_what_is_wrong_is_said_with_what_to_do_the_worst_first() -> None:
    ensure_jobs()
    PeriodicJob.objects.update(due_at=timezone.now() + timedelta(hours=1))
    PeriodicJob.objects.filter(name="ledger.seal").update(last_error="DatabaseError: no")
    _beat("worker", seen_at=timezone.now() - timedelta(minutes=5))
    _beat("scheduler", clock_offset=timedelta(seconds=40))
    found = site_health(principal=SITE)
    assert found.verdict is Verdict.BAD
    said = [one.says for one in found.problems]
    assert any(text.startswith("No worker was heard of") for text in said)
    assert any("clock of scheduler:h:1" in text for text in said)
    assert said[-1].startswith("1 recurring jobs failed")
    assert found.sentence.startswith(found.problems[0].says)


def test_a_late_queue_and_entries_without_a_seal_are_found() -> None:
    ensure_jobs()
    PeriodicJob.objects.update(due_at=timezone.now() - timedelta(minutes=20))
    record(AuditedAction(action="x", target="y"), actor="user:1", subject="x:1")
    LedgerEntry.objects.update(recorded_at=timezone.now() - timedelta(minutes=3))
    found = site_health(principal=SITE)
    said = " ".join(one.says for one in found.problems)
    assert "core.periodic by 20 minutes" in said
    assert "Entries wait for their seal" in said
    [queue] = [one for one in found.queues if one.name == "core.periodic"]
    assert queue.due == PeriodicJob.objects.count()


def test_processes_say_that_they_live_and_how_their_clock_stands() -> None:
    ProcessBeat.objects.all().delete()
    from core import beats

    beats._last.clear()
    beat("worker")
    beat("worker")
    one = ProcessBeat.objects.get()
    assert one.kind == "worker"
    assert abs(one.clock_offset) < timedelta(seconds=5)


def test_the_page_and_the_command_answer_and_refuse_readers(capsys: pytest.CaptureFixture[str]) -> None:
    page = client().get(PAGE)
    assert page.status_code == 200
    assert "Everything is as it must be." in page.content.decode()
    assert client("carol").get(PAGE).status_code == 403
    assert client("carol").post(PAGE).status_code == 403
    assert Client().get(PAGE).status_code == 302
    call_command("site", "health", "--format", "json")
    said = orjson.loads(capsys.readouterr().out)
    assert said["verdict"] == "good"
    ProcessBeat.objects.all().delete()
    with pytest.raises(CommandError, match="code 1"):
        call_command("site", "health")
    assert "Start a" in capsys.readouterr().out


PLANTED = {
    "secret key": "planted-secret-key-0001",
    "database password": "planted/db%pass-0002",
    "broker password": "planted-broker-0003",
    "mail password": "planted-mail-0004",
    "environment": "planted-environment-0005",
    "endpoint": "whsec_cGxhbnRlZC1lbmRwb2ludC0wMDA2",
    "connector": "planted-connector-0007",
    "forwarder": "planted-forwarder-0008",
    "api token": "assay_planted-token-0009-abcdefgh",
    "session": "planted-session-0010",
    "password in a log": "planted-logged-0011",
    "address in a log": "planted-address-0012",
    "query in a log": "planted-query-0013",
    "bearer in a log": "planted-bearer-0014",
    "private key": "planted0015privatekeyplanted",
    "ledger key": "planted-ledger-key-0016",
    "job error": "planted-job-error-0017",
    "person": "dora.planted@example.org",
}


def test_no_planted_secret_is_in_the_bundle(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = PLANTED
    monkeypatch.setenv("SOME_VENDOR_TOKEN", one["environment"])
    settings.ENVIRONMENT = django_settings.ENVIRONMENT.model_copy(
        update={
            "secret_key": one["secret key"],
            "database_url": "postgresql://assay:planted%2Fdb%25pass-0002@db.internal:5432/assay",
            "broker_url": f"redis://:{one['broker password']}@redis:6379/0",
            "assay_email_url": f"smtp://mailer:{one['mail password']}@mail:587",
        }
    )
    Path(settings.LEDGER_KEY_FILE).write_text(one["ledger key"])
    now = timezone.now()
    Endpoint.objects.create(slug="hook", name="hook", url="https://x.example/", secret=one["endpoint"])
    Connector.objects.create(slug="ops", kind="slack", secrets=orjson.dumps({"bot_token": one["connector"]}).decode())
    Forwarder.objects.create(
        name="siem", kind="otlp", address="https://siem.example/", created_at=now, created_by="user:1", due_at=now,
        secret=orjson.dumps({"Authorization": f"Bearer {one['forwarder']}"}).decode(),
        last_error=f"the receiver answered 401 to {one['forwarder']}",
    )  # fmt: skip
    ensure_jobs()
    PeriodicJob.objects.update(last_error=f"OperationalError: password={one['job error']} for assay")
    lines = [
        f"key {one['secret key']} db {one['database password']} mail {one['mail password']} env {one['environment']}",
        f"token {one['api token']} endpoint {one['endpoint']} connector {one['connector']} ledger {one['ledger key']}",
        f"Cookie: csrftoken=abc; sessionid={one['session']}; other={one['session']}",
        f"login with password={one['password in a log']} failed for {one['person']}",
        f"connecting to amqp://worker:{one['address in a log']}@rabbit:5672/ and {one['broker password']}",
        f"GET https://hooks.example/T1?sig={one['query in a log']}&x=1 200",
        f'{{"Authorization": "Bearer {one["bearer in a log"]}", "password": "{one["password in a log"]}"}}',
        f"-----BEGIN PRIVATE KEY-----\n{one['private key']}\n-----END PRIVATE KEY-----",
        "an ordinary line",
    ]
    logs = tmp_path / "log"
    logs.mkdir()
    (logs / "web.log").write_text("\n".join(lines) + "\n")
    (logs / "worker.log").write_text("x" * 300_000 + f"{one['bearer in a log']}\nlast line\n")
    name, data = make_bundle(principal=SITE)
    assert name.startswith("assay-support-")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {path: archive.read(path).decode() for path in archive.namelist()}
    assert set(files) == {
        "README.txt", "health.json", "configuration.json", "migrations.txt", "logs/web.log", "logs/worker.log",
            "figures.txt", "given_up.json", "deliveries.json", "database.json",
    }  # fmt: skip
    found = [(what, path) for what, secret in one.items() for path, text in files.items() if secret in text]
    assert found == []
    assert "planted" not in "".join(files.values()).replace("dora.planted", ""), "not even a part of one"
    assert "an ordinary line" in files["logs/web.log"], "what is no secret is there"
    assert "last line" in files["logs/worker.log"]
    configuration = orjson.loads(files["configuration.json"])
    assert configuration["settings"]["database_url"] == "postgresql://db.internal/assay"
    assert orjson.loads(files["health.json"])["forwarders"][0]["name"] == "siem"
    assert LedgerEntry.objects.filter(subject="site:support-bundle").count() == 1


def test_the_bundle_is_for_administrators_and_is_recorded(tmp_path: Path) -> None:
    answer = client().post(PAGE)
    assert answer["Content-Type"] == "application/zip"
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    target = tmp_path / "bundle.zip"
    call_command("site", "bundle", str(target))
    assert zipfile.is_zipfile(target)
    assert LedgerEntry.objects.filter(subject="site:support-bundle").count() == 2


@pytest.mark.parametrize(
    "text",
    [
        "nothing of note happened at 12:30",
        "reliability.collect 12 due, oldest 3 s",
        "https://assay.example/settings/system/ answered 200",
    ],
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert redacted(text) == text


@by_month
def test_tables_that_are_kept_by_month_are_shown_with_when_each_part_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval('ledger_ledgerentry_id_seq', 1000)")
    record(AuditedAction(action="lamp.lit", target="1"), actor="user:1", subject="lamp:1")
    # What the test began with lies in the same part, or in a later one.
    LedgerEntry.objects.update(recorded_at=datetime(2025, 3, 31, 12, tzinfo=UTC))
    call_command("site", "partitions", "--open", "--format", "json")
    with connection.cursor() as cursor:
        # What comes from here on is of this month, whatever other tests have left the numbers at.
        cursor.execute(
            "SELECT setval('ledger_ledgerentry_id_seq', %s)", [first_key(month_at(timezone.now())) + 1_000_000]
        )
    shown = {one["part"]: one for one in orjson.loads(capsys.readouterr().out)}
    assert shown["ledger_entrycontent_before"]["goes"] == "kept for ever"
    assert shown["incidents_inboundbody_default"]["range"] == "what lies in no month"
    admin = principal_for_user(user=User.objects.get(username="admin"))
    set_retention(principal=admin, key="ledger.payloads", keep_days=400, reason="policy 7")
    page = client().get(PAGE).content.decode()
    assert "Tables kept by month" in page
    assert "2026-05-05" in page, "400 days after the youngest of it"
    assert "2026-05-05" in client().get("/settings/data/classes/ledger.payloads/").content.decode()
    for table in partitioned_tables():
        assert problems(table, now=timezone.now()) == []
        number = table.ranges.first(following(month_at(timezone.now())))
        drop_part(table, next(one for one in parts(table) if one.range[0] <= number < one.range[1]))
    with pytest.raises(CommandError):
        call_command("site", "partitions")
    assert site_check._partitions().verdict is Verdict.WARNING
    assert "core.partitions is late" in site_check._partitions().says


def test_the_bundle_says_what_was_given_up_what_was_not_sent_and_what_the_database_does(tmp_path: Path) -> None:
    now = timezone.now()
    PeriodicJob.objects.create(name="broken", due_at=now, dead_at=now, attempts=10, last_error="ValueError: no store")
    message = send(
        channel=Channel.EMAIL, address="a@planted.example", idempotency_key="k", subject="planted incident", text="t"
    )
    DeliveryAttempt.objects.create(
        delivery=message, number=1, started_at=now, outcome="failed", error="550 no such user b@planted.example"
    )
    _, data = make_bundle(principal=SITE)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    assert [(one["queue"], one["error"]) for one in orjson.loads(files["given_up.json"])] == [
        ("core.periodic", "ValueError: no store")
    ]
    [tried] = orjson.loads(files["deliveries.json"])
    assert (tried["delivery__channel"], tried["error"]) == ("email", "550 no such user [mail address]")
    assert "assay_ready 1.0" in files["figures.txt"]
    assert not [name for name, text in files.items() if "planted" in text]
    found = orjson.loads(files["database.json"])
    if connection.vendor == "postgresql":
        assert {"settings", "connections", "largest_tables", "longer_than_a_second"} == found.keys()
        assert found["largest_tables"][0]["bytes"] > 0
    for name in files:
        assert name in files["README.txt"] or name.startswith(("logs/", "README"))

"""Packs and exports read one snapshot of a real standby that has all of the log, or the primary: never a part of it."""

import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from django.db import connection, connections
from django.test import Client
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from accounts.data import Principal, Role, system_principal
from accounts.models import RoleGrant, User
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from compliance.models import Engagement, Framework, PackExport
from compliance.services import request_export
from compliance.services.audits import EXPORT_QUEUE
from config.databases import replica_from_url
from core.replicas import REPLICA, ReadFrom, ReportBrokenOffError, forget_the_lag, read_as_report, replica_is_close
from core.work import drain
from drivers.services.site_postgresql import PrivateCluster, postgresql_binaries
from ledger.data.access import AuditedAction
from ledger.models import LedgerEntry
from ledger.pack import verify as offline
from ledger.services import artifact_path, record, seal_pending, write_pack
from portal.data import AuditFilters
from portal.services import TrailFormat, export_audit_log
from tests.core.test_replica_reads import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.integration, pytest.mark.database]
SITE = system_principal("test")
EVERYTHING = AuditFilters()


@dataclass
class Pair:
    """The site's own tables on a primary of their own, and the standby that follows it."""

    primary: PrivateCluster
    standby: PrivateCluster

    def ask_standby(self, statement: str) -> None:
        with psycopg.connect(self.standby.dsn(timeout=10), autocommit=True) as other:
            other.execute(statement)

    @contextmanager
    def paused(self) -> Iterator[None]:
        self.ask_standby("SELECT pg_wal_replay_pause()")
        try:
            yield
        finally:
            self.ask_standby("SELECT pg_wal_replay_resume()")

    def end_connections(self) -> None:
        self.ask_standby("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def copy_tables(target: str) -> None:
    """Copy the tests' own database, with what migrations put there."""
    binaries, source = postgresql_binaries(), connection.settings_dict
    assert binaries is not None
    dump = subprocess.run(
        [binaries / "pg_dump", "-h", source["HOST"], "-p", source["PORT"], "-U", source["USER"], "-O", source["NAME"]],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [binaries / "psql", "-q", "-v", "ON_ERROR_STOP=1", target],
        input=dump.stdout,
        check=True,
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def pair(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Pair]:
    if connection.vendor != "postgresql" or postgresql_binaries() is None:
        pytest.skip("needs the tests' database to be PostgreSQL, and its server")
    folder = Path(tempfile.mkdtemp(prefix="assay-reports-"))
    folder.chmod(0o755)
    made = Pair(PrivateCluster(folder / "primary"), PrivateCluster(folder / "standby"))
    own = dict(connection.settings_dict)
    try:
        made.primary.create(["fsync = off"])
        made.primary.start()
        copy_tables(made.primary.dsn())
        made.standby.clone_from(made.primary)
        made.standby.start()
        with django_db_blocker.unblock():
            connection.close()
            connection.settings_dict.update(
                NAME="postgres", USER="assay", PASSWORD=made.primary.password, HOST="127.0.0.1",
                PORT=str(made.primary.port), OPTIONS={**own["OPTIONS"], "sslmode": "require"},
            )  # fmt: skip
            yield made
    finally:
        connection.close()
        connection.settings_dict.update(own)
        made.standby.remove()
        made.primary.remove()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def configured(pair: Pair, db: None, settings: Any, tmp_path: Path) -> Iterator[Pair]:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path.parent / "replica-reports-key"
    settings.DATABASE_ROUTERS = ["core.replicas.ReplicaRouter"]
    settings.REPLICA_MAX_LAG = timedelta(seconds=5)
    entry = {"default": {}, REPLICA: replica_from_url(pair.standby.url(), state_dir=tmp_path)}
    connections.databases[REPLICA] = connections.configure_settings(entry)[REPLICA]
    standby = connections[REPLICA]

    def ensure_connection() -> None:
        if standby.connection is None:
            with standby.wrap_database_errors:
                standby.connect()

    # Django lets a test reach only databases that were there when the suite began.
    vars(standby)["ensure_connection"] = ensure_connection
    forget_the_lag()
    eventually(replica_is_close)
    yield pair
    connections[REPLICA].close()
    del connections.databases[REPLICA]
    del connections[REPLICA]
    forget_the_lag()


def light(lamp: str, count: int = 1) -> None:
    for number in range(count):
        record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{lamp}")
    seal_pending()


def pack(folder: Path, **given: Any) -> dict[str, Any]:
    """Make a pack of everything, have its own script verify it, and return its manifest."""
    made = write_pack(folder / "pack.zip", principal=SITE, title="All", **given)
    with zipfile.ZipFile(folder / "pack.zip") as archive:
        archive.extractall(folder / "pack")
    report = offline.verify(offline.Pack(folder / "pack"), made.key, [])
    assert report.code == 0, report.broken
    manifest: dict[str, Any] = orjson.loads((folder / "pack" / "manifest.json").read_bytes())
    assert len(manifest["entries"]) == manifest["checkpoint"]["size"], "it holds the whole log as it was signed"
    return manifest


def exports() -> int:
    return LedgerEntry.objects.filter(entry_type="audit.action", subject__startswith="pack:").count()


def somebody(name: str, role: Role) -> Principal:
    user = User.objects.filter(username=name).first() or create_user(principal=SITE, username=name, password=None)
    grant_role(principal=SITE, user=user, role=role)
    return principal_for_user(user=User.objects.get(pk=user.pk))


def test_a_pack_is_read_from_the_standby_and_says_so(tmp_path: Path) -> None:
    light("first", 3)
    before = exports()
    source = pack(tmp_path)["read_from"]
    assert source["database"] == REPLICA
    assert "/" in source["position"], "a position in the write-ahead log"
    assert "a replica that had everything up to" in (tmp_path / "pack" / "index.html").read_text()
    assert exports() == before + 1, "what is recorded goes to the primary"


def test_a_standby_that_lags_is_not_read_for_what_must_be_whole(
    configured: Pair, tmp_path: Path, settings: Any
) -> None:
    settings.REPLICA_MAX_LAG = timedelta(seconds=0.3)
    with configured.paused():
        # It was close when it was last asked; what came after that is not there.
        light("late")
        assert pack(tmp_path)["read_from"] == {"database": "primary", "position": ""}
        lines = list(export_audit_log(principal=SITE, asked=EVERYTHING, written=TrailFormat.CSV))
    assert any("lamp:late" in line for line in lines)


def test_a_standby_that_goes_away_in_the_middle_costs_nothing_but_time(configured: Pair, tmp_path: Path) -> None:
    light("middle", 3)
    before, steps = exports(), []

    def progress(step: str) -> None:
        steps.append(step)
        if steps == ["Writing entries", "Copying artifacts", "Writing proofs"]:
            configured.end_connections()

    assert pack(tmp_path, progress=progress)["read_from"]["database"] == "primary"
    assert steps == ["Writing entries", "Copying artifacts", "Writing proofs"] * 2, "begun anew"
    assert exports() == before + 1


def test_what_streams_breaks_off_openly_and_works_when_it_is_asked_for_again(configured: Pair) -> None:
    light("stream", 1200)

    def asked() -> Iterator[str]:
        return export_audit_log(principal=SITE, asked=EVERYTHING, written=TrailFormat.JSON_LINES)

    lines = asked()
    next(lines)
    configured.end_connections()
    with pytest.raises(ReportBrokenOffError, match="ask for it again"):
        list(lines)
    assert sum("lamp:stream" in line for line in asked()) == 1200


def test_what_is_read_is_one_instant_however_long_it_takes(configured: Pair) -> None:
    light("instant")

    def count_twice(source: ReadFrom) -> tuple[str, int, int]:
        first = LedgerEntry.objects.filter(subject="lamp:instant").count()
        with psycopg.connect(configured.primary.dsn(timeout=10), autocommit=True) as other:
            other.execute("CREATE TABLE later AS SELECT 1 AS one")
            eventually(lambda: tables(configured) == 1)
            other.execute("DROP TABLE later")
        record(AuditedAction(action="lamp.lit", target="x"), actor="user:1", subject="lamp:instant")
        return source.database, first, LedgerEntry.objects.filter(subject="lamp:instant").count()

    assert read_as_report(count_twice) == (REPLICA, 1, 1)
    assert LedgerEntry.objects.filter(subject="lamp:instant").count() == 2


def tables(pair: Pair) -> int:
    with psycopg.connect(pair.standby.dsn(timeout=10), autocommit=True) as other:
        [(found,)] = other.execute("SELECT count(*) FROM pg_class WHERE relname = 'later'").fetchall()
    return int(found)


def test_who_has_lost_the_right_gets_nothing_from_a_standby_that_does_not_know_it(configured: Pair) -> None:
    somebody("carol", Role.COMPLIANCE_MANAGER)
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.get(username="carol"))
    places: list[Callable[[], Any]] = [
        lambda: client.post("/settings/audit-log/", {"format": "csv"}),
        lambda: client.get("/compliance/exports/control-matrix.csv"),
    ]
    answers = [place() for place in places]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert "carol" in b"".join(answers[0].streaming_content).decode()
    eventually(replica_is_close)
    with configured.paused():
        RoleGrant.objects.filter(user__username="carol").delete()
        assert all(place().status_code in {403, 404} for place in places)


def test_the_pack_of_an_audit_is_made_from_the_standby_by_a_worker(configured: Pair) -> None:
    light("audit")
    manager, now = somebody("maria", Role.COMPLIANCE_MANAGER), timezone.now()
    framework = Framework.objects.create(slug="mine", name="Mine", edition="1", content_sha256="x", loaded_at=now)
    audit = Engagement.objects.create(
        slug="mine", name="Mine", window_start=now - timedelta(days=9), window_end=now + timedelta(days=9),
        created_at=now, created_by="x",
    )  # fmt: skip
    audit.frameworks.set([framework])
    request_export(principal=manager, engagement=audit)
    eventually(replica_is_close)
    drain(EXPORT_QUEUE)
    export = PackExport.objects.get()
    assert export.state == PackExport.State.COMPLETED, export.last_error
    with zipfile.ZipFile(artifact_path(export.sha256)) as archive:
        assert orjson.loads(archive.read("manifest.json"))["read_from"]["database"] == REPLICA

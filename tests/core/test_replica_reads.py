"""Reports read a real streaming standby while it follows, and the primary when it does not."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.utils import InternalError

from accounts.models import Team
from config.databases import replica_from_url
from core.replicas import REPLICA, forget_the_lag, reading_from_replica, replica_is_close, replica_lag
from drivers.services.site_postgresql import PrivateCluster, postgresql_binaries

pytestmark = [pytest.mark.integration]


@dataclass
class Pair:
    """A primary and the standby that follows it; they hold one team, which the tests' own database has not."""

    primary: PrivateCluster
    standby: PrivateCluster

    def on(self, cluster: PrivateCluster, statement: str) -> list[Any]:
        with psycopg.connect(cluster.dsn(timeout=10), autocommit=True) as connection:
            found = connection.execute(statement)
            return found.fetchall() if found.description else []


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    if postgresql_binaries() is None:
        pytest.skip("needs PostgreSQL's server")
    folder = Path(tempfile.mkdtemp(prefix="assay-replica-"))
    folder.chmod(0o755)
    primary, standby = PrivateCluster(folder / "primary"), PrivateCluster(folder / "standby")
    made = Pair(primary, standby)
    try:
        primary.create(["fsync = off"])
        primary.start()
        made.on(primary, "CREATE TABLE accounts_team (id bigint, slug text, name text, created_at timestamptz)")
        made.on(primary, "INSERT INTO accounts_team VALUES (1, 'of-the-replica', 'Team', now())")
        standby.clone_from(primary)
        standby.start()
        yield made
    finally:
        standby.remove()
        primary.remove()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def configured(pair: Pair, db: None, settings: Any, tmp_path: Path) -> Iterator[Pair]:
    entry = connections.configure_settings(
        {"default": {}, REPLICA: replica_from_url(pair.standby.url(), state_dir=tmp_path)}
    )
    settings.DATABASE_ROUTERS = ["core.replicas.ReplicaRouter"]
    settings.REPLICA_MAX_LAG = timedelta(seconds=0.5)
    # The setting itself, which Django keeps as it is.
    connections.databases[REPLICA] = entry[REPLICA]
    assert REPLICA in settings.DATABASES
    forget_the_lag()
    standby = connections[REPLICA]

    def ensure_connection() -> None:
        if standby.connection is None:
            with standby.wrap_database_errors:
                standby.connect()

    # Django lets a test reach only databases that were there when the suite began.
    vars(standby)["ensure_connection"] = ensure_connection
    yield pair
    standby.close()
    del connections.databases[REPLICA]
    del connections[REPLICA]
    forget_the_lag()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        forget_the_lag()
        time.sleep(0.05)


def read() -> list[str]:
    return list(Team.objects.values_list("slug", flat=True))


def read_for_a_report(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    # The transaction around each test is not one that the code under test has begun.
    monkeypatch.setattr(connections[DEFAULT_DB_ALIAS], "in_atomic_block", False)
    try:
        with reading_from_replica():
            return read()
    finally:
        monkeypatch.undo()


def test_a_report_reads_the_standby_and_everything_else_the_primary(
    configured: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    Team.objects.create(slug="of-the-primary", name="Team", created_at="2026-01-01T00:00:00Z")
    eventually(lambda: replica_lag() == timedelta(0))
    assert read_for_a_report(monkeypatch) == ["of-the-replica"]
    assert read() == ["of-the-primary"]
    with transaction.atomic(), reading_from_replica() as replica:
        assert not replica, "what this transaction wrote is not on the standby"
        assert read() == ["of-the-primary"]
    with pytest.raises(InternalError, match="read-only"):
        Team.objects.using(REPLICA).create(slug="no", name="no", created_at="2026-01-01T00:00:00Z")


def test_a_standby_that_lags_or_is_gone_is_not_read(configured: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = configured
    Team.objects.create(slug="of-the-primary", name="Team", created_at="2026-01-01T00:00:00Z")
    eventually(lambda: replica_lag() == timedelta(0))
    pair.on(pair.standby, "SELECT pg_wal_replay_pause()")
    pair.on(pair.primary, "INSERT INTO accounts_team VALUES (2, 'not-replayed', 'Team', now())")
    eventually(lambda: not replica_is_close())
    assert read_for_a_report(monkeypatch) == ["of-the-primary"]
    pair.on(pair.standby, "SELECT pg_wal_replay_resume()")
    eventually(replica_is_close)
    assert sorted(read_for_a_report(monkeypatch)) == ["not-replayed", "of-the-replica"]
    pair.standby.kill()
    eventually(lambda: not replica_is_close())
    assert replica_lag() is None
    assert read_for_a_report(monkeypatch) == ["of-the-primary"]


def test_a_replica_is_a_postgresql_that_takes_no_writes(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="REPLICA_DATABASE_URL"):
        replica_from_url("sqlite:////tmp/x.sqlite3", state_dir=tmp_path)
    options = replica_from_url("postgresql://a@b/c?sslmode=require", state_dir=tmp_path)["OPTIONS"]
    assert options == {
        "connect_timeout": "2",
        "options": "-c default_transaction_read_only=on",
        "sslmode": "require",
    }

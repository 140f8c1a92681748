"""The whole site, backed up and restored by its own command, on both engines, and killed at random moments."""

import json
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from drivers.services.site_postgresql import PrivateCluster, postgresql_binaries
from tests.drivers.site_under_test import ROOT, Site

pytestmark = [pytest.mark.long, pytest.mark.integration]
PUT_SOMETHING_IN = """
from accounts.data import Role, system_principal
from accounts.services import create_user, grant_role
from delivery.data import Channel
from delivery.services import send
from ledger.data.access import AuditedAction
from ledger.services import make_checkpoint, record, store_artifact
site = system_principal("test")
for name in ("admin", "dana"):
    user = create_user(principal=site, username=name, password="a long enough word", full_name=name)
    grant_role(principal=site, user=user, role=Role.ADMIN if name == "admin" else Role.VIEWER)
digest = store_artifact(b"journal" * 300_000, media_type="text/plain", name="journal.txt")
for number in range(40):
    record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject="lamp:1", artifacts=[digest])
send(channel=Channel.EMAIL, address="a@example.org", idempotency_key="k", subject="s", text="t")
make_checkpoint()
"""


DANA_HAS_LEFT = """
from accounts.models import User
User.objects.update_or_create(username="dana", defaults={"is_active": False})
"""
# What these tests show does not depend on the engine.
ON_ONE_ENGINE = pytest.mark.parametrize("original", ["sqlite"], indirect=True)


@dataclass
class Restored:
    """A site that was restored, and what the command said."""

    site: Site
    said: dict[str, Any]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PrivateCluster]:
    if postgresql_binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="assay-test-"))
    folder.chmod(0o755)
    server = PrivateCluster(folder / "server")
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.remove()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "backup.key"
    path.write_text("5e" * 32)
    return path


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("original"))
    if request.param == "postgresql":
        site.database_url = new_database(request.getfixturevalue("cluster"), "original")
    site.make_tables()
    site.ask("shell", "-c", PUT_SOMETHING_IN)
    return site


@pytest.fixture(scope="module")
def backup(original: Site, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("backups") / "site.assay"
    original.ask("site", "backup", path, "--key-file", key)
    return path


@pytest.fixture
def empty(original: Site, tmp_path: Path, request: pytest.FixtureRequest) -> Site:
    site = Site(tmp_path / "restored")
    if original.database_url:
        name = f"restored_{random.randrange(10**9)}"
        site.database_url = new_database(request.getfixturevalue("cluster"), name)
    return site


@pytest.fixture(scope="module")
def restored(
    original: Site, backup: Path, key: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Restored:
    site = Site(tmp_path_factory.mktemp("restored"))
    if original.database_url:
        site.database_url = new_database(request.getfixturevalue("cluster"), "restored")
    return Restored(site, site.json("site", "restore", backup, "--key-file", key))


def new_database(cluster: PrivateCluster, name: str, *, like: str = "template1") -> str:
    with psycopg.connect(cluster.dsn(), autocommit=True) as link:
        link.execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"'.encode())
    return cluster.url(name)


def test_a_restored_site_has_every_row_and_file_and_is_held(original: Site, restored: Restored) -> None:
    empty, said = restored.site, restored.said
    assert said["held"] is True
    assert said["differences"] == said["ledger_problems"] == []
    assert said["counts"]["ledger_ledgerentry"] >= 40
    assert said["artifacts"] == 1
    status = empty.json("site", "status", expect=1)
    assert status["held"] is True
    assert "restored from the backup of" in status["reason"]
    verified = empty.ask("ledger", "verify").stdout
    assert "Everything holds" in verified
    assert "1 artifacts" in verified
    assert original.json("site", "status")["held"] is False


def test_the_ledger_says_from_which_checkpoint_it_continues(restored: Restored) -> None:
    empty, said = restored.site, restored.said
    found = empty.ask("shell", "-c", FIND_RESTORE)
    entry = json.loads(found.stdout.splitlines()[-1])
    assert entry["continues_from_size"] == said["ledger_size_in_backup"] == entry["seq"]
    assert entry["continues_from_root"] == said["checkpoint_root"] == entry["root_now"]
    assert entry["continues_from_note"].startswith("127.0.0.1")


FIND_RESTORE = """
import json
from ledger.models import Checkpoint
from ledger.selectors import entries
(entry,) = entries(types=["recovery.site_restored"])
root = bytes(Checkpoint.objects.get(size=entry.payload["continues_from_checkpoint_size"]).root).hex()
print(json.dumps({**entry.payload, "seq": entry.seq, "root_now": root}))
"""


def test_nothing_leaves_a_held_site_until_a_person_releases_it(restored: Restored) -> None:
    empty = restored.site
    empty.ask("work")
    assert not list((empty.state / "mail").glob("*"))
    empty.ask("site", "release", "--note", "looked", expect=2)
    refused = empty.ask("site", "release", "--note", "looked", "--as", "dana", expect=2)
    assert "site.admin" in refused.stderr
    assert empty.json("site", "status", expect=1)["held"]
    empty.ask("site", "release", "--note", "looked at the log", "--as", "admin", "--send-waiting")
    assert empty.json("site", "status")["held"] is False
    empty.ask("work")
    assert len(list((empty.state / "mail").glob("*"))) == 1


@ON_ONE_ENGINE
def test_a_restore_that_was_cut_off_is_completed_and_messages_of_the_backup_are_withdrawn(
    backup: Path, key: Path, empty: Site
) -> None:
    said = empty.json("site", "restore", backup, "--key-file", key)
    note = {"backup": said["backup"], "sha256": ""}
    (empty.state / "restore-unfinished.json").write_text(json.dumps(note))
    assert "interrupted" in empty.ask("migrate", expect=1).stderr
    again = empty.json("site", "restore", backup, "--key-file", key)
    assert again["differences"] == again["ledger_problems"] == []
    said = empty.ask("site", "release", "--note", "looked", "--as", "admin").stdout
    assert "1 messages of the backup were withdrawn" in said
    empty.ask("work")
    assert not list((empty.state / "mail").glob("*"))


def test_a_site_that_is_not_empty_is_not_replaced_without_force(
    backup: Path, key: Path, empty: Site, request: pytest.FixtureRequest
) -> None:
    if empty.database_url:
        empty.database_url = new_database(request.getfixturevalue("cluster"), "in_use_by_another", like="original")
    else:
        empty.make_tables()
    refused = empty.ask("site", "restore", backup, "--key-file", key, expect=2)
    assert "not empty" in refused.stderr
    assert "--force" in refused.stderr
    assert empty.json("site", "status")["held"] is False
    # Dana has left since the backup, in which she is one of the people.
    empty.ask("shell", "-c", DANA_HAS_LEFT)
    said = empty.json("site", "restore", backup, "--key-file", key, "--force")
    assert said["closed_again"] == ["dana"]
    assert said["differences"] == []
    assert empty.json("site", "status", expect=1)["held"] is True
    people = {one["username"]: one["active"] for one in empty.json("account", "list")}
    assert people == {"admin": True, "dana": False}


@ON_ONE_ENGINE
def test_a_wrong_key_a_cut_file_and_a_newer_version_change_nothing(
    backup: Path, key: Path, empty: Site, tmp_path: Path
) -> None:
    other = tmp_path / "other.key"
    empty.ask("site", "key", other)
    assert "Wrong key" in empty.ask("site", "restore", backup, "--key-file", other, expect=2).stderr
    cut = tmp_path / "cut.assay"
    cut.write_bytes(backup.read_bytes()[:-100])
    assert "truncated" in empty.ask("site", "restore", cut, "--key-file", key, expect=1).stderr
    damaged = tmp_path / "damaged.assay"
    content = bytearray(backup.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    assert "chunk" in empty.ask("site", "restore", damaged, "--key-file", key, expect=1).stderr
    assert "no backup" in empty.ask("site", "restore", tmp_path / "none", "--key-file", key, expect=2).stderr
    assert not (empty.state / "ledger_key").exists()
    assert not (empty.state / "artifacts").exists()


@ON_ONE_ENGINE
def test_a_backup_of_a_newer_version_is_refused(original: Site, key: Path, empty: Site, tmp_path: Path) -> None:
    later = 'from django.db import connection; connection.cursor().execute("{}")'
    insert = "INSERT INTO django_migrations (app, name, applied) VALUES ('core', '9999_later', CURRENT_TIMESTAMP)"
    original.ask("shell", "-c", later.format(insert))
    try:
        original.ask("site", "backup", tmp_path / "newer.assay", "--key-file", key)
    finally:
        original.ask("shell", "-c", later.format("DELETE FROM django_migrations WHERE name = '9999_later'"))
    refused = empty.ask("site", "restore", tmp_path / "newer.assay", "--key-file", key, expect=2).stderr
    assert "newer version" in refused
    assert "core.9999_later" in refused


@ON_ONE_ENGINE
def test_a_backup_does_not_overwrite_and_says_what_it_lacks(original: Site, backup: Path, key: Path) -> None:
    before = backup.read_bytes()
    assert "exists already" in original.ask("site", "backup", backup, "--key-file", key, expect=2).stderr
    assert backup.read_bytes() == before
    assert "ASSAY_BACKUP_PASSPHRASE" in original.ask("site", "backup", "/tmp/x", expect=2).stderr


@ON_ONE_ENGINE
def test_secrets_are_not_readable_in_the_file(original: Site, backup: Path) -> None:
    content = backup.read_bytes()
    for name in ("ledger_key", "secret_key"):
        assert (original.state / name).read_bytes().strip() not in content
    assert b"journaljournal" not in content
    assert b"SQLite format" not in content


@ON_ONE_ENGINE
def test_a_killed_backup_leaves_no_file_that_looks_like_one(original: Site, key: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    original.ask("site", "backup", tmp_path / "whole.assay", "--key-file", key)
    whole = time.monotonic() - start
    for number, fraction in enumerate((0.7, 0.9)):
        target = tmp_path / f"{number}.assay"
        arguments = ("site", "backup", target, "--key-file", key)
        if original.killed(*arguments, after=fraction * whole) and target.exists():
            original.ask("site", "inspect", target, "--key-file", key)
    original.ask("site", "backup", tmp_path / "last.assay", "--key-file", key)
    left = [path.name for path in (*tmp_path.iterdir(), *original.state.iterdir())]
    assert not [name for name in left if name.startswith((".assay-backup-", ".backup-"))]


def test_a_killed_restore_leaves_nothing_or_what_refuses_to_start(
    backup: Path, key: Path, empty: Site, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    seen = set()
    # While it reads and checks, and once it has begun to replace: looked for, because times mean little on a busy host.
    for number, once in enumerate((".restore-*/*", "restore-unfinished.json")):
        site = Site(tmp_path / f"killed-{number}")
        if empty.database_url:
            site.database_url = new_database(request.getfixturevalue("cluster"), f"killed_{random.randrange(10**9)}")
        killed = site.killed("site", "restore", backup, "--key-file", key, after=0.0, once=f"{site.state}/{once}")
        unfinished = (site.state / "restore-unfinished.json").exists()
        if unfinished:
            refused, said = site.code("migrate", "--verbosity=0", "--plan")
            assert refused
            assert "restore of this site was interrupted" in said
        # The same command again: completes it, starts it afresh, or finds it whole and held.
        code, _ = site.code("site", "restore", backup, "--key-file", key)
        assert code in {0, 2}
        assert site.json("site", "status", expect=1)["held"]
        assert "Everything holds" in site.ask("ledger", "verify").stdout
        assert code == 0 or not killed or not unfinished
        seen.add((killed, code))
        shutil.rmtree(site.state)
    assert (True, 0) in seen, "at least the one that only read was killed"


def test_a_site_in_use_is_not_replaced(original: Site, backup: Path, key: Path) -> None:
    holder = subprocess.Popen(
        original.command(
            "shell",
            "-c",
            "from core.holding import site_is_held as h; h(); print(1, flush=True); import time; time.sleep(60)",
        ),
        cwd=ROOT,
        env=original.environment,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout
    try:
        holder.stdout.readline()
        while b"1" not in holder.stdout.readline():
            pass
        refused = original.ask("site", "restore", backup, "--key-file", key, "--force", expect=2).stderr
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert "in use by" in refused
    assert "stop the site first" in refused

"""The command's answers and exit codes, each in a process and a database of its own."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.integration]
Run = Callable[..., subprocess.CompletedProcess[str]]
FILL = """
from django.db import transaction
from ledger.data.access import AuditedAction
from ledger.services import make_checkpoint, record
with transaction.atomic():
    for number in range({count}):
        record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{{number}}")
make_checkpoint()
"""


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database; each test works on a copy, because the migrations take longer than the tests."""
    folder = tmp_path_factory.mktemp("migrated")
    database = folder / "site.sqlite3"
    environment = {**os.environ, "DATABASE_URL": f"sqlite:///{database}", "ASSAY_STATE_DIR": str(folder)}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True, timeout=300)
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database


@pytest.fixture
def run(tmp_path: Path, empty_database: Path) -> Run:
    shutil.copyfile(empty_database, tmp_path / "site.sqlite3")
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{tmp_path / 'site.sqlite3'}",
        "ASSAY_STATE_DIR": str(tmp_path),
        "COLUMNS": "200",
    }

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return call


def test_an_empty_log_holds_and_has_nothing_to_sign(run: Run, tmp_path: Path) -> None:
    assert run("ledger", "verify").returncode == 0
    assert run("ledger", "checkpoint").returncode == 1
    assert run("ledger", "export", str(tmp_path / "pack.zip")).returncode == 1
    assert run("ledger", "list").stdout == "Nothing was recorded yet.\n"


def test_a_log_is_listed_proved_exported_and_verified(run: Run, tmp_path: Path) -> None:
    assert run("shell", "-v0", "-c", FILL.format(count=9_000)).returncode == 0
    for processes in ("1", "2"):
        done = run("ledger", "verify", "--processes", processes, "--format", "json")
        found = json.loads(done.stdout)
        assert (done.returncode, found["entries"], found["holds"]) == (0, 9_000, True), found
    proof = json.loads(run("ledger", "prove", "41", "--format", "json").stdout)
    assert (proof["seq"], proof["size"], len(proof["path"])) == (41, 9_000, 14)
    assert run("ledger", "prove", "9999").returncode == 1
    listed = json.loads(run("ledger", "list", "--subject", "lamp:7", "--format", "json").stdout)
    assert [row["payload"]["target"] for row in listed] == ["7"]
    pack = tmp_path / "pack.zip"
    done = run("ledger", "export", str(pack), "--subject", "lamp:7", "--format", "json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["entries"], said["size"]) == (0, 1, 9_000)
    verified = subprocess.run(
        [sys.executable, "-I", "ledger/pack/verify.py", str(pack), "--key", said["key"]],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert verified.returncode == 0, verified.stdout
    assert run("ledger", "export", str(tmp_path / "no" / "pack.zip")).returncode == 2
    assert stat.S_IMODE((tmp_path / "ledger_key").stat().st_mode) == 0o600


def test_what_somebody_changed_in_the_database_file_is_found(run: Run, tmp_path: Path) -> None:
    assert run("shell", "-v0", "-c", FILL.format(count=20)).returncode == 0
    with sqlite3.connect(tmp_path / "site.sqlite3") as database:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute("UPDATE ledger_ledgerentry SET actor = 'user:9' WHERE id = 5")
        database.execute("DROP TRIGGER ledger_ledgerentry_guard_update")
        database.execute("UPDATE ledger_ledgerentry SET actor = 'user:9' WHERE id = 5")
    done = run("ledger", "verify")
    assert done.returncode == 1
    assert "entry 4: the entry or the one before it is not the one that was sealed" in done.stdout

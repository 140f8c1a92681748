"""The command's answers and exit codes: in this process, and where processes are the point, in processes."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ledger.data.access import AuditedAction
from ledger.models import LedgerEntry
from ledger.services import make_checkpoint, record
from tests.forking import DATABASE, fork, make_tables

# Two ranges of the log, so that two processes have one each.
COUNT = 5_000
FILL = f"""
import django
django.setup()
from django.core.management import call_command
from django.db import transaction
from ledger.data.access import AuditedAction
from ledger.services import make_checkpoint, record
if __name__ == "__main__":
    with transaction.atomic():
        for number in range({COUNT}):
            record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{{number}}")
    make_checkpoint()
    for processes in ("1", "2"):
        call_command("ledger", "verify", "--processes", processes, "--format", "json")
"""


class Ledger:
    """`manage.py ledger` in this process: its exit code and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str]:
        code = 0
        self._capsys.readouterr()
        try:
            call_command("ledger", *arguments)
        except CommandError as ended:
            code = int(ended.returncode)
        return code, self._capsys.readouterr().out

    def json(self, *arguments: str) -> Any:
        code, said = self(*arguments, "--format", "json")
        assert code == 0, said
        return json.loads(said)


@pytest.fixture
def ledger(db: None, settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ledger:
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    settings.LEDGER_KEY_FILE = tmp_path / "key"
    return Ledger(capsys)


def fill(count: int) -> None:
    for number in range(count):
        record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject=f"lamp:{number}")
    make_checkpoint()


def test_an_empty_log_holds_and_has_nothing_to_sign(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger("verify")[0] == 0
    assert ledger("checkpoint")[0] == 1
    assert ledger("export", str(tmp_path / "pack.zip"))[0] == 1
    assert ledger("list") == (0, "Nothing was recorded yet.\n")


def test_a_log_is_listed_proved_exported_and_verified(ledger: Ledger, tmp_path: Path) -> None:
    fill(100)
    found = ledger.json("verify")
    assert (found["entries"], found["holds"]) == (100, True), found
    proof = ledger.json("prove", "41")
    assert (proof["seq"], proof["size"], len(proof["path"])) == (41, 100, 7)
    assert ledger("prove", "9999")[0] == 1
    assert [row["payload"]["target"] for row in ledger.json("list", "--subject", "lamp:7")] == ["7"]
    pack = tmp_path / "pack.zip"
    said = ledger.json("export", str(pack), "--subject", "lamp:7")
    assert (said["entries"], said["size"]) == (1, 100)
    verified = subprocess.run(
        [sys.executable, "-I", "ledger/pack/verify.py", str(pack), "--key", said["key"]],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert verified.returncode == 0, verified.stdout
    assert ledger("export", str(tmp_path / "no" / "pack.zip"))[0] == 2
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_what_somebody_changed_in_the_database_is_found(ledger: Ledger) -> None:
    fill(20)
    changed = LedgerEntry.objects.order_by("pk")[4]
    LedgerEntry.objects.filter(pk=changed.pk).update(actor="user:9")
    code, said = ledger("verify")
    assert code == 1
    assert "entry 4: the entry or the one before it is not the one that was sealed" in said


@pytest.mark.long
@pytest.mark.integration
def test_processes_share_the_work_and_the_file_is_guarded(tmp_path: Path) -> None:
    make_tables(tmp_path)
    database = tmp_path / DATABASE
    environment = {
        **os.environ,
        "DATABASE_URL": "",
        "ASSAY_STATE_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONPATH": str(Path.cwd()),
    }
    script = tmp_path / "fill.py"
    script.write_text(FILL)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=300)

    done = run(str(script))
    assert done.returncode == 0, done.stderr
    one, two = json.loads("[" + done.stdout.replace("}\n{", "},{") + "]")
    assert (one["entries"], one["holds"], one) == (COUNT, True, two)
    with sqlite3.connect(database) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute("UPDATE ledger_ledgerentry SET actor = 'user:9' WHERE id = 5")
        connection.execute("DROP TRIGGER ledger_ledgerentry_guard_update")
        connection.execute("UPDATE ledger_ledgerentry SET actor = 'user:9' WHERE id = 5")
    verifying = fork("manage.py", "ledger", "verify", environment=environment, stdout=subprocess.PIPE)
    said, _ = verifying.communicate()
    assert verifying.returncode == 1
    assert "entry 4: the entry or the one before it is not the one that was sealed" in said

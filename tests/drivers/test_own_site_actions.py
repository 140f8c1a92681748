"""Assay's own worker, broker and database as targets."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.identifiers import new_id
from core.supervisor import RECORD, started_ticks
from core.tasks import send_wake_up
from drivers.services import (
    action_is_active,
    foresee_action,
    inject_action,
    plan_action,
    probe_action,
    remains,
    run_action,
    undo_action,
)
from tests.drivers.conftest import wait_for

pytestmark = pytest.mark.integration


def inject(name: str, arguments: dict[str, Any], *, ttl: float = 60) -> dict[str, Any]:
    key = new_id("key")
    foreseen = foresee_action(name, arguments, idempotency_key=key, ttl=timedelta(seconds=ttl))
    result = inject_action(name, arguments, foreseen, idempotency_key=key)
    assert result.ok, result.error
    return foreseen


def take_back(name: str, arguments: dict[str, Any], output: dict[str, Any]) -> None:
    for _ in range(2):
        assert undo_action(name, arguments, output).ok
    assert action_is_active(name, arguments, output) is False


@pytest.fixture
def worker(settings: Any, tmp_path: Path) -> Iterator[psutil.Process]:
    """A process that this site's supervisor has written down as its worker."""
    settings.STATE_DIR = tmp_path
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", "celery", "worker"])
    (tmp_path / "log").mkdir()
    record = {"supervisor": [1, 1], "children": [[process.pid, started_ticks(process.pid)], [process.pid, 1]]}
    (tmp_path / "log" / RECORD).write_text(json.dumps(record))
    yield psutil.Process(process.pid)
    process.kill()
    process.wait(10)


def test_the_worker_of_this_site_freezes_and_goes_on(worker: psutil.Process) -> None:
    arguments = {"part": "worker"}
    assert [target.identity["pid"] for target in plan_action("site.freeze", arguments).targets] == [worker.pid]
    assert "no scheduler" in probe_action("site.freeze", {"part": "scheduler"}).reason
    output = inject("site.freeze", arguments)
    assert worker.status() == psutil.STATUS_STOPPED
    assert action_is_active("site.freeze", arguments, output)
    take_back("site.freeze", arguments, output)


def test_the_worker_of_this_site_is_killed(worker: psutil.Process) -> None:
    assert run_action("site.kill", {"part": "worker"}, idempotency_key="k").ok
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert not probe_action("site.kill", {"part": "worker"}).supported or worker.status() == psutil.STATUS_ZOMBIE


def test_wake_ups_are_lost_while_the_broker_is_away_and_what_was_in_it_is_there_again(
    settings: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "1_a.celery.msg").write_text("{}")
    settings.CELERY_BROKER_URL = f"atomicfile://localhost{folder}"
    assert probe_action("site.cut_broker", {}).supported
    output = inject("site.cut_broker", {})
    assert not folder.is_dir()
    assert any("broker.assay_" in text for text in remains())
    send_wake_up("chaos.start")  # losing a wake-up breaks nothing: the rows are what counts
    take_back("site.cut_broker", {}, output)
    assert [path.name for path in folder.iterdir()] == ["1_a.celery.msg"]
    settings.CELERY_BROKER_URL = "redis://localhost"
    assert "server of its own" in probe_action("site.cut_broker", {}).reason


def can_write(file: Path) -> bool:
    database = sqlite3.connect(file, timeout=0, isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    else:
        database.execute("ROLLBACK")
        return True
    finally:
        database.close()


@pytest.mark.parametrize("by_itself", [False, True])
def test_nobody_writes_while_the_database_is_locked(settings: Any, tmp_path: Path, by_itself: bool) -> None:
    file = tmp_path / "site.sqlite3"
    sqlite3.connect(file).execute("CREATE TABLE one (id)").connection.close()
    settings.DATABASES["default"]["NAME"], before = str(file), settings.DATABASES["default"]["NAME"]
    try:
        arguments = {"seconds": 2 if by_itself else 20}
        if not probe_action("site.lock_database", arguments).supported:
            pytest.skip("the site's database is a server of its own")
        output = inject("site.lock_database", arguments)
        wait_for(lambda: not can_write(file))
        if by_itself:
            wait_for(lambda: can_write(file), seconds=30)
            wait_for(lambda: action_is_active("site.lock_database", arguments, output) is False)
        else:
            take_back("site.lock_database", arguments, output)
            assert can_write(file)
    finally:
        settings.DATABASES["default"]["NAME"] = before

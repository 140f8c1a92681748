"""Real PostgreSQL servers behind HAProxy: what the test measures is checked against what is known to be true."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import LazySettings

from accounts.data import system_principal
from catalog.services import apply_documents as apply_catalog
from chaos.data import Verdict
from chaos.recovery_models import RecoveryTest, RecoveryTestRun
from chaos.services.recovery import apply_recovery_documents, request_recovery_run
from chaos.services.recovery_context import PREFIX, processes_of
from chaos.services.recovery_running import carry_out
from core.parsing import load_yaml_documents
from drivers.services.site_postgresql import postgresql_binaries
from ledger.selectors import entries

pytestmark = [
    pytest.mark.integration,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(postgresql_binaries() is None, reason="PostgreSQL's server is not installed"),
    pytest.mark.skipif(
        not (shutil.which("haproxy") or Path("/usr/sbin/haproxy").exists()), reason="HAProxy is not installed"
    ),
]
SITE = system_principal("test")
CATALOG = """
apiVersion: assay/v1
kind: Environment
metadata: {name: demo, title: Demo}
---
apiVersion: assay/v1
kind: Service
metadata: {name: orders, title: Orders}
spec: {environment: demo, rto: 1m, rpo: 30s}
"""
TEST = """
apiVersion: assay/v1
kind: RecoveryTest
metadata: {name: drill, title: Drill}
spec:
  service: orders
  kind: %(kind)s
  probe: {every: 100ms, timeout: 1s, sustained_for: 1s, give_up_after: 1m}
  rehearsal: {rows: 500, write_for: 4s, failback: %(failback)s, replication_delay: %(delay)s}
"""


def drill(settings: LazySettings, tmp_path: Path, **values: str) -> dict[str, Any]:
    """Carry a drill out and return what it measured; nothing of it may be left."""
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    before = set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
    apply_catalog(principal=SITE, documents=load_yaml_documents(CATALOG, source="c"), source="c")
    text = TEST % {"kind": "failover", "failback": "false", "delay": "0s", **values}
    apply_recovery_documents(principal=SITE, documents=load_yaml_documents(text, source="t"), source="t")
    run = request_recovery_run(principal=SITE, test=RecoveryTest.objects.get())
    assert carry_out(run)
    assert not carry_out(run), "a second runner does nothing"
    ended = RecoveryTestRun.objects.get()
    assert ended.verdict != Verdict.DIRTY
    assert set(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")) <= before
    (entry,) = entries(types=["recovery.test_finished"])
    assert entry.payload is not None
    assert entry.payload["lost_rows"] == ended.result["lost_rows"]
    assert len(entry.artifacts) >= 1, "the account of acknowledged writes is kept"
    result: dict[str, Any] = ended.result
    return result


def test_a_replication_delay_shows_as_lost_rows_and_not_as_zero(settings: LazySettings, tmp_path: Path) -> None:
    said = drill(settings, tmp_path, delay="800ms")
    # 0.8 s of markers at 10 a second were acknowledged by the primary and still on the line when it died.
    assert 6 <= said["lost_rows"] <= 11
    assert 0.6 <= said["rpo_s"] <= 1.3
    assert said["data_check_passed"] is True
    assert said["verdict"] == "passed", said["reason"]


def test_a_failover_without_delay_loses_next_to_nothing_and_fails_back_without_loss(
    settings: LazySettings, tmp_path: Path
) -> None:
    said = drill(settings, tmp_path, failback="true")
    assert said["verdict"] == "passed", said["reason"]
    assert said["lost_rows"] <= 2
    assert said["rpo_s"] < 0.6
    assert 0 < said["rto_first_success_s"] <= said["rto_sustained_s"] < 60
    assert set(said["parts_s"]) == {"detect", "decide", "promote", "cutover"}
    assert sum(said["parts_s"].values()) <= said["rto_first_success_s"] + 0.2
    assert said["security_passed"] is True
    assert said["security"]["a wrong password is refused"]
    failback = said["more"]["failback"]
    assert failback["acknowledged_rows"] > 5
    assert failback["lost_rows"] == 0


def test_what_was_not_archived_is_lost_and_the_rest_is_there(settings: LazySettings, tmp_path: Path) -> None:
    said = drill(settings, tmp_path, kind="point-in-time")
    # The archive gets a segment every 2 s: what came after the last one is gone, and nothing before it.
    assert said["rpo_s"] <= 6
    assert said["lost_rows"] == pytest.approx(said["rpo_s"] * 10, abs=5)
    assert said["data_check_passed"] is True
    assert said["security_passed"] is True
    assert said["verdict"] == "passed", said["reason"]


def test_processes_of_a_test_are_found_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / f"{PREFIX}x"
    folder.mkdir()
    process = psutil.Popen(["sleep", "30"], cwd=folder)
    try:
        assert [one.pid for one in processes_of(folder)] == [process.pid]
    finally:
        process.kill()
        process.wait(10)

"""Real PostgreSQL servers behind HAProxy: what the test measures is checked against what is known to be true."""

import json
import shutil
import tempfile
from dataclasses import dataclass
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
from chaos.services.recovery_servers import parity, protections_of
from core.parsing import load_yaml_documents
from drivers.services.site_postgresql import PrivateCluster, postgresql_binaries
from ledger.models import Artifact
from ledger.selectors import entries
from ledger.services.artifacts import artifact_path

pytestmark = [
    pytest.mark.long,
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
  probe: {every: 100ms, timeout: 5s, sustained_for: 1s, give_up_after: 1m}
  rehearsal: {rows: 500, write_for: 2s, failback: %(failback)s, replication_delay: %(delay)s, to: %(to)s}
"""


@dataclass
class Truth:
    """What the client wrote down and what was read back, reckoned anew and not by the code under test."""

    fault_at: float
    acknowledged: dict[int, dict[str, Any]]
    lost: set[int]


def drill(settings: LazySettings, tmp_path: Path, **values: str) -> tuple[dict[str, Any], Truth]:
    """Carry a drill out and return what it measured; nothing of it may be left."""
    settings.ARTIFACT_STORE_URL = f"file://{tmp_path}/artifacts"
    apply_catalog(principal=SITE, documents=load_yaml_documents(CATALOG, source="c"), source="c")
    text = TEST % {"kind": "failover", "failback": "false", "delay": "0s", "to": "end", **values}
    apply_recovery_documents(principal=SITE, documents=load_yaml_documents(text, source="t"), source="t")
    run = request_recovery_run(principal=SITE, test=RecoveryTest.objects.get())
    assert carry_out(run)
    assert not carry_out(run), "a second runner does nothing"
    ended = RecoveryTestRun.objects.get()
    assert ended.verdict != Verdict.DIRTY
    assert not list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{run.reference}*"))
    (entry,) = entries(types=["recovery.test_finished"])
    assert entry.payload is not None
    assert entry.payload["lost_rows"] == ended.result["lost_rows"]
    result: dict[str, Any] = ended.result
    truth = reckon(ended)
    assert result["lost_rows"] == len(truth.lost)
    assert sum(result["parts_s"].values()) == pytest.approx(result["rto_first_success_s"], abs=0.01)
    return result, truth


def reckon(run: RecoveryTestRun) -> Truth:
    """Reckon from the artifacts which acknowledged rows did not survive."""
    account = "clients" if run.test.kind == "test-failover" else run.test.kind
    kept = {one.name.removeprefix(f"{run.reference}-"): one.sha256 for one in Artifact.objects.all()}
    written = artifact_path(kept[f"{account}.jsonl"]).read_bytes()
    lines = [json.loads(line) for line in written.splitlines()]
    facts = json.loads(artifact_path(kept["measurement.json"]).read_bytes())
    acknowledged = {line["number"]: line for line in lines if line.get("acknowledged")}
    if run.test.kind == "test-failover":
        acknowledged = {number: one for number, one in acknowledged.items() if one["answered"] <= facts["fault_at"]}
    return Truth(facts["fault_at"], acknowledged, acknowledged.keys() - set(facts["survivors"]))


def test_a_replication_delay_shows_as_lost_rows_and_not_as_zero(settings: LazySettings, tmp_path: Path) -> None:
    said, truth = drill(settings, tmp_path, delay="800ms")
    # Whatever was sent in the last 0.8 s before the kill was still on the line: it cannot have survived.
    doomed = {number for number, one in truth.acknowledged.items() if truth.fault_at - 0.8 < one["sent"]} - {
        number for number, one in truth.acknowledged.items() if one["sent"] > truth.fault_at
    }
    assert len(doomed) >= 2
    assert doomed <= truth.lost
    # A commit goes on the line a moment before its client hears of it.
    assert said["rpo_s"] >= 0.8 - 0.05
    assert said["data_check_passed"] is True
    assert said["verdict"] == "passed", said["reason"]


def test_a_failover_without_delay_loses_next_to_nothing_and_fails_back_without_loss(
    settings: LazySettings, tmp_path: Path
) -> None:
    said, truth = drill(settings, tmp_path, failback="true")
    assert said["verdict"] == "passed", said["reason"]
    assert len(truth.lost) <= len(truth.acknowledged) / 4
    assert 0 < said["rto_first_success_s"] <= said["rto_sustained_s"] < 60
    assert set(said["parts_s"]) == {"detect", "decide", "promote", "cutover"}
    assert said["security_passed"] is True
    assert said["security"]["a wrong password is refused"]
    failback = said["more"]["failback"]
    assert failback["recovered"] is True
    assert failback["acknowledged_rows"] > 5
    assert failback["lost_rows"] == 0


def test_what_was_not_archived_is_lost_and_the_rest_is_there(settings: LazySettings, tmp_path: Path) -> None:
    said, truth = drill(settings, tmp_path, kind="point-in-time")
    # What came after the last archived segment is gone, and nothing before it: the lost are in one piece, and what was
    # written after them was sent when the server was back.
    order = sorted(truth.acknowledged)
    last = order.index(max(truth.lost)) + 1 if truth.lost else 0
    assert sorted(truth.lost) == order[last - len(truth.lost) : last]
    assert all(truth.acknowledged[number]["sent"] > truth.fault_at for number in order[last:] if truth.lost)
    assert said["data_check_passed"] is True
    assert said["security_passed"] is True
    assert said["verdict"] == "passed", said["reason"]


def test_after_a_mistake_the_archive_goes_back_to_just_before_it(settings: LazySettings, tmp_path: Path) -> None:
    said, truth = drill(settings, tmp_path, kind="point-in-time", to="accident")
    assert said["verdict"] == "passed", said["reason"]
    assert said["data_check_passed"] is True, "the deleted orders are back"
    later = {number for number, one in truth.acknowledged.items() if truth.fault_at < one["sent"]}
    earlier = {number for number, one in truth.acknowledged.items() if one["answered"] < truth.fault_at - 0.1}
    assert earlier
    assert not earlier & truth.lost, "what was committed before the mistake is there"
    assert len(truth.lost - later) <= 1
    assert said["lost_rows"] > 0, "what was committed after the mistake is gone with it, and counted"


def test_a_region_is_lost_and_the_clients_find_the_other(settings: LazySettings, tmp_path: Path) -> None:
    said, truth = drill(settings, tmp_path, kind="region-loss", delay="300ms")
    assert said["verdict"] == "passed", said["reason"]
    assert said["security_passed"] is True
    assert said["parts_s"]["promote"] > 0
    doomed = {number for number, one in truth.acknowledged.items() if 0 <= truth.fault_at - one["sent"] < 0.3}
    assert doomed <= truth.lost


def test_a_failover_is_tried_where_nobody_is_served_and_taken_away(settings: LazySettings, tmp_path: Path) -> None:
    said, truth = drill(settings, tmp_path, kind="test-failover")
    assert said["verdict"] == "passed", said["reason"]
    assert said["more"] == {"markers_of_clients_that_failed": 0, "rows_of_the_copy_elsewhere": 0}
    # What came between the end of the copying and the cut is not on it.
    assert len(truth.lost) <= len(truth.acknowledged) / 4
    assert said["clean_up"] == "nothing is left"


def test_a_recovered_side_that_protects_less_is_told() -> None:
    folder = Path(tempfile.mkdtemp(prefix="assay-test-"))
    folder.chmod(0o711)
    server = PrivateCluster(folder / "server")
    try:
        server.create()
        server.start()
        before = protections_of(server)
        assert all(parity(before, protections_of(server), server).values())
        (server.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 trust\n")
        server.configure("log_connections = off")
        server.stop()
        server.start()
        answers = parity(before, protections_of(server), server)
        assert {name for name, held in answers.items() if not held} == {
            "log_connections is as it was",
            "who may connect, and how is as it was",
            "a wrong password is refused",
            "a connection without TLS is refused",
        }
    finally:
        server.remove()
        shutil.rmtree(folder)


def test_processes_of_a_test_are_found_by_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / f"{PREFIX}x"
    folder.mkdir()
    process = psutil.Popen(["sleep", "30"], cwd=folder)
    try:
        assert [one.pid for one in processes_of(folder)] == [process.pid]
    finally:
        process.kill()
        process.wait(10)

"""Assay's own backup, restored into an isolated place and served there: the whole test, by its command."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from chaos.services.recovery_context import PREFIX
from core.identifiers import new_id
from drivers.services.site_postgresql import PrivateCluster, free_port, postgresql_binaries
from tests.drivers.site_under_test import Site

pytestmark = [pytest.mark.long, pytest.mark.integration]
KEYS = {
    "rto_target_s",
    "rto_first_success_s",
    "rto_sustained_s",
    "rpo_target_s",
    "rpo_s",
    "lost_rows",
    "ambiguous_rows",
    "resolution_s",
    "verdict",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    one = Site(tmp_path_factory.mktemp("site"))
    one.ask("demo", "load")
    return one


def test_the_demo_restores_itself_within_its_promise(site: Site) -> None:
    said = site.json("dr", "run", "assay-backup-restore", "--wait")
    assert said.keys() >= KEYS
    assert said["verdict"] == "passed", said["reason"]
    assert 0 < said["rto_first_success_s"] <= said["rto_sustained_s"] < said["rto_target_s"] == 3600
    # Markers went on after the backup's instant: a restore that shows none of them lost would not be this backup.
    assert 0 < said["lost_rows"] < said["acknowledged_rows"]
    assert said["rpo_s"] > 0
    assert said["data_check_passed"] is True
    assert said["security"]
    assert said["security_passed"] is True
    assert set(said["parts_s"]) == {"detect", "decide", "restore", "cutover"}
    assert sum(said["parts_s"].values()) == pytest.approx(said["rto_first_success_s"], abs=0.01)
    assert said["clean_up"] == "nothing is left"
    assert not list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{said['run']}*"))
    (test,) = [one for one in site.json("dr", "list") if one["test"] == "assay-backup-restore"]
    assert test["rto_s"] == said["rto_sustained_s"]


SMALL = """
import json, pathlib
from accounts.data import Role, system_principal
from accounts.services import create_user, grant_role
from catalog.services import apply_documents as apply_catalog
from chaos.services.recovery import apply_recovery_documents
from core.parsing import LineIndex
from ledger.data.access import AuditedAction
from ledger.services import make_checkpoint, record, store_artifact
site = system_principal("test")
grant_role(principal=site, user=create_user(principal=site, username="admin", password=None), role=Role.ADMIN)
digest = store_artifact(b"journal" * 10_000, media_type="text/plain", name="journal.txt")
for number in range(20):
    record(AuditedAction(action="lamp.lit", target=str(number)), actor="user:1", subject="lamp:1", artifacts=[digest])
make_checkpoint()
environment = {"apiVersion": "assay/v1", "kind": "Environment", "metadata": {"name": "lab", "title": "Lab"}, "spec": {}}
service = {"apiVersion": "assay/v1", "kind": "Service", "metadata": {"name": "assay", "title": "Assay"},
           "spec": {"environment": "lab", "tier": 2, "rto": "1h", "rpo": "1h"}}
test = {"apiVersion": "assay/v1", "kind": "RecoveryTest", "metadata": {"name": "own", "title": "Own"},
        "spec": {"service": "assay", "kind": "backup-restore",
                 "probe": {"every": "100ms", "timeout": "10s", "sustained_for": "1s", "give_up_after": "5m"}}}
apply_catalog(principal=site, documents=[(environment, LineIndex({})), (service, LineIndex({}))], source="c")
apply_recovery_documents(principal=site, documents=[(test, LineIndex({}))])
"""


@pytest.fixture
def on_postgresql(tmp_path: Path) -> Iterator[Site]:
    if postgresql_binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="assay-test-"))
    folder.chmod(0o755)
    server = PrivateCluster(folder / "server")
    try:
        server.create()
        server.start()
        with psycopg.connect(server.dsn(), autocommit=True) as link:
            link.execute("CREATE DATABASE original")
        yield Site(tmp_path / "site", server.url("original"))
    finally:
        server.remove()
        shutil.rmtree(folder)


def test_a_small_site_on_postgresql_restores_itself_is_held_and_continues_its_ledger(on_postgresql: Site) -> None:
    site = on_postgresql
    site.make_tables()
    site.ask("shell", "-c", SMALL)
    said = site.json("dr", "run", "own", "--wait")
    assert said["verdict"] == "passed", said["reason"]
    assert 0 < said["lost_rows"] < said["acknowledged_rows"]
    assert said["data_check_passed"] is True
    assert said["data_differences"] == []
    proven = re.search(
        r"ledger verified from entry 0 to (\d+), continuing from the checkpoint at (\d+)", said["data_check"]
    )
    assert proven, said["data_check"]
    assert int(proven[1]) >= int(proven[2]) >= 20
    assert said["security"]["nothing leaves: it is held"] is True
    assert said["security"]["the ledger refuses changes"] is True
    assert said["clean_up"] == "nothing is left"
    assert site.json("site", "status")["held"] is False, "the original goes on"


def test_a_promise_that_cannot_be_measured_is_refused(site: Site, tmp_path: Path) -> None:
    catalog = (Path(__file__).parents[2] / "demo/org/catalog.yaml").read_text().split("---")
    (assay,) = [part for part in catalog if "name: assay" in part]
    (tmp_path / "catalog.yaml").write_text(assay.replace("rpo: 1h", "rpo: 2s"))
    site.ask("catalog", "apply", tmp_path / "catalog.yaml")
    refused = site.ask("dr", "run", "assay-backup-restore", "--wait", expect=2).stderr
    assert "RPO 2 s is unmeasurable" in refused


ORGANIZATION = """
apiVersion: assay/v1
kind: Experiment
metadata: {name: shop-frozen, title: The shop does not answer}
spec:
  environment: demo
  services: [gateway]
  hypothesis: The runbook brings the shop back.
  faults:
    - action: process.stop
      arguments: {process: {environ: {ASSAY_TARGET: MARK}}}
      ttl: 10m
  hold: 9m
  blast_radius: {max_targets: 1}
  approval: production
  steady_state:
    recover_within: 2m
    probes: [{action: http.check, arguments: {url: "http://127.0.0.1:PORT/", timeout_seconds: 30, allow: [127.0.0.1]}}]
"""
LOSS = """
apiVersion: assay/v1
kind: RecoveryTest
metadata: {name: shop-mended, title: The shop is mended}
spec:
  service: gateway
  kind: dependency-loss
  probe: {every: 250ms, timeout: 10s, sustained_for: 1s, give_up_after: 8m}
  loss:
    experiment: shop-frozen
    client: {action: http.check, arguments: {url: "http://127.0.0.1:PORT/", timeout_seconds: 5, allow: [127.0.0.1]}}
    runbook: shop-frozen
    stop_when_measured: true
"""
RUNBOOK = """---
runbook: shop-frozen
title: The shop is frozen
owner: inference
review_by: 2099-01-01
services: [gateway]
---
# The shop is frozen

```step id=wake
action: process.continue
with: {process: {environ: {ASSAY_TARGET: MARK}}}
timeout: 60s
```
"""


APPLY = """
import json, pathlib
from accounts.data import system_principal
from chaos.services import apply_documents as apply_experiments
from chaos.services.recovery import apply_recovery_documents
from core.parsing import load_yaml_documents
from runbooks.services import apply_documents as apply_runbooks
site = system_principal("test")
experiment, loss, runbook = json.loads(pathlib.Path("PATH").read_text())
apply_experiments(principal=site, documents=load_yaml_documents(experiment, source="e"), source="e")
apply_runbooks(principal=site, documents=[("shop-frozen.md", runbook)])
apply_recovery_documents(principal=site, documents=load_yaml_documents(loss, source="l"), source="l")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[str, int, int]]:
    mark, port = new_id("mark").replace("_", "-"), free_port()
    (tmp_path / "shop").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path / "shop")],
        env={**os.environ, "ASSAY_TARGET": mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield mark, port, process.pid
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait(10)


def test_a_runbook_mends_what_an_experiment_has_taken_away_and_the_client_measures_it(
    site: Site, shop: tuple[str, int, int], tmp_path: Path
) -> None:
    mark, port, pid = shop

    texts = [text.replace("MARK", mark).replace("PORT", str(port)) for text in (ORGANIZATION, LOSS, RUNBOOK)]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    site.ask("shell", "-c", APPLY.replace("PATH", str(tmp_path / "texts.json")))
    said = site.json("dr", "run", "shop-mended", "--wait", "--as", "admin")
    assert said["verdict"] == "passed", said
    assert said["more"]["client_noticed"] is True
    assert said["more"]["runbook_run"].startswith("rbr_")
    assert set(said["parts_s"]) == {"detect", "decide", "mend", "cutover"}
    assert said["parts_s"]["detect"] > 0
    assert 0 < said["rto_first_success_s"] <= said["rto_sustained_s"] < said["rto_target_s"]
    assert said["lost_rows"] is said["rpo_s"] is None, "nothing was restored, so that no row is looked for"
    assert said["clean_up"] == "nothing is left"
    assert psutil.Process(pid).status() != psutil.STATUS_STOPPED

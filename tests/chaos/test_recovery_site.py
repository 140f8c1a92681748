"""Assay's own backup, restored into an isolated place and served there: the whole test, by its command."""

import tempfile
from pathlib import Path

import pytest

from chaos.services.recovery_context import PREFIX
from tests.drivers.site_under_test import Site

pytestmark = pytest.mark.integration
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
    (run,) = site.json("dr", "runs")
    assert run["verdict"] == "passed"
    (test,) = [one for one in site.json("dr", "list") if one["test"] == "assay-backup-restore"]
    assert test["rto_s"] == said["rto_sustained_s"]
    assert site.json("site", "status")["held"] is False, "the original is not held"


def test_a_promise_that_cannot_be_measured_is_refused(site: Site, tmp_path: Path) -> None:
    catalog = (Path(__file__).parents[2] / "demo/org/catalog.yaml").read_text().split("---")
    (assay,) = [part for part in catalog if "name: assay" in part]
    (tmp_path / "catalog.yaml").write_text(assay.replace("rpo: 1h", "rpo: 2s"))
    site.ask("catalog", "apply", tmp_path / "catalog.yaml")
    refused = site.ask("dr", "run", "assay-backup-restore", "--wait", expect=2).stderr
    assert "RPO 2 s is unmeasurable" in refused
    assert "no recovery test" in site.ask("dr", "run", "unheard-of", expect=2).stderr

"""The files in deploy/ keep what they promise, as far as reading them can tell; test_chart.py asks Helm."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client as kubernetes_client
from pydantic import ValidationError

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.mark.parametrize("name", sorted(COMPOSE["services"]))
def test_a_container_has_a_read_only_root_no_rights_and_a_pinned_image(name: str) -> None:
    service: dict[str, Any] = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service["user"].startswith("0:")
    assert re.search(r":\w", service["image"])
    assert not service["image"].endswith(":latest")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_no_secret_stands_in_the_compose_file() -> None:
    text = (DEPLOY / "compose" / "compose.yaml").read_text("utf-8")
    assert not re.search(r"(?i)(password|secret_key): *[^$\s{/]", text)
    assert set(COMPOSE["secrets"]) == {"secret_key", "database_password", "database_url"}


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "compose" / "make-secrets", tmp_path)
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    first = {one.name: one.read_text() for one in (tmp_path / "secrets").iterdir()}
    assert first["database_password"] in first["database_url"]
    assert min(map(len, first.values())) >= 40
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    assert {one.name: one.read_text() for one in (tmp_path / "secrets").iterdir()} == first


def test_the_image_runs_as_nobody_and_checks_its_health() -> None:
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    last = text.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "--require-hashes" in text


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    text = unit.read_text("utf-8").replace("/opt/assay/.venv/bin/", "/bin/")
    # The commands are not installed here; that they are found is not what is looked at.
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"/bin/(granian|celery|python)", "/bin/true", text), "utf-8")
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if unit.name in line]


# --- the chart, as deploy/kubernetes/assay.yaml has it rendered

RENDERED = DEPLOY / "kubernetes" / "assay.yaml"
OBJECTS: list[dict[str, Any]] = [one for one in yaml.safe_load_all(RENDERED.read_text("utf-8")) if one]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [one for one in OBJECTS if one["kind"] == kind]


def model_of(document: dict[str, Any]) -> str:
    group, _, version = document["apiVersion"].rpartition("/")
    prefix = "" if group in {"", "apps", "batch", "policy", "autoscaling", "networking.k8s.io"} else group
    return f"{prefix}{version[0].upper()}{version[1:]}{document['kind']}"


def misfits(document: dict[str, Any]) -> set[str]:
    """Return where an object has what the API does not know, or lacks what it asks for, or has it of another type."""
    try:
        getattr(kubernetes_client, model_of(document)).model_validate(document)
    except ValidationError as error:
        return {f"{'.'.join(map(str, one['loc']))}: {one['type']}" for one in error.errors()}
    return set()


@pytest.mark.parametrize("document", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_an_object_of_the_chart_is_one_that_kubernetes_knows(document: dict[str, Any]) -> None:
    assert misfits(document) == set()


def test_the_schema_finds_a_field_that_is_misspelt_or_missing() -> None:
    template = {"metadata": {}, "spec": {"containers": [{"name": "web", "imagePolicy": "Always"}]}}
    broken = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": "two", "template": template}}
    assert misfits(broken) == {
        "spec.replicas: int_type",
        "spec.selector: missing",
        "spec.template.spec.containers.0.imagePolicy: extra_forbidden",
    }


def test_each_part_is_deployed_spread_budgeted_and_probed() -> None:
    parts = {one["metadata"]["name"]: one["spec"] for one in of_kind("Deployment")}
    assert set(parts) == {"assay-web", "assay-worker", "assay-scheduler"}
    budgets = {tuple(one["spec"]["selector"]["matchLabels"].items()) for one in of_kind("PodDisruptionBudget")}
    for name, spec in parts.items():
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"].items() <= labels.items()
        assert tuple(spec["selector"]["matchLabels"].items()) in budgets
        (container,) = spec["template"]["spec"]["containers"]
        assert {"livenessProbe", "readinessProbe"} <= container.keys(), name
        assert spec["template"]["spec"]["topologySpreadConstraints"]
    for one in of_kind("HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]["name"]
        assert "replicas" not in parts[target], "the autoscaler counts, not the chart"


def test_secrets_come_from_a_secret_that_the_chart_does_not_make() -> None:
    assert not of_kind("Secret")
    for one in [*of_kind("Deployment"), *of_kind("Job")]:
        pod = one["spec"]["template"]["spec"]
        assert {"secretName": "assay", "defaultMode": 0o440} in [volume.get("secret") for volume in pod["volumes"]]
        names = {variable["name"] for variable in pod["containers"][0]["env"]}
        assert {"SECRET_KEY_FILE", "DATABASE_URL_FILE", "BROKER_URL_FILE"} <= names
        assert not names & {"SECRET_KEY", "DATABASE_URL", "BROKER_URL"}


def test_a_pod_of_the_site_waits_for_the_schema_before_it_starts() -> None:
    for one in of_kind("Deployment"):
        (first,) = one["spec"]["template"]["spec"]["initContainers"]
        assert first["args"] == COMPOSE["services"]["migrate"]["command"]
    assert not of_kind("Job"), "without Helm nothing would say when it runs"


def test_every_skip_of_the_scanner_says_why() -> None:
    skips = [
        text
        for one in OBJECTS
        for key, text in one["metadata"].get("annotations", {}).items()
        if key.startswith("checkov.io/")
    ]
    assert skips
    assert all(re.fullmatch(r"CKV2?_\w+=.{20,}", text) for text in skips)


def test_containers_of_compose_and_chart_run_the_same_commands() -> None:
    arguments = {
        one["metadata"]["name"].removeprefix("assay-"): one["spec"]["template"]["spec"]["containers"][0]["args"]
        for one in of_kind("Deployment")
    }
    assert arguments["worker"] == COMPOSE["services"]["worker"]["command"]
    assert arguments["scheduler"] == COMPOSE["services"]["scheduler"]["command"]


def test_the_bill_of_materials_has_every_locked_package_and_nothing_else() -> None:
    root = DEPLOY.parent
    lock = root / "requirements" / "run.lock"
    done = subprocess.run([sys.executable, root / "tools" / "sbom", lock], capture_output=True, text=True, check=True)
    bill = json.loads(done.stdout)
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==([^\s;\\]+)", lock.read_text("utf-8"), re.MULTILINE))
    locked = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert {one["name"]: one["version"] for one in bill["components"]} == locked
    assert all(one["externalReferences"][0]["hashes"] for one in bill["components"])
    references = {one["bom-ref"] for one in bill["components"]}
    assert "pkg:pypi/django@" in str(bill["dependencies"][0]["dependsOn"])
    assert set(bill["dependencies"][0]["dependsOn"]) <= references

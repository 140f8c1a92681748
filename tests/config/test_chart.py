"""Helm itself lints, renders and packs the chart, and refuses values that would not do what they seem to say."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.config.test_deployment import COMPOSE, DEPLOY, RENDERED, misfits

CHART = DEPLOY / "helm" / "assay"
HELM = DEPLOY.parent / ".venv-helm" / "bin" / "helm"
DIGEST = "sha256:" + "0f" * 32

pytestmark = pytest.mark.skipif(not HELM.is_file(), reason="needs Helm: make helm")

VALUES: dict[str, dict[str, Any]] = {
    "the defaults": {},
    "an ingress that ends TLS": {
        "ingress": {"enabled": True, "className": "nginx", "annotations": {"example.org/limit": "10"}},
        "site": {"trustProxy": True},
    },
    "an ingress without TLS": {"ingress": {"enabled": True, "tlsSecret": ""}},
    "a digest and a private registry": {"image": {"digest": DIGEST, "pullSecrets": [{"name": "registry"}]}},
    "a fixed number of pods": {
        "web": {"replicas": 4, "autoscaling": {"enabled": False}},
        "worker": {"replicas": 5, "autoscaling": {"enabled": False}},
    },
    "probers in two locations": {"prober": {"locations": ["eu-west", "us-east"], "replicas": 3}},
    "a location in another cluster": {
        "web": {"replicas": 0, "autoscaling": {"enabled": False}},
        "worker": {"replicas": 0, "autoscaling": {"enabled": False}},
        "scheduler": {"replicas": 0},
        "prober": {"locations": ["ap-south"]},
        "state": {"existingClaim": "none"},
    },
    "every secret, a claim of its own, no policy": {
        "secretKeys": {"replica": True, "previous": True, "email": True},
        "state": {"existingClaim": "shared"},
        "networkPolicy": {"enabled": False},
        "upgrade": {"contract": True},
    },
    "placed on some nodes": {
        "nodeSelector": {"pool": "sites"},
        "tolerations": [{"key": "sites", "operator": "Exists", "effect": "NoSchedule"}],
        "state": {"storageClass": "fast", "accessMode": "ReadWriteOnce", "size": "5Gi"},
    },
}


def helm(*arguments: str | Path, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    given = ["--values", "-"] if values is not None else []
    return subprocess.run(
        [HELM, *arguments, *given], input=json.dumps(values), capture_output=True, text=True, check=False, timeout=60
    )


def rendered(values: dict[str, Any], *arguments: str) -> list[dict[str, Any]]:
    done = helm("template", "assay", CHART, "--namespace", "assay", *arguments, values=values)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def named(objects: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


@pytest.mark.parametrize("name", VALUES)
def test_helm_renders_objects_that_kubernetes_knows_from(name: str) -> None:
    linted = helm("lint", "--strict", CHART, values=VALUES[name])
    assert linted.returncode == 0, linted.stdout + linted.stderr
    objects = rendered(VALUES[name])
    assert {f"{one['kind']} {one['metadata']['name']}": misfits(one) for one in objects if misfits(one)} == {}
    assert len({(one["kind"], one["metadata"]["name"]) for one in objects}) == len(objects)


def test_the_plain_objects_are_what_helm_renders() -> None:
    done = subprocess.run(
        [DEPLOY.parent / "tools" / "render-chart", DEPLOY / "helm" / "with-ingress.yaml"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == RENDERED.read_text("utf-8")


def test_the_upgrade_of_a_release_runs_before_its_processes() -> None:
    (job,) = named(rendered({}), "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["python", "manage.py", "site", "upgrade"]
    (job,) = named(rendered({"upgrade": {"contract": True}}), "Job").values()
    assert job["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "--contract"


def test_a_digest_is_what_is_pulled_and_needs_no_skip_of_the_scanner() -> None:
    objects = rendered(VALUES["a digest and a private registry"])
    pods = [one["spec"]["template"]["spec"] for one in objects if one["kind"] in {"Deployment", "Job"}]
    assert {one["image"] for pod in pods for one in (*pod.get("initContainers", ()), *pod["containers"])} == {
        f"registry.example.org/assay@{DIGEST}"
    }
    assert all(pod["imagePullSecrets"] == [{"name": "registry"}] for pod in pods)
    assert "checkov.io" not in json.dumps(objects)


def test_each_location_has_probers_of_its_own_that_share_no_state() -> None:
    parts = named(rendered(VALUES["probers in two locations"]), "Deployment")
    assert {name for name in parts if "prober" in name} == {"assay-prober-eu-west", "assay-prober-us-east"}
    for location in ("eu-west", "us-east"):
        spec = parts[f"assay-prober-{location}"]["spec"]
        assert spec["replicas"] == 3
        (container,) = spec["template"]["spec"]["containers"]
        assert container["args"] == ["python", "manage.py", "prober", "--location", location]
        assert container["args"][:3] == COMPOSE["services"]["prober"]["command"][:3]
        assert "emptyDir" in next(one for one in spec["template"]["spec"]["volumes"] if one["name"] == "state")


def test_a_part_without_pods_leaves_nothing_behind() -> None:
    objects = rendered(VALUES["a location in another cluster"], "--no-hooks")
    assert set(named(objects, "Deployment")) == {"assay-prober-ap-south"}
    assert set(named(objects, "PodDisruptionBudget")) == {"assay-prober-ap-south"}
    assert not named(objects, "HorizontalPodAutoscaler")
    assert not named(objects, "PersistentVolumeClaim")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"web": {"replica": 3}}, "replica"),
        ({"web": {"replicas": "three"}}, "replicas"),
        ({"image": {"tag": "latest"}}, "tag"),
        ({"image": {"digest": "sha256:short"}}, "digest"),
        ({"site": {"url": "assay.example.org"}}, "url"),
        ({"site": {"allowedHosts": []}}, "allowedHosts"),
        ({"networkPolicy": {"to": []}}, "to"),
        ({"networkPolicy": {"from": [{"ipBlock": {"cidr": "everyone"}}]}}, "cidr"),
        ({"prober": {"locations": ["EU West"]}}, "locations"),
        ({"state": {"accessMode": "ReadOnlyMany"}}, "accessMode"),
        ({"secretKey": "s3cret"}, "secretKey"),
        ({"worker": {"resources": {"limits": {"memory": "1 gigabyte"}}}}, "memory"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_helm_refuses_a_value_and_says_which(values: dict[str, Any], told: str) -> None:
    done = helm("template", "assay", CHART, values=values)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
    assert told in done.stderr.partition("assay:")[2]


def test_the_chart_packs_with_its_schema(tmp_path: Path) -> None:
    packed = helm("package", CHART, "--destination", tmp_path)
    assert packed.returncode == 0, packed.stderr
    refused = helm("template", "assay", tmp_path / "assay-0.1.0.tgz", values={"web": {"replica": 3}})
    assert "Additional property replica is not allowed" in refused.stderr


def test_the_notes_say_what_comes_next(tmp_path: Path) -> None:
    """Helm shows notes only with a cluster, so they are rendered as an object's text."""
    chart = Path(shutil.copytree(CHART, tmp_path / "assay"))
    (chart / "templates" / "NOTES.txt").rename(chart / "notes")
    (chart / "templates" / "notes.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"
        'data: {said: {{ tpl (.Files.Get "notes") . | toJson }}}\n'
    )

    def said(values: dict[str, Any], *arguments: str) -> str:
        shown = helm("template", "assay", chart, "--show-only", "templates/notes.yaml", *arguments, values=values)
        assert shown.returncode == 0, shown.stderr
        return str(yaml.safe_load(shown.stdout)["data"]["said"])

    notes = said({})
    assert "deploy/assay-web -- python manage.py account create-user admin --role admin" in notes
    assert "image.digest pins it" in notes
    assert "port-forward service/assay" in notes
    notes = said({"image": {"digest": DIGEST}, "prober": {"locations": ["eu"]}}, "--is-upgrade")
    assert "create-user" not in notes
    assert "digest" not in notes
    assert "upgrade.contract=true" in notes
    assert "deploy/assay-prober-eu" in notes

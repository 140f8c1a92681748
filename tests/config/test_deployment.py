"""The files in deploy/ keep what they promise, as far as reading them can tell."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

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

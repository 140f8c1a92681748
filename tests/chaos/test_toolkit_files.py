"""Experiments of the Chaos Toolkit: hostile ones do nothing and are refused; honest ones come in and go out."""

import contextlib
import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from chaoslib.exceptions import InvalidActivity, InvalidExperiment
from chaoslib.experiment import ensure_experiment_is_valid
from django.core.exceptions import PermissionDenied

from accounts.data import Role
from chaos.models import Experiment
from chaos.services import Missing, export_experiment, import_experiment
from chaos.services.planning import spec_of
from core.parsing import InputRefusedError
from tests.chaos.conftest import SITE, is_frozen, person, wait_for

pytestmark = pytest.mark.django_db
MISSING = Missing(name="imported", environment="demo", services=["gateway"], slos=["gateway-ttft"])
HONEST: dict[str, Any] = {
    "version": "1.0.0",
    "title": "A pod dies",
    "description": "Its siblings take over.",
    "steady-state-hypothesis": {
        "title": "It answers",
        "probes": [
            {
                "type": "probe",
                "name": "answers",
                "tolerance": 200,
                "provider": {"type": "http", "url": "https://shop.example/healthz", "timeout": 3},
            }
        ],
    },
    "method": [
        {
            "type": "action",
            "name": "delay",
            "provider": {
                "type": "python",
                "module": "drivers.toolkit",
                "func": "inject",
                "arguments": {
                    "action": "proxy.delay",
                    "arguments": {"proxy": "feature-store", "milliseconds": 100},
                    "ttl_seconds": 60,
                    "key": "k",
                },
            },
            "pauses": {"after": 20},
        }
    ],
    "rollbacks": [],
}


def bring_in(document: Any, **changes: Any) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document, indent=1).encode()
    return import_experiment(principal=SITE, raw=raw, source="file.json", missing=MISSING.model_copy(update=changes))


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that leaves a mark when it is imported or called."""
    mark = tmp_path / "was-here"
    text = f"open({str(mark)!r}, 'w').close()\ndef spring(*a, **k): open({str(mark)!r}, 'w').close()\n"
    (tmp_path / "hostile_module.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("hostile_module", None)
    return mark


SPRING = {"type": "python", "module": "hostile_module", "func": "spring"}
HOSTILE: dict[str, tuple[list[str | int], Any, str]] = {
    "module in the method": (["method", 0, "provider"], SPRING, "hostile_module.spring"),
    "os.system": (
        ["method", 0, "provider"],
        {"type": "python", "module": "os", "func": "system", "arguments": {"command": "id"}},
        "os.system",
    ),
    "shell string": (
        ["method", 0, "provider"],
        {"type": "process", "path": "sh", "arguments": "-c 'id; touch /tmp/x'"},
        "no commands and no shell",
    ),
    "process with a list": (
        ["method", 0, "provider"],
        {"type": "process", "path": "/bin/true", "arguments": ["-x"]},
        "no commands",
    ),
    "rollback": (
        ["rollbacks"],
        [{"type": "action", "name": "r", "provider": SPRING}],
        "brings its own undo",
    ),
    "tolerance that is a probe": (
        ["steady-state-hypothesis", "probes", 0, "tolerance"],
        {"type": "probe", "name": "t", "provider": SPRING},
        "tolerance",
    ),
    "tolerance as a regular expression": (
        ["steady-state-hypothesis", "probes", 0, "tolerance"],
        {"type": "regex", "pattern": "(a+)+$"},
        "tolerance",
    ),
    "control of the experiment": (["controls"], [{"name": "c", "provider": SPRING}], "controls name code"),
    "control of an activity": (["method", 0, "controls"], [{"name": "c", "provider": SPRING}], "controls name code"),
    "environment read": (["configuration"], {"key": {"type": "env", "key": "SECRET_KEY"}}, "nothing is read"),
    "configuration that is a probe": (
        ["configuration"],
        {"key": {"type": "probe", "name": "p", "provider": SPRING}},
        "nothing is read",
    ),
    "secret": (["secrets"], {"vault": {"token": {"type": "env", "key": "HOME"}}}, "holds no secrets"),
    "secret of an activity": (["method", 0, "provider", "secrets"], ["vault"], "holds no secrets"),
    "substitution": (["title"], "${SECRET_KEY}", "nothing is substituted"),
    "background": (["method", 0, "background"], True, "leave it out"),
    "reference": (["method", 0, "ref"], "other", "not followed"),
    "unknown key": (["plugins"], ["x"], "not known here"),
    "foreign extension": (["extensions"], [{"name": "x", "module": "hostile_module"}], "only the extension"),
    "probe that posts": (["steady-state-hypothesis", "probes", 0, "provider", "method"], "POST", "GET is allowed"),
    "unknown argument": (["method", 0, "provider", "arguments", "shell"], True, "are understood"),
}


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.replace(" ", "-"))
def test_a_hostile_file_does_nothing_and_is_refused_with_its_line(
    experiment: Experiment, trap: Path, case: str
) -> None:
    path, value, said = HOSTILE[case]
    document = copy.deepcopy(HONEST)
    place: Any = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(InputRefusedError) as caught:
        bring_in(document)
    assert said in str(caught.value)
    assert caught.value.problems[0].where.startswith("file.json:")
    assert not trap.exists()
    assert "hostile_module" not in sys.modules
    assert Experiment.objects.count() == 1


def test_the_library_itself_would_have_imported_it(trap: Path) -> None:
    """Why nothing from outside is handed to the toolkit, not even to be validated."""
    document = {**copy.deepcopy(HONEST), "method": [{"type": "action", "name": "a", "provider": SPRING}]}
    with contextlib.suppress(InvalidActivity, InvalidExperiment):
        ensure_experiment_is_valid(document)
    assert trap.exists()


@pytest.mark.parametrize("raw", [b"", b"[]", b"- 1\n- 2", b"!!python/object/apply:os.system [id]", b"{", b"a: &x [*x]"])
def test_what_is_no_experiment_is_refused(experiment: Experiment, raw: bytes) -> None:
    with pytest.raises(InputRefusedError):
        bring_in(raw)


def test_an_honest_file_becomes_typed_faults_and_probes(experiment: Experiment) -> None:
    assert bring_in(HONEST) == "imported"
    assert bring_in(yaml.safe_dump(HONEST).encode(), name="as-yaml") == "as-yaml"
    for name in ("imported", "as-yaml"):
        spec = spec_of(Experiment.objects.get(slug=name).revisions.get())
        assert spec.faults[0].action == "proxy.delay"
        assert spec.faults[0].ttl.total_seconds() == 60
        assert spec.hold.total_seconds() == 20
        assert spec.steady_state.probes[0].arguments["expect_status"] == 200


def test_who_may_not_edit_may_not_import(experiment: Experiment) -> None:
    with pytest.raises(PermissionDenied):
        import_experiment(
            principal=person("dana", Role.VIEWER), raw=json.dumps(HONEST).encode(), source="f", missing=MISSING
        )
    assert Experiment.objects.count() == 1


def test_an_export_comes_in_again_as_the_same_experiment(experiment: Experiment) -> None:
    exported = export_experiment(experiment)
    import_experiment(
        principal=SITE, raw=json.dumps(exported).encode(), source="export.json", missing=Missing(name="again")
    )
    again = Experiment.objects.get(slug="again")
    assert spec_of(again.revisions.get()) == spec_of(experiment.revisions.get())


@pytest.mark.integration
def test_an_export_runs_under_the_plain_toolkit_and_undoes_what_it_did(
    experiment: Experiment, sleeper: psutil.Process, tmp_path: Path
) -> None:
    exported = export_experiment(experiment)
    exported["method"][-1]["pauses"] = {"after": 3}
    path = tmp_path / "experiment.json"
    path.write_text(json.dumps(exported))
    command = [Path(sys.executable).parent / "chaos", "--no-version-check", "--no-log-file", "run", "--no-control"]
    arguments = [*command[:3], "run", "--journal-path", str(tmp_path / "journal.json"), str(path)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [str(part) for part in arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_for(lambda: is_frozen(sleeper) or process.poll() is not None, seconds=60)
    assert is_frozen(sleeper), process.communicate(timeout=10)[0]
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert not is_frozen(sleeper)
    journal = json.loads((tmp_path / "journal.json").read_text())
    assert (journal["status"], journal["deviated"]) == ("completed", False)

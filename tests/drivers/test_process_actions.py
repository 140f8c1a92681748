"""Actions on real processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.identifiers import new_id
from core.parsing import InputRefusedError
from drivers.services import action_is_active, actions, plan_action, run_action, undo_action

pytestmark = pytest.mark.integration


@pytest.fixture
def mark() -> str:
    return new_id("mark")


@pytest.fixture
def sleeper(mark: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"],
        env={**os.environ, "ASSAY_TARGET": mark},
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate(timeout=10)


def selecting(mark: str) -> dict[str, Any]:
    return {"process": {"environ": {"ASSAY_TARGET": mark}}}


def test_a_frozen_process_is_found_active_and_continued(sleeper: subprocess.Popen[bytes], mark: str) -> None:
    plan = plan_action("process.stop", selecting(mark))
    assert [target.identity["pid"] for target in plan.targets] == [sleeper.pid]
    result = run_action("process.stop", selecting(mark), idempotency_key="k")
    assert result.ok
    assert action_is_active("process.stop", selecting(mark), result.output)
    assert run_action("process.frozen", selecting(mark), idempotency_key="k").output["value"] == 1
    for _ in range(2):
        assert undo_action("process.stop", selecting(mark), result.output).ok
    assert not action_is_active("process.stop", selecting(mark), result.output)
    assert psutil.Process(sleeper.pid).status() != psutil.STATUS_STOPPED


def test_undo_leaves_a_successor_alone(sleeper: subprocess.Popen[bytes], mark: str) -> None:
    result = run_action("process.stop", selecting(mark), idempotency_key="k")
    stale = {"processes": [{**result.output["processes"][0], "started": 1.0}]}
    undone = undo_action("process.stop", selecting(mark), stale)
    assert undone.ok
    assert "already gone" in undone.output["outcome"][mark]
    assert psutil.Process(sleeper.pid).status() == psutil.STATUS_STOPPED


def test_undo_of_a_process_that_has_ended_is_done(sleeper: subprocess.Popen[bytes], mark: str) -> None:
    result = run_action("process.stop", selecting(mark), idempotency_key="k")
    sleeper.send_signal(signal.SIGKILL)
    sleeper.wait(10)
    assert undo_action("process.stop", selecting(mark), result.output).ok


def test_an_action_on_nothing_says_so() -> None:
    result = run_action("process.stop", selecting("nobody-has-this-mark"), idempotency_key="k")
    assert not result.ok
    assert "no process matches" in result.error


def test_this_process_is_never_a_target() -> None:
    plan = plan_action("process.kill", {"process": {"cmdline": "."}})
    own = {os.getpid(), 1, *(parent.pid for parent in psutil.Process().parents())}
    assert own.isdisjoint({target.identity["pid"] for target in plan.targets})


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("process.explode", {}, "http.check, http.request"),
        ("process.stop", {"process": {}}, "empty selector"),
        ("process.stop", {"process": {"cmdline": "("}}, "not a regular expression"),
        ("process.stop", {"process": {"cmdline": "x"}, "count": 0}, "with count: found 0"),
        ("http.check", {"url": "file:///etc/passwd"}, "with url"),
    ],
)
def test_wrong_arguments_are_refused(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        plan_action(name, arguments)
    assert said in str(caught.value)


def test_a_check_of_a_private_address_is_refused_unless_allowed() -> None:
    result = run_action("http.check", {"url": "http://127.0.0.1:9/"}, idempotency_key="k")
    assert not result.ok
    assert "not public" in result.error


def test_every_action_says_what_it_is() -> None:
    assert all(action.description and action.name == name for name, action in actions().items())


def test_the_reference_names_every_action_with_its_risk() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "drivers.md").read_text("utf-8")
    for name, action in actions().items():
        if not type(action).__module__.startswith("drivers."):
            continue  # a room describes its own
        row = next((line for line in page.splitlines() if line.startswith(f"| `{name}` |")), "")
        assert f"| {action.risk.value}" in row, f"{name} is missing, or its risk is not {action.risk.value}"

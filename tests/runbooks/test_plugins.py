"""Actions that other packages bring by an entry point."""

import logging
from pathlib import Path

import pytest

from drivers.services import actions, registry
from runbooks.actions.plugins import load_plugins

MODULE = """
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support


class Ring:
    name = "bell.ring"
    description = "Rings a bell."
    arguments = Arguments
    risk = Risk.CHANGE
    idempotency = Idempotency.NONE
    reversible = False

    def probe(self, arguments):
        return Support(supported=True)

    def plan(self, arguments):
        return Plan("Ring the bell")

    def run(self, arguments, *, idempotency_key):
        return ActionResult(ok=True, output={"value": "ding"})

    def undo(self, arguments, output):
        return ActionResult(ok=True)

    def is_active(self, arguments, output):
        return False
"""


def test_a_package_brings_an_action_and_a_broken_one_is_told_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "assay_bell.py").write_text(MODULE)
    info = tmp_path / "assay_bell-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: assay-bell\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[assay.actions]\nring = assay_bell:Ring\nbroken = assay_bell:Missing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_actions", dict(registry._actions))
    with caplog.at_level(logging.CRITICAL, logger="none"), caplog.at_level(logging.ERROR):
        assert load_plugins() == ["bell.ring"]
    assert "broken" in caplog.text
    assert actions()["bell.ring"].description == "Rings a bell."

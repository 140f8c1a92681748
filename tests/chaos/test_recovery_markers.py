"""Open loop: a server that hangs does not slow the measurement of itself, and the account outlives the writer."""

import json
import threading
import time
from pathlib import Path

import pytest

from chaos.domain.recovery_measure import Cadence
from chaos.services.recovery_markers import MarkerWriter

pytestmark = pytest.mark.integration


def test_a_stalled_write_does_not_hold_up_the_next(tmp_path: Path) -> None:
    release = threading.Event()
    done: list[int] = []

    def write(number: int) -> None:
        if number == 3:
            release.wait(5)
        done.append(number)

    writer = MarkerWriter(write, Cadence(every=0.02, timeout=0.2), account=tmp_path / "account")
    writer.start()
    deadline = time.monotonic() + 10
    while len(done) < 15 and time.monotonic() < deadline:
        time.sleep(0.01)
    release.set()
    markers = {one.number: one for one in writer.stop()}
    assert max(markers) >= 15
    assert markers[3].acknowledged is None, "the client had given up; it was never told"
    assert markers[4].acknowledged is True


def test_the_account_names_every_write_and_what_was_answered(tmp_path: Path) -> None:
    def write(number: int) -> None:
        if number % 2:
            raise ConnectionError

    writer = MarkerWriter(write, Cadence(every=0.02, timeout=1.0), account=tmp_path / "account")
    writer.start()
    time.sleep(0.3)
    markers = writer.stop()
    lines = [json.loads(line) for line in (tmp_path / "account").read_text().splitlines()]
    acknowledged = {line["number"] for line in lines if line.get("acknowledged")}
    assert acknowledged == {one.number for one in markers if one.acknowledged}
    assert {line["number"] for line in lines} == {one.number for one in markers}
    assert all(line["error"] == "ConnectionError" for line in lines if line.get("acknowledged", True) is None)

"""Open loop: a server that hangs does not slow the measurement of itself, and the account outlives the writer."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.domain.recovery_measure import Cadence
from chaos.services.recovery_markers import MarkerWriter

pytestmark = pytest.mark.integration
CADENCE = Cadence(every=0.02, timeout=0.2)


def wait_until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stalled_write_does_not_hold_up_the_next(tmp_path: Path) -> None:
    release = threading.Event()
    done: list[int] = []

    def write(number: int) -> None:
        if number == 3:
            release.wait(30)
        done.append(number)

    writer = MarkerWriter(write, CADENCE, account=tmp_path / "account")
    writer.start()
    wait_until(lambda: len(done) >= 10 and max(done) > 10)
    stalled = {one.number: one for one in writer.markers()}[3]
    assert stalled.answered is None, "it still hangs while later ones are answered"
    wait_until(lambda: time.monotonic() - stalled.sent > CADENCE.timeout)
    release.set()
    wait_until(lambda: 3 in done)
    markers = {one.number: one for one in writer.stop()}
    assert markers[3].acknowledged is None, "the client had given up; it was never told"
    for one in markers.values():
        if one.acknowledged:
            assert one.answered is not None
            assert CADENCE.counts(sent=one.sent, answered=one.answered)


def test_a_write_that_hangs_for_good_does_not_hold_up_the_end(tmp_path: Path) -> None:
    release = threading.Event()

    def write(_: int) -> None:
        release.wait(60)

    writer = MarkerWriter(write, CADENCE, account=tmp_path / "account")
    writer.start()
    wait_until(lambda: len(writer.markers()) >= 3)
    markers = writer.stop()
    assert {one.acknowledged for one in markers} == {None}
    written = (tmp_path / "account").read_text()
    release.set()
    time.sleep(0.05)
    assert writer.markers() == markers, "what is said after the end is heard by nobody"
    assert (tmp_path / "account").read_text() == written


@pytest.mark.parametrize(("answered", "counts"), [(10.9, True), (11.0, True), (11.001, False), (40.0, False)])
def test_an_answer_after_the_timeout_acknowledges_nothing(answered: float, counts: bool) -> None:
    assert Cadence(every=0.1, timeout=1.0).counts(sent=10.0, answered=answered) is counts


def test_the_account_names_every_write_and_what_was_answered(tmp_path: Path) -> None:
    def write(number: int) -> None:
        if number % 2:
            raise ConnectionError

    writer = MarkerWriter(write, Cadence(every=0.02, timeout=30.0), account=tmp_path / "account")
    writer.start()
    wait_until(lambda: sum(one.answered is not None for one in writer.markers()) >= 10)
    markers = writer.stop()
    lines = [json.loads(line) for line in (tmp_path / "account").read_text().splitlines()]
    acknowledged = {line["number"] for line in lines if line.get("acknowledged")}
    assert acknowledged == {one.number for one in markers if one.acknowledged}
    assert {line["number"] for line in lines} == {one.number for one in markers}
    assert all(line["error"] == "ConnectionError" for line in lines if line.get("acknowledged", True) is None)

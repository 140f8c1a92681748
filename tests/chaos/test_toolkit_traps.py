"""Where the Chaos Toolkit leaves a fault in place or calls a run green, Assay does not: the same case, tried on both.

The first half of each test runs the plain library and pins what it does, so that a version that mends it is noticed.
"""

import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from chaoslib import __version__ as toolkit_version

from tests.chaos.conftest import is_frozen, wait_for
from tests.chaos.own_site import Lab, case_environment, selector, sleepers

pytestmark = [pytest.mark.long, pytest.mark.integration]
ROOT = Path(__file__).resolve().parents[2]
SWALLOWS_SIGTERM = tuple(map(int, toolkit_version.split(".")[:2])) < (1, 45)


@dataclass
class Plain:
    """What the plain toolkit did: what it printed, and which faults are in place."""

    said: str
    complained: str
    code: int
    left: set[str]


def plain(case: str, folder: Path) -> Plain:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.on_site", "toolkit", case],
        cwd=ROOT,
        env=case_environment(folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Plain(done.stdout.strip(), done.stderr[-400:], done.returncode, {path.name for path in folder.iterdir()})


@dataclass
class Ours:
    """What Assay's runner did in the same case."""

    reference: str
    verdict: str
    reason: str
    frozen: bool
    others_frozen: bool


def ours(site: Lab, case: str, *, faults: int = 1, hold: str = "3s") -> Ours:
    with sleepers(faults) as targets:
        site.experiment(
            f"trap-{case}",
            [{"action": "process.stop", "arguments": selector(mark), "ttl": "60s"} for mark, _ in targets],
            hold=hold,
        )
        reference = site.start(f"trap-{case}")
        site.case(case, reference).wait(90)
        found = site.state(reference)
        frozen = [is_frozen(process) for _, process in targets]
        for _, process in targets:
            process.resume()
        return Ours(reference, found["verdict"], found["reason"], frozen[0], any(frozen[1:]))


def test_a_probe_that_raises_afterwards(site: Lab, tmp_path: Path) -> None:
    left = plain("probe-raises", tmp_path)
    assert left.said.startswith("failed True")
    assert left.left == {"fault"}
    answer = ours(site, "probe-raises")
    assert (answer.verdict, answer.frozen) == ("aborted", False)
    assert "TypeError" in answer.reason


def test_a_tolerance_that_raises_even_when_rollbacks_are_always_played(site: Lab, tmp_path: Path) -> None:
    left = plain("tolerance-raises-always", tmp_path)
    assert left.code == 1
    assert "TypeError" in left.complained
    assert left.left == {"fault"}
    answer = ours(site, "tolerance-raises")
    assert (answer.verdict, answer.frozen) == ("aborted", False)


def test_sigterm_in_an_action(site: Lab, tmp_path: Path) -> None:
    left = plain("sigterm", tmp_path)
    if SWALLOWS_SIGTERM:
        assert left.said.startswith("completed False")
        assert left.left == {"2"}  # it went on to the next fault
    answer = ours(site, "sigterm", faults=2, hold="20s")
    assert (answer.verdict, answer.frozen, answer.others_frozen) == ("aborted", False, False)
    assert "SIGTERM" in answer.reason


def test_sigusr2_leaves_nothing_even_so(site: Lab, tmp_path: Path) -> None:
    assert plain("sigusr2-always", tmp_path).left == {"fault"}
    answer = ours(site, "sigusr2", hold="20s")
    assert (answer.verdict, answer.frozen) == ("aborted", False)
    assert "SIGUSR2" in answer.reason


def test_sigusr1_ends_a_run_at_once(site: Lab) -> None:
    answer = ours(site, "sigusr1", hold="30s")
    assert (answer.verdict, answer.frozen) == ("aborted", False)


def test_a_second_signal_while_faults_are_undone(site: Lab, tmp_path: Path) -> None:
    assert "fault" in plain("second-signal-always", tmp_path).left
    answer = ours(site, "second-signal", faults=3, hold="20s")
    assert (answer.verdict, answer.frozen, answer.others_frozen) == ("aborted", False, False)


def test_an_action_that_fails_is_not_green(site: Lab, tmp_path: Path) -> None:
    assert plain("action-fails", tmp_path).said.startswith("completed False")
    answer = ours(site, "action-fails")
    assert (answer.verdict, answer.reason) == ("inconclusive", "a fault never took effect")


def test_a_rollback_that_fails_is_dirty_and_locked(site: Lab, tmp_path: Path) -> None:
    left = plain("rollback-fails-always", tmp_path)
    assert left.said.startswith("completed False")
    assert left.left == {"fault"}
    answer = ours(site, "rollback-fails")
    assert answer.verdict == "dirty"
    assert "(dirty)" in site.start("trap-rollback-fails") or "no target" in site.start("trap-rollback-fails")
    site.tell("clear", reference=answer.reference, reason="continued by hand")
    assert site.state(answer.reference)["faults"][0]["state"] == "cleared"


def test_a_timeout_that_is_ignored(site: Lab, tmp_path: Path) -> None:
    assert float(plain("timeout", tmp_path).said.rpartition(" ")[2]) >= 1.5
    # A runner that hangs: its fault ends by the stop, not by the probe.
    with sleepers(1) as ((mark, process),):
        site.experiment(
            "trap-hangs", [{"action": "process.stop", "arguments": selector(mark), "ttl": "60s"}], hold="30s"
        )
        reference = site.start("trap-hangs")
        runner = site.case("hangs", reference)
        try:
            wait_for(lambda: is_frozen(process), seconds=60)
            site.tell("stop", reference=reference, reason="enough")
            # The probe hangs for five minutes; the stop does not wait for it.
            wait_for(lambda: not is_frozen(process), seconds=60)
        finally:
            with suppress(psutil.NoSuchProcess):
                runner.kill()
                runner.wait(10)


def test_sigkill_leaves_no_journal_and_the_watchdog_undoes(site: Lab) -> None:
    with sleepers(1) as ((mark, process),):
        site.experiment(
            "trap-killed", [{"action": "process.stop", "arguments": selector(mark), "ttl": "6s"}], hold="30s"
        )
        runner = site.case("none", site.start("trap-killed"))
        wait_for(lambda: is_frozen(process), seconds=60)
        runner.send_signal(signal.SIGKILL)
        runner.wait(10)
        wait_for(lambda: not is_frozen(process), seconds=30)
        assert process.status() != psutil.STATUS_STOPPED

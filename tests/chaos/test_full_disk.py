"""A disk without room during a run and during a recovery test: real small disks, filled to the last byte."""

import contextlib
import errno
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from accounts.data import Role
from chaos.data import FaultState, Verdict
from chaos.domain.recovery_measure import Cadence
from chaos.models import Experiment
from chaos.recovery_models import RecoveryTest, RecoveryTestRun
from chaos.recovery_selectors import spec_of_run
from chaos.services import finish_run, recovery_running
from chaos.services.faults import revert_all
from chaos.services.recovery import apply_recovery_documents, request_recovery_run
from chaos.services.recovery_context import DrillContext, DrillError, DrillResult
from chaos.services.recovery_markers import MarkerWriter
from core.parsing import LineIndex
from drivers.agent.journal import Journal
from ledger.selectors import entries
from tests.chaos.conftest import SITE, freeze, is_frozen, person, running, wait_for
from tests.chaos.own_site import lab, selector, sleepers

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a small disk is mounted"),
]
Disk = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mount a disk of its own of a size such as `64k`."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        path = tmp_path / f"disk{len(mounted)}"
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", path], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.decode().strip()}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", path], capture_output=True, check=True)


def fill(folder: Path) -> Path:
    """Take all the room there is; returns the file that holds it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
    with pytest.raises(OSError, match="No space left"):
        (folder / "one-more").write_bytes(b"x" * 5000)
    (folder / "one-more").unlink()
    return filler


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("aborted", "verdict"), [("", Verdict.INCONCLUSIVE), ("stopped by user:1: enough", Verdict.ABORTED)]
)
def test_a_run_whose_journal_cannot_be_kept_is_not_green_and_is_undone(  # noqa: PLR0917 fixtures
    experiment: Experiment,
    sleeper: psutil.Process,
    disk: Disk,
    settings: Any,
    aborted: str,
    verdict: Verdict,
) -> None:
    store = disk("64k")
    settings.ARTIFACT_STORE_URL = f"file://{store}"
    run = running(experiment, steady_before=True)
    freeze(run)
    fill(store)
    assert revert_all(run)
    assert not is_frozen(sleeper)
    run.steady_before = run.steady_after = True
    run.journal = {"status": "completed", "run": ["x" * 20_000]}
    finish_run(run, aborted=aborted)
    run.refresh_from_db()
    assert run.verdict == verdict
    assert "the journal could not be kept: No space left on device" in run.reason
    assert run.faults.get().state == FaultState.REVERTED
    (entry,) = entries(types=["chaos.run_finished"])
    assert entry.artifacts == []
    assert [path.name for path in store.rglob("*") if path.is_file()] == ["filler"], "no half of a journal is left"


def test_half_an_account_of_writes_is_not_read_as_a_whole_one(disk: Disk) -> None:
    folder = disk("64k")
    writer = MarkerWriter(lambda _: None, Cadence(every=0.01, timeout=1), account=folder / "markers.jsonl")
    writer.start()
    assert writer.wait_for_acknowledged(3, give_up_after=30)
    fill(folder)
    # The page that the account had begun still has room; then nothing more goes in.
    with (folder / "markers.jsonl").open("ab") as account, contextlib.suppress(OSError):
        while os.write(account.fileno(), b"x" * 100) == 100:
            pass
    assert writer.wait_for_acknowledged(3, give_up_after=30), "the clients are written to as before"
    with pytest.raises(DrillError, match=r"could not be kept: .*No space left on device"):
        writer.stop()


DRILL = {
    "apiVersion": "assay/v1",
    "kind": "RecoveryTest",
    "metadata": {"name": "drill", "title": "Drill"},
    "spec": {"service": "gateway", "kind": "backup-integrity"},
}


@pytest.mark.django_db
def test_a_drill_whose_account_cannot_be_kept_is_inconclusive_and_cleaned_up(
    experiment: Experiment, disk: Disk, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert experiment.slug
    store = disk("64k")
    settings.ARTIFACT_STORE_URL = f"file://{store}"
    cleaned: list[str] = []

    def drill(context: DrillContext) -> DrillResult:
        context.owe(lambda: cleaned.append("done"))
        (context.folder / "markers.jsonl").write_text("{}\n" * 10_000)
        fill(store)
        return DrillResult(scope="everything", witness="test", data_passed=True, data_check="all there")

    apply_recovery_documents(principal=SITE, documents=[(DRILL, LineIndex({}))])
    asked = request_recovery_run(
        principal=person("olga", Role.CHAOS_OPERATOR), test=RecoveryTest.objects.select_related("service").get()
    )
    monkeypatch.setitem(recovery_running.DRILLS, asked_kind(asked), drill)
    assert recovery_running.carry_out(asked)
    asked.refresh_from_db()
    assert asked.verdict == Verdict.INCONCLUSIVE
    assert "what was measured could not be kept" in asked.reason
    assert "No space left on device" in asked.reason
    assert cleaned == ["done"]
    assert asked.result["clean_up"] == "nothing is left"


def asked_kind(run: RecoveryTestRun) -> Any:
    return spec_of_run(run).kind


def test_a_host_that_can_write_nothing_down_injects_nothing_and_still_undoes(disk: Disk) -> None:
    folder = disk("64k")
    journal = Journal(folder / "agent")
    journal.heard()
    with sleepers(1) as ((mark, process),):
        arguments = selector(mark)
        entry = {
            "action": "process.stop",
            "arguments": arguments,
            "foreseen": {"processes": [{"name": mark, "pid": process.pid, "started": process.create_time()}]},
            "ttl_seconds": 60.0,
        }
        path = folder / "agent" / "faults" / "kept.json"
        path.write_text("{}")
        process.suspend()
        fill(folder)
        with pytest.raises(OSError, match="No space left") as refused:
            journal.intend("another", entry, dead_man_seconds=5)
        assert refused.value.errno == errno.ENOSPC
        with pytest.raises(OSError, match="No space left"):
            journal.heard()
        assert journal.silent_for() < 600, "what was heard before is still whole"
        assert not list(folder.rglob("*.draft"))
        assert [one.name for one in (folder / "agent" / "faults").iterdir()] == ["kept.json"]
        assert journal.undo(path, entry, "its time was up")
        assert not is_frozen(process)
        assert not path.exists()


def test_a_run_on_a_full_disk_gives_up_by_itself_undoes_and_is_never_green(disk: Disk) -> None:
    state = disk("24m")
    with sleepers(1) as ((mark, process),), lab(state) as site:
        fault = {"action": "process.stop", "arguments": selector(mark), "ttl": "10m"}
        site.experiment("full", [fault], hold="5m")
        runner = site.case("soon-mute", reference := site.start("full"))
        wait_for(lambda: is_frozen(process), seconds=60)
        wait_for(lambda: site.state(reference)["faults"][0]["state"] == "active", seconds=60)
        filler = fill(state)
        # Nobody can be told, nobody can stop it: the runner does so itself, long before hold and time to live end.
        wait_for(lambda: not is_frozen(process), seconds=60)
        assert site.state(reference)["verdict"] == ""
        time.sleep(0.5)
        filler.unlink()
        wait_for(lambda: site.state(reference)["state"] == "finished", seconds=90)
        found = site.state(reference)
        assert (found["verdict"], found["faults"][0]["state"]) == ("aborted", "reverted")
        assert "nothing could be written" in found["reason"]
        wait_for(lambda: not runner.is_running() or runner.status() == psutil.STATUS_ZOMBIE, seconds=30)

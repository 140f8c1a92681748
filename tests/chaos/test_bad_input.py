"""Selectors that mean nothing or everything, targets that go, undo that fails, a jumping clock, a full disk, hosts that
are not there: each has a verdict or a refusal with a name, and never a green one.
"""

import time
from datetime import timedelta
from typing import Any

import psutil
import pytest
import time_machine
from django.db import OperationalError, connection
from django.utils import timezone

from accounts.data import Role
from catalog.models import Environment
from chaos.data import FaultState, RunState, Verdict
from chaos.models import ChaosRun, Experiment, Fault, KillSwitch, KillSwitchTest, TargetList
from chaos.services import (
    GuardRefusedError,
    apply_documents,
    ask_guards,
    engage_kill_switch,
    finish_run,
    plan_run,
    predicted_budgets,
    reap_dead_runs,
    request_run,
    retry_dirty_faults,
    stop_run,
    try_kill_switch,
    watch_runs,
)
from chaos.services import faults as faults_module
from chaos.services.faults import FaultNotInjectedError, revert_all
from core.parsing import InputRefusedError, LineIndex, load_yaml_documents
from core.periodic import ensure_jobs, run_now
from core.work import PeriodicJob, drain
from drivers.data import ActionResult
from ledger.selectors import entries
from tests.chaos.conftest import EXPERIMENT, SITE, approved, freeze, is_frozen, person, running

pytestmark = [pytest.mark.django_db, pytest.mark.integration]


def change(experiment: Experiment, **changes: Any) -> Experiment:
    definition = experiment.revisions.order_by("-number")[0].definition
    document = {**definition, "spec": {**definition["spec"], **changes}}
    apply_documents(principal=SITE, documents=[(document, LineIndex({}))], source="e")
    return Experiment.objects.get(pk=experiment.pk)


def refusals(experiment: Experiment) -> dict[str, str]:
    decisions = ask_guards(plan_run(experiment=experiment), requested_by="user:999")
    return {decision.guard: decision.reason for decision in decisions if not decision.allowed}


def test_a_selector_that_matches_nothing_is_refused_by_name(experiment: Experiment, sleeper: psutil.Process) -> None:
    sleeper.kill()
    sleeper.wait(10)
    assert "no target matches" in refusals(experiment)["blast radius"]


def test_a_selector_that_means_everything_is_refused_when_it_is_written(experiment: Experiment, mark: str) -> None:
    text = EXPERIMENT.format(mark=mark).replace(f"{{environ: {{ASSAY_TARGET: {mark}}}}}", "{environ: {}}")
    with pytest.raises(InputRefusedError, match="every process"):
        apply_documents(principal=SITE, documents=load_yaml_documents(text, source="e"))
    faults = [{"action": "process.stop", "arguments": {"process": {"cmdline": "."}}, "ttl": "30s"}]
    assert "allowed are 1" in refusals(change(experiment, faults=faults))["blast radius"]


def test_a_target_that_has_gone_since_the_plan_is_inconclusive(experiment: Experiment, sleeper: psutil.Process) -> None:
    run = running(experiment, steady_before=True)
    sleeper.kill()
    sleeper.wait(10)
    with pytest.raises(FaultNotInjectedError, match="no process matches"):
        freeze(run)
    run.steady_before = run.steady_after = True
    finish_run(run)
    run.refresh_from_db()
    assert (run.verdict, run.reason) == (Verdict.INCONCLUSIVE, "a fault never took effect")


def test_a_driver_that_is_not_supported_here_is_refused(experiment: Experiment) -> None:
    faults = [
        {"action": "network.partition", "arguments": {"namespace": "none", "peers": ["10.0.0.0/8"]}, "ttl": "30s"}
    ]
    assert "network.partition" in refusals(change(experiment, faults=faults))["capability"]


def test_a_host_without_an_agent_is_refused(experiment: Experiment, mark: str) -> None:
    arguments = {"on_host": "gpu-9", "process": {"environ": {"ASSAY_TARGET": mark}}}
    changed = change(experiment, faults=[{"action": "process.stop", "arguments": arguments, "ttl": "30s"}])
    assert "no agent gpu-9" in refusals(changed)["capability"]


def test_an_undo_that_fails_is_dirty_and_is_tried_again_until_it_works(
    experiment: Experiment, sleeper: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = running(experiment, steady_before=True)
    freeze(run)
    with monkeypatch.context() as broken:
        broken.setattr(faults_module, "undo_action", lambda *_: ActionResult(ok=False, error="no access"))
        assert not revert_all(run)
        run.steady_before = run.steady_after = True
        finish_run(run)
        run.refresh_from_db()
        assert run.verdict == Verdict.DIRTY
        retry_dirty_faults()
        assert entries(types=["chaos.fault_settled"]).count() == 1  # tried again, but nothing new to record
    retry_dirty_faults()
    assert Fault.objects.get().state == FaultState.REVERTED
    assert not is_frozen(sleeper)


def test_a_fault_that_nobody_could_write_down_is_never_green(experiment: Experiment) -> None:
    run = running(experiment)
    fault = freeze(run)
    run.steady_before = run.steady_after = True
    finish_run(run)  # as if the undo had not come to be written
    run.refresh_from_db()
    assert run.verdict == Verdict.DIRTY
    retry_dirty_faults()
    fault.refresh_from_db()
    assert fault.state == FaultState.REVERTED


def test_a_full_disk_lets_nothing_be_injected_and_keeps_nothing_from_being_undone(
    experiment: Experiment, sleeper: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OperationalError("database or disk is full")

    run = running(experiment)
    with monkeypatch.context() as disk:
        disk.setattr(Fault, "save", full)
        with pytest.raises(OperationalError):
            freeze(run)
    assert not is_frozen(sleeper)  # the intent could not be committed
    freeze(run)
    assert is_frozen(sleeper)
    with monkeypatch.context() as disk:
        disk.setattr(faults_module, "_settle", full)
        assert not revert_all(run)
    assert not is_frozen(sleeper)  # undone first, written down later
    assert Fault.objects.get().state == FaultState.ACTIVE
    assert revert_all(run)


def test_a_clock_that_jumps_ahead_ends_the_run_and_undoes(experiment: Experiment, sleeper: psutil.Process) -> None:
    run = running(experiment)
    freeze(run)
    if connection.vendor != "sqlite":
        pytest.skip("the database server has a clock of its own")
    with time_machine.travel(timezone.now() + timedelta(hours=2), tick=True):
        assert reap_dead_runs() == 1
    assert not is_frozen(sleeper)
    run.refresh_from_db()
    assert run.verdict == Verdict.ABORTED


def test_a_clock_that_jumps_back_leaves_the_time_to_live_as_it_was(
    experiment: Experiment, sleeper: psutil.Process
) -> None:
    run = running(experiment)
    with time_machine.travel(timezone.now() - timedelta(days=1), tick=True):
        freeze(run, ttl=timedelta(seconds=5))
        assert reap_dead_runs() == 0
    # The watchdog counts seconds, not the time of day.
    deadline = time.monotonic() + 30
    while is_frozen(sleeper):
        assert time.monotonic() < deadline


def test_a_runner_that_was_given_up_injects_nothing_more(experiment: Experiment, sleeper: psutil.Process) -> None:
    run = running(experiment)
    ChaosRun.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    reap_dead_runs()
    with pytest.raises(FaultNotInjectedError, match="ended by somebody else"):
        freeze(run)
    assert not is_frozen(sleeper)
    assert not Fault.objects.exists()


def test_only_what_is_on_the_list_may_be_hurt_and_in_production_nothing_without_one(
    experiment: Experiment, mark: str
) -> None:
    def listed(**spec: Any) -> None:
        document = {
            "apiVersion": "assay/v1",
            "kind": "TargetList",
            "metadata": {"name": "demo-targets"},
            "spec": {"environment": "demo", **spec},
        }
        apply_documents(principal=SITE, documents=[(document, LineIndex({}))], source="t")

    assert "allowed targets" not in refusals(experiment)
    Environment.objects.update(production=True)
    assert "there is none" in refusals(experiment)["allowed targets"]
    listed(allow=["process:other-*"])
    assert "not on the list" in refusals(experiment)["allowed targets"]
    listed(allow=["process:*"], never=[f"process:{mark}"])
    assert "never to be hurt" in refusals(experiment)["allowed targets"]
    listed(allow=[f"process:{mark}"])
    assert "allowed targets" not in refusals(experiment)
    assert TargetList.objects.count() == 1
    with pytest.raises(InputRefusedError):
        listed(allow=["no-kind"])


def test_a_refusal_is_kept_once_with_every_answer(experiment: Experiment) -> None:
    for _ in range(3):
        with pytest.raises(GuardRefusedError) as refused:
            request_run(principal=SITE, experiment=experiment)
    assert refused.value.run is not None
    run = ChaosRun.objects.get()
    assert (run.verdict, run.state) == (Verdict.REFUSED, RunState.FINISHED)
    assert "approval" in run.reason
    (entry,) = entries(types=["chaos.run_refused"])
    assert entry.payload is not None
    assert entry.payload["guards"] == run.guards


def test_the_ledger_keeps_plan_guards_faults_and_undo(experiment: Experiment) -> None:
    run = request_run(principal=approved(experiment), experiment=experiment)
    ChaosRun.objects.update(state=RunState.RUNNING, started_at=timezone.now(), heartbeat_at=timezone.now())
    freeze(run)
    revert_all(run)
    (started,) = entries(types=["chaos.run_started"])
    (intended,) = entries(types=["chaos.fault_intended"])
    (settled,) = entries(types=["chaos.fault_settled"])
    assert started.payload is not None
    assert intended.payload is not None
    assert settled.payload is not None
    assert started.payload["undo"] == ["kill -CONT the same processes"]
    assert started.payload["compiled_sha256"] == run.compiled_sha256
    assert intended.payload["targets"] == settled.payload["targets"]
    assert (settled.payload["state"], settled.payload["took_effect"]) == ("reverted", True)


def test_the_kill_switch_tests_itself_weekly_and_never_while_a_run_goes_on(experiment: Experiment) -> None:
    run_now("chaos.kill_switch_test")
    run_now("chaos.kill_switch_test")
    test = KillSwitchTest.objects.get()
    assert test.passed, test.detail
    assert KillSwitch.objects.get().released_at is not None
    assert entries(types=["chaos.kill_switch_tested"]).count() == 1
    run = running(experiment)
    assert try_kill_switch() is None
    stop_run(principal=SITE, run=run, reason="enough")
    finish_run(run, aborted="enough")
    engage_kill_switch(principal=person("alice", Role.RESPONDER), reason="in earnest")
    assert try_kill_switch() is None
    assert KillSwitch.objects.filter(released_at__isnull=True).count() == 1


def test_a_self_test_that_died_does_not_block_starts_for_long(experiment: Experiment) -> None:
    KillSwitch.objects.create(
        engaged_by="system:x", engaged_at=timezone.now() - timedelta(minutes=5), reason="self-test", drill=True
    )
    assert try_kill_switch() is not None
    assert not KillSwitch.objects.filter(released_at__isnull=True).exists()


def test_what_a_run_takes_is_foreseen_from_what_earlier_ones_took(experiment: Experiment) -> None:
    plan = plan_run(experiment=experiment)
    (before,) = predicted_budgets(plan)
    assert before.because == "it has not run yet and reserves nothing"
    run = running(experiment)
    finish_run(run, aborted="enough")
    ChaosRun.objects.update(budgets_at_start={"gateway-ttft": 90.0}, budgets_at_end={"gateway-ttft": 78.5})
    (after,) = predicted_budgets(plan)
    assert (after.expected, after.because) == (11.5, "the most of its last 1 runs")


def test_watching_many_runs_asks_what_is_common_once(
    experiment: Experiment, django_assert_max_num_queries: Any
) -> None:
    running(experiment)
    with django_assert_max_num_queries(10):
        watch_runs()
    assert ChaosRun.objects.filter(state=RunState.RUNNING).exists()


@pytest.mark.usefixtures("db")
def test_watching_goes_on_soon_after_the_worker_that_watched_was_killed() -> None:
    ensure_jobs()
    lease = None

    def look() -> None:
        nonlocal lease
        lease = PeriodicJob.objects.get(name="chaos.reap").lease_until

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chaos.tasks.reap_dead_runs", look)
        PeriodicJob.objects.exclude(name="chaos.reap").delete()
        drain("core.periodic")
    assert lease is not None
    assert lease <= timezone.now() + timedelta(seconds=15)

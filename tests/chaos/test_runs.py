"""Chaos runs on real processes: guards that refuse, faults that are undone whatever dies."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import psutil
import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounts.data import Capability, Role
from accounts.models import User
from accounts.selectors import principal_for_token
from accounts.services import create_api_token
from catalog.models import Environment
from chaos.data import FaultState, RunState, Verdict
from chaos.models import ChaosRun, Experiment, Fault
from chaos.services import (
    GuardRefusedError,
    apply_documents,
    approve_plan,
    ask_guards,
    engage_kill_switch,
    plan_run,
    reap_dead_runs,
    release_kill_switch,
    request_run,
    stop_run,
)
from chaos.services.faults import revert_all
from core.parsing import InputRefusedError, load_yaml_documents
from ledger.selectors import entries
from tests.chaos.conftest import EXPERIMENT, SITE, approved, freeze, is_frozen, person, running, wait_for
from tests.reliability.conftest import forget_tallies

pytestmark = [pytest.mark.django_db, pytest.mark.integration]


def refusals(experiment: Experiment) -> dict[str, str]:
    decisions = ask_guards(plan_run(experiment=experiment), requested_by="user:999")
    return {decision.guard: decision.reason for decision in decisions if not decision.allowed}


def test_every_guard_agrees_once_somebody_else_has_approved(experiment: Experiment) -> None:
    assert set(refusals(experiment)) == {"approval"}
    approved(experiment)
    assert refusals(experiment) == {}


def test_an_environment_that_does_not_allow_chaos_refuses(experiment: Experiment) -> None:
    Environment.objects.update(chaos_allowed=False)
    assert "environment" in refusals(experiment)


def test_no_data_means_no(experiment: Experiment) -> None:
    forget_tallies()
    assert "no data means no" in refusals(experiment)["error budget"]


def test_the_kill_switch_refuses_new_runs_and_stops_those_that_go_on(experiment: Experiment) -> None:
    run = request_run(principal=approved(experiment), experiment=experiment)
    engage_kill_switch(principal=person("alice", Role.RESPONDER), reason="a real outage")
    run.refresh_from_db()
    assert run.state == RunState.STOPPING
    assert "kill switch" in refusals(experiment)
    release_kill_switch(principal=SITE)
    assert "kill switch" not in refusals(experiment)


def test_a_wider_selector_than_the_blast_radius_refuses(experiment: Experiment, mark: str) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], env={**os.environ, "ASSAY_TARGET": mark}
    )
    try:
        wait_for(lambda: "2 of 2" in refusals(experiment).get("blast radius", ""))
    finally:
        other.kill()
        other.wait(10)


def test_who_wrote_it_cannot_approve_it_and_a_stranger_cannot_run_it(experiment: Experiment) -> None:
    revision = experiment.revisions.get()
    bob = person("bob", Role.APPROVER)
    type(revision).objects.update(author=bob.reference)
    with pytest.raises(PermissionDenied):
        approve_plan(principal=bob, experiment=experiment)
    with pytest.raises(PermissionDenied):
        request_run(principal=person("charlie"), experiment=experiment)
    with pytest.raises(GuardRefusedError):
        request_run(principal=SITE, experiment=experiment)


def test_who_approves_in_the_browser_cannot_run_it_by_a_token(experiment: Experiment) -> None:
    both = person("both", Role.APPROVER, Role.CHAOS_OPERATOR)
    approve_plan(principal=both, experiment=experiment)
    owner = User.objects.get(username="both")
    token, _ = create_api_token(principal=both, owner=owner, name="own", scopes=[Capability.CHAOS_RUN])
    by_token = principal_for_token(token=token)
    for principal in (both, by_token):
        with pytest.raises(GuardRefusedError, match="nobody else has approved"):
            request_run(principal=principal, experiment=experiment)
    assert request_run(principal=person("olga", Role.CHAOS_OPERATOR), experiment=experiment).pk


def test_a_fault_that_cannot_be_undone_is_refused(experiment: Experiment, mark: str) -> None:
    text = EXPERIMENT.format(mark=mark).replace("process.stop", "process.kill")
    with pytest.raises(InputRefusedError, match="can be undone"):
        apply_documents(principal=SITE, documents=load_yaml_documents(text, source="e"))


def test_the_faults_of_a_runner_that_died_are_undone_and_the_run_is_aborted(
    experiment: Experiment, sleeper: psutil.Process
) -> None:
    run = running(experiment)
    assert freeze(run).took_effect
    assert is_frozen(sleeper)
    assert reap_dead_runs() == 0
    ChaosRun.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1))
    assert reap_dead_runs() == 1
    assert not is_frozen(sleeper)
    run.refresh_from_db()
    assert (run.state, run.verdict) == (RunState.FINISHED, Verdict.ABORTED)
    assert Fault.objects.get().state == FaultState.REVERTED
    (entry,) = entries(types=["chaos.run_finished"])
    assert entry.payload is not None
    assert entry.payload["reason"] == "the runner died"


def test_a_fault_that_was_intended_when_its_process_died_is_undone_too(
    experiment: Experiment, sleeper: psutil.Process
) -> None:
    run = running(
        experiment,
    )
    fault = freeze(run)
    Fault.objects.filter(pk=fault.pk).update(state=FaultState.INTENDED, output={"processes": fault.output["processes"]})
    assert revert_all(run)
    assert not is_frozen(sleeper)


def test_the_watchdog_undoes_a_fault_when_everything_else_is_dead(
    experiment: Experiment, sleeper: psutil.Process
) -> None:
    fault = freeze(running(experiment), ttl=timedelta(seconds=5))
    assert is_frozen(sleeper)
    wait_for(lambda: not is_frozen(sleeper))
    assert Fault.objects.get(pk=fault.pk).state == FaultState.ACTIVE  # nobody but the watchdog has acted


def test_targets_stay_locked_while_a_fault_is_not_undone(experiment: Experiment) -> None:
    run = running(experiment)
    freeze(run)
    assert "held by" in refusals(experiment)["target lock"]
    revert_all(run)
    ChaosRun.objects.update(state=RunState.FINISHED)
    assert "target lock" not in refusals(experiment)


def test_a_restarted_target_is_not_touched_by_the_undo(experiment: Experiment, sleeper: psutil.Process) -> None:
    run = running(experiment)
    fault = freeze(run)
    sleeper.send_signal(signal.SIGKILL)
    sleeper.wait(10)
    assert revert_all(run)
    fault.refresh_from_db()
    assert "already gone" in fault.detail


def test_a_stop_is_asked_for_once(experiment: Experiment) -> None:
    run = running(experiment)
    assert stop_run(principal=SITE, run=run, reason="enough")
    assert not stop_run(principal=SITE, run=run, reason="again")

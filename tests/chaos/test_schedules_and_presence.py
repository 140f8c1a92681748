"""Guards that look at the calendar, the people and the neighbours; schedules; the command line."""

from datetime import timedelta
from typing import Any

import psutil
import pytest
import time_machine
import yaml
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.data import Role
from catalog.data import ActivityKind
from catalog.models import Dependency, Environment, Service
from catalog.services import end_activity, start_activity
from chaos.data import FaultState, RunState, TurnOutcome, Verdict
from chaos.models import Blackout, ChaosRun, Experiment, ExperimentSchedule, Fault, ScheduleTurn
from chaos.services import (
    Remnant,
    apply_documents,
    ask_guards,
    ask_guards_of,
    clear_dirty_run,
    engage_kill_switch,
    pause_schedule,
    plan_run,
    request_run,
    stop_all_runs,
    verify_clean,
    watch_runs,
)
from chaos.services.faults import revert_all
from core.parsing import InputRefusedError, LineIndex, load_yaml_documents
from core.work import drain
from ledger.selectors import entries
from tests.chaos.conftest import EXPERIMENT, SITE, approved, count, freeze, is_frozen, person, running
from tests.reliability.conftest import forget_tallies

pytestmark = [pytest.mark.django_db, pytest.mark.integration]
BLACKOUT = """
apiVersion: assay/v1
kind: Blackout
metadata: {name: always, title: End of the year}
spec: {environment: demo, windows: [{zone: Europe/Berlin, since: 2020-01-01, until: 2099-01-01}]}
"""


def change(experiment: Experiment, **changes: Any) -> Experiment:
    """Write the experiment anew with other values in its spec."""
    definition = experiment.revisions.order_by("-number")[0].definition
    document = {**definition, "spec": {**definition["spec"], **changes}}
    apply_documents(principal=SITE, documents=[(document, LineIndex({}))], source="e")
    return Experiment.objects.get(pk=experiment.pk)


def refusals(experiment: Experiment) -> dict[str, str]:
    decisions = ask_guards(plan_run(experiment=experiment), requested_by="user:999")
    return {decision.guard: decision.reason for decision in decisions if not decision.allowed}


def test_a_blackout_refuses_and_stops_what_goes_on(experiment: Experiment) -> None:
    run = running(experiment)
    assert all(decision.allowed for decision in ask_guards_of(run))
    apply_documents(principal=SITE, documents=load_yaml_documents(BLACKOUT, source="b"))
    assert "End of the year" in refusals(experiment)["blackout"]
    watch_runs()
    run.refresh_from_db()
    assert run.state == RunState.STOPPING
    assert run.stop_reason.startswith("blackout")
    Blackout.objects.update(environment=Environment.objects.create(slug="elsewhere", name="Elsewhere"))
    assert "blackout" not in refusals(experiment)


def test_outside_its_windows_it_does_not_start(experiment: Experiment) -> None:
    past = [{"since": "2001-01-01", "until": "2001-01-02"}]
    assert "outside" in refusals(change(experiment, allowed=past))["allowed windows"]


def test_a_deployment_in_progress_refuses_and_stops(experiment: Experiment) -> None:
    run = running(experiment)
    start_activity(
        kind=ActivityKind.DEPLOYMENT,
        source_key="deployment:7",
        title="Release 7",
        url="",
        service_ids=list(experiment.services.values_list("pk", flat=True)),
        started_at=timezone.now(),
    )
    assert "Release 7" in refusals(experiment)["changes"]
    watch_runs()
    run.refresh_from_db()
    assert "Release 7" in run.stop_reason
    end_activity(source_key="deployment:7", ended_at=timezone.now())
    assert "changes" not in refusals(experiment)


def test_who_must_be_there_is_there(experiment: Experiment) -> None:
    changed = change(experiment, require={"on_call": "nobody", "runbook": "none"})
    assert "nobody is on call in nobody" in refusals(changed)["presence"]
    changed = change(experiment, require={"runbook": "none"})
    assert "no runbook none" in refusals(changed)["presence"]
    changed = change(experiment, require={})
    assert "presence" not in refusals(changed)
    Environment.objects.update(production=True)
    assert "in production" in refusals(changed)["presence"]


def test_outside_production_an_approval_may_be_left_out_but_not_for_what_is_one_way(
    experiment: Experiment, mark: str
) -> None:
    changed = change(experiment, approval="production")
    assert "approval" not in refusals(changed)
    Environment.objects.update(production=True)
    assert "approval" in refusals(changed)
    Environment.objects.update(production=False)
    kill = {"action": "process.kill", "arguments": {"process": {"environ": {"ASSAY_TARGET": mark}}}, "ttl": "30s"}
    with pytest.raises(InputRefusedError, match="one_way"):
        change(experiment, faults=[kill])
    changed = change(experiment, faults=[{**kill, "one_way": True}], approval="production")
    assert "approval" in refusals(changed)


def test_neighbours_of_a_run_are_locked_too(experiment: Experiment) -> None:
    """A run on the gateway keeps others from what the gateway needs."""
    gateway = Service.objects.get(slug="gateway")
    needed = Service.objects.create(slug="store", name="Store", environment=gateway.environment, tier=3)
    Dependency.objects.create(consumer=gateway, provider=needed)
    run = running(experiment)
    definition = experiment.revisions.get().definition
    other = {
        **definition,
        "metadata": {"name": "other"},
        "spec": {
            **definition["spec"],
            "services": [needed.slug],
            "faults": [
                {"action": "process.stop", "arguments": {"process": {"cmdline": "^no-such-thing$"}}, "ttl": "30s"}
            ],
        },
    }
    apply_documents(principal=SITE, documents=[(other, LineIndex({}))], source="e")
    reason = refusals(Experiment.objects.get(slug="other"))["target lock"]
    assert run.reference in reason
    assert "gateway" in reason


def test_a_budget_that_is_not_enough_refuses(experiment: Experiment) -> None:
    count(bad=6)
    slo_left = plan_guard(experiment, "error budget")
    assert "% left" in slo_left
    changed = change(experiment, error_budget={"when_spent": "approver-decides", "at_least_percent": 100})
    assert "at least 100 %" in refusals(changed)["error budget"]


def plan_guard(experiment: Experiment, guard: str) -> str:
    decisions = ask_guards(plan_run(experiment=experiment), requested_by="user:999")
    return next(decision.reason for decision in decisions if decision.guard == guard)


def test_spending_more_than_the_cap_stops_the_run(experiment: Experiment) -> None:
    changed = change(experiment, error_budget={"when_spent": "approver-decides", "cap_percent": 5})
    run = running(changed)
    assert all(decision.allowed for decision in ask_guards_of(run))
    ChaosRun.objects.update(budgets_at_start={"gateway-ttft": 200.0})
    run.refresh_from_db()
    assert any("cap is 5 %" in decision.reason for decision in ask_guards_of(run) if not decision.allowed)
    forget_tallies()
    assert any("no data means stop" in decision.reason for decision in ask_guards_of(run) if not decision.allowed)


SCHEDULE = {"cron": "*/30 * * * *", "zone": "Europe/Berlin"}


def scheduled(experiment: Experiment) -> ExperimentSchedule:
    change(experiment, schedule=SCHEDULE, approval="production")
    return ExperimentSchedule.objects.get()


def test_a_turn_that_is_due_starts_a_run_once(experiment: Experiment) -> None:
    schedule = scheduled(experiment)
    assert drain("chaos.schedule") == 0
    ExperimentSchedule.objects.update(due_at=timezone.now())
    assert drain("chaos.schedule") == 1
    turn = ScheduleTurn.objects.get()
    assert (turn.outcome, turn.run) == (TurnOutcome.STARTED, ChaosRun.objects.get())
    schedule.refresh_from_db()
    assert schedule.due_at > timezone.now()
    assert schedule.finished_at is None
    assert drain("chaos.schedule") == 0


def test_a_turn_that_a_guard_refuses_is_kept_with_the_reason(experiment: Experiment) -> None:
    scheduled(experiment)
    engage_kill_switch(principal=SITE, reason="a real outage")
    ExperimentSchedule.objects.update(due_at=timezone.now())
    drain("chaos.schedule")
    turn = ScheduleTurn.objects.get()
    assert turn.outcome == TurnOutcome.REFUSED
    assert "a real outage" in turn.reason
    assert not ChaosRun.objects.exclude(verdict="refused").exists()


def test_missed_turns_are_counted_and_not_made_up_for(experiment: Experiment) -> None:
    schedule = scheduled(experiment)
    with time_machine.travel(schedule.due_at + timedelta(hours=2, minutes=1), tick=True):
        drain("chaos.schedule")
        turn = ScheduleTurn.objects.get()
        assert (turn.outcome, turn.missed) == (TurnOutcome.MISSED, 5)
        assert not ChaosRun.objects.exclude(verdict="refused").exists()
        assert drain("chaos.schedule") == 0


def test_a_paused_schedule_starts_nothing_until_it_goes_on(experiment: Experiment) -> None:
    scheduled(experiment)
    with pytest.raises(PermissionDenied):
        pause_schedule(principal=person("charlie"), experiment=experiment, paused=True)
    pause_schedule(principal=person("olga", Role.CHAOS_OPERATOR), experiment=experiment, paused=True)
    ExperimentSchedule.objects.update(due_at=timezone.now())
    drain("chaos.schedule")
    assert "paused by" in ScheduleTurn.objects.get().reason


def test_a_schedule_that_asks_for_budget_waits_for_it(experiment: Experiment) -> None:
    change(experiment, schedule={**SCHEDULE, "when_budget_left_percent": 60}, approval="production")
    count(bad=50)
    ExperimentSchedule.objects.update(due_at=timezone.now())
    drain("chaos.schedule")
    assert "at least 60 %" in ScheduleTurn.objects.get().reason


def exit_code(*arguments: str) -> int:
    try:
        call_command("chaos", *arguments)
    except CommandError as ended:
        return int(ended.returncode)
    return 0


def test_a_refused_start_exits_4(experiment: Experiment, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("run", "freeze") == 4
    assert "nobody else has approved" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verdict", "code"), [("passed", 0), ("failed", 1), ("inconclusive", 3), ("dirty", 5), ("aborted", 6)]
)
def test_a_run_that_was_waited_for_exits_by_its_verdict(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, verdict: str, code: int
) -> None:
    change(experiment, approval="production")
    monkeypatch.setattr(
        "chaos.management.commands.chaos.time.sleep",
        lambda _: ChaosRun.objects.update(state=RunState.FINISHED, verdict=verdict),
    )
    assert exit_code("run", "freeze", "--wait") == code


def test_stopping_everything_needs_a_reason_and_stops_everything(experiment: Experiment) -> None:
    assert exit_code("stop", "--all") == 2
    run = running(experiment)
    assert exit_code("stop", "--all", "--reason", "enough") == 0
    run.refresh_from_db()
    assert (run.state, run.stop_reason) == (RunState.STOPPING, "enough")
    with pytest.raises(PermissionDenied):
        stop_all_runs(principal=person("charlie"), reason="me too")


def remnants_of_runs() -> list[Remnant]:
    """What is left of this site's runs; what belongs to no run may be another test's, on the same machine."""
    return [one for one in verify_clean() if one.what != "unknown to any run"]


def test_clean_is_what_the_targets_say(experiment: Experiment, sleeper: psutil.Process) -> None:
    run = running(experiment)
    fault = freeze(run)
    assert is_frozen(sleeper)
    # The database says that all is well; the target does not.
    Fault.objects.update(state=FaultState.REVERTED)
    ChaosRun.objects.update(state=RunState.FINISHED)
    (remnant,) = remnants_of_runs()
    assert (remnant.what, remnant.certain) == ("process.stop", True)
    Fault.objects.filter(pk=fault.pk).update(state=FaultState.ACTIVE)
    assert revert_all(run)
    assert remnants_of_runs() == []


def test_a_dirty_target_stays_locked_until_somebody_clears_it_with_a_reason(experiment: Experiment) -> None:
    run = running(experiment)
    freeze(run)
    Fault.objects.update(state=FaultState.DIRTY)
    ChaosRun.objects.update(state=RunState.FINISHED, verdict=Verdict.DIRTY)
    assert "held by" in refusals(experiment)["target lock"]
    with pytest.raises(PermissionDenied):
        clear_dirty_run(principal=person("charlie"), run=run, reason="it looks fine")
    assert clear_dirty_run(principal=person("dora", Role.CHAOS_OPERATOR), run=run, reason="restarted by hand") == 1
    assert "target lock" not in refusals(experiment)
    assert any(
        (one.payload or {}).get("reason") == "restarted by hand" for one in entries(subjects=["experiment:freeze"])
    )
    revert_all(run)
    assert clear_dirty_run(principal=SITE, run=run, reason="again") == 0


def test_a_second_start_of_the_same_experiment_is_refused(experiment: Experiment) -> None:
    olga = approved(experiment)
    request_run(principal=olga, experiment=experiment)
    with pytest.raises(PermissionDenied, match="going on"):
        request_run(principal=olga, experiment=experiment)


def test_a_probe_may_only_look_and_a_fault_must_change_something(experiment: Experiment, mark: str) -> None:
    frozen = {"action": "process.frozen", "arguments": {"process": {"environ": {"ASSAY_TARGET": mark}}}}
    change(experiment, steady_state={"slos": ["gateway-ttft"], "probes": [frozen]})
    with pytest.raises(InputRefusedError, match="may only look"):
        change(experiment, steady_state={"probes": [{**frozen, "action": "process.stop"}]})
    with pytest.raises(InputRefusedError, match="must change something"):
        change(experiment, faults=[{**frozen, "ttl": "30s"}])
    assert yaml.safe_load(EXPERIMENT.format(mark=mark))["kind"] == "Experiment"

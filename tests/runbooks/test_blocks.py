"""What each kind of block does in a run."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.db.models import F
from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.models import User
from accounts.services import create_team, deactivate_user, revoke_role, set_team_members
from core.parsing import InputRefusedError
from core.work import drain_all
from delivery.data import Channel
from delivery.models import Delivery
from drivers.data import ActionResult
from ledger.selectors import entries
from runbooks.data import RunState
from runbooks.models import RunbookRun, RunNote, RunStep, StepAttempt
from runbooks.services import (
    answer_step,
    approve_step,
    break_glass,
    cancel_run,
    confirm_step,
    hand_over_run,
    pause_run,
    resume_run,
    start_run,
    take_over_run,
)
from tests.runbooks.conftest import SITE, Bench, block, check, step

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NO = ActionResult(ok=False, error="it did not work")
ASK = block("confirm id=sure", ask="Sure?", answers="[yes, no, escalate]")


def let_time_pass(run: RunbookRun, span: timedelta) -> None:
    RunStep.objects.filter(run=run).update(waiting_until=F("waiting_until") - span)
    RunbookRun.objects.filter(pk=run.pk).update(due_at=timezone.now() - timedelta(seconds=1))


def test_words_that_older_yaml_takes_for_booleans_are_answers(bench: Bench) -> None:
    bench.apply(ASK)
    run = bench.start()
    confirm_step(principal=bench.person("olive"), run=run, step_id="sure", answer="yes")
    assert bench.go(run).state == RunState.SUCCEEDED


def test_a_step_is_done_only_when_its_check_holds(bench: Bench) -> None:
    bench.apply(step("change", verify="done") + check("done", expect="{eq: 1}", with_="{name: done, value: 1}"))
    run = bench.start()
    assert run.state == RunState.SUCCEEDED
    assert bench.look.names == ["done"]
    assert bench.states(run) == {"change": "succeeded", "done": "succeeded"}


def test_what_was_done_is_undone_in_reverse_order_when_a_later_step_fails(bench: Bench) -> None:
    bench.apply(
        step("one", rollback="undo-one")
        + step("two", rollback="undo-two")
        + step("three")
        + step("undo-one", on_rollback=" on=rollback")
        + step("undo-two", on_rollback=" on=rollback")
    )
    bench.change.will("three", NO)
    run = bench.start()
    assert run.state == RunState.ROLLED_BACK
    assert bench.change.names == ["one", "two", "three", "undo-two", "undo-one"]
    assert "three: it did not work" in run.reason


def test_a_step_whose_check_fails_is_undone_itself(bench: Bench) -> None:
    bench.apply(
        step("change", verify="done", rollback="undo")
        + check("done", expect="{eq: 2}", with_="{name: done, value: 1}")
        + step("undo", on_rollback=" on=rollback")
    )
    run = bench.start()
    assert run.state == RunState.ROLLED_BACK
    assert bench.change.names == ["change", "undo"]


def test_a_failing_undoing_is_told_and_the_others_are_still_done(bench: Bench) -> None:
    bench.apply(
        step("one", rollback="undo-one")
        + step("two", rollback="undo-two")
        + step("three")
        + step("undo-one", on_rollback=" on=rollback")
        + step("undo-two", on_rollback=" on=rollback")
    )
    bench.change.will("three", NO)
    bench.change.will("undo-two", NO)
    run = bench.start()
    assert run.state == RunState.FAILED
    assert "rolling back failed at undo-two" in run.reason
    assert bench.change.names[-1] == "undo-one"


def test_a_check_that_finds_no_number_where_one_is_expected_fails_plainly(bench: Bench) -> None:
    bench.apply(check("lag", expect="{lt: 3}", with_="{name: lag, value: broken}"))
    assert bench.start().state == RunState.FAILED


def test_a_step_is_tried_again_as_often_as_it_says(bench: Bench) -> None:
    bench.apply(step("flaky", retry="{max: 2, on: [error], delay: 1s}"))
    bench.change.will("flaky", NO, NO)
    run = bench.start()
    for _ in range(2):
        assert run.state == RunState.TIMER
        let_time_pass(run, timedelta(seconds=2))
        bench.go(run)
    assert run.state == RunState.SUCCEEDED
    keys = [key for _, key in bench.change.calls]
    assert len(set(keys)) == 3, "a clear failure begins anew"


def test_a_step_that_may_fail_does_not_stop_the_run(bench: Bench) -> None:
    bench.apply(step("extra", on_failure="continue") + step("next") + step("depends", needs="[extra]"))
    bench.change.will("extra", NO)
    run = bench.start()
    assert run.state == RunState.SUCCEEDED
    assert bench.states(run) == {"extra": "failed", "next": "succeeded", "depends": "skipped"}


def test_when_reads_inputs_and_what_was_found(bench: Bench) -> None:
    bench.apply(
        check("lag", with_="{name: lag, value: 40}")
        + step("far", when="steps['lag'].value > inputs.limit")
        + step("near", when="steps['lag'].value <= inputs.limit"),
        front="inputs: {limit: {type: integer, default: 30}}\n",
    )
    assert bench.states(bench.start()) == {"lag": "succeeded", "far": "succeeded", "near": "skipped"}


def test_what_was_found_fills_a_later_argument_as_text(bench: Bench) -> None:
    hostile = "$(reboot); {{ inputs.x }} <script>"
    bench.look.will("host", ActionResult(ok=True, output={"value": hostile}))
    bench.apply(check("host") + step("use", with_='{name: "{{ steps.host.value }}"}'))
    bench.start()
    assert bench.change.names == [hostile]


def test_foreach_takes_each_item_once_and_in_order(bench: Bench) -> None:
    bench.apply(
        step("restart", foreach="inputs.hosts", with_='{name: "{{ item }}"}', rollback="undo")
        + step("undo", on_rollback=" on=rollback", foreach="inputs.hosts", with_='{name: "undo {{ item }}"}'),
        front="inputs: {hosts: {type: list, required: true}}\n",
    )
    bench.change.will("c", NO)
    run = bench.start(hosts="a,b,c,d")
    assert bench.change.names == ["a", "b", "c", "undo b", "undo a"]
    assert run.state == RunState.ROLLED_BACK
    with pytest.raises(InputRefusedError, match="at most 50"):
        bench.start(key="many", hosts=",".join(str(n) for n in range(51)))


def test_a_decision_takes_one_way_and_leaves_the_others(bench: Bench) -> None:
    bench.apply(
        block("decide id=way", ask="Which?", branches="{short: [quick], long: [slow]}") + step("quick") + step("slow")
    )
    run = bench.start()
    confirm_step(principal=bench.person("olive"), run=run, step_id="way", answer="long")
    assert bench.states(bench.go(run)) == {"way": "succeeded", "quick": "skipped", "slow": "succeeded"}


def test_a_decision_by_expression_asks_nobody(bench: Bench) -> None:
    bench.apply(
        block("decide id=way", choose="inputs.kind", branches="{short: [quick], long: [slow]}")
        + step("quick")
        + step("slow"),
        front="inputs: {kind: {default: short}}\n",
    )
    assert bench.start().state == RunState.SUCCEEDED
    assert bench.change.names == ["quick"]
    assert bench.start(key="other", kind="middle").state == RunState.FAILED


def test_a_wait_holds_no_worker_and_ends_by_itself(bench: Bench) -> None:
    bench.apply(block("wait id=settle", for_="10m") + step("next"))
    run = bench.start()
    assert run.state == RunState.TIMER
    assert run.lease_owner == ""
    assert bench.change.names == []
    let_time_pass(run, timedelta(minutes=11))
    assert bench.go(run).state == RunState.SUCCEEDED


def test_a_notice_goes_out_once_to_each(bench: Bench) -> None:
    team = create_team(principal=SITE, slug="data", name="Data")
    bench.person("dora")
    set_team_members(principal=SITE, team=team, usernames=["dora"])
    bench.apply(
        block("notify id=tell", to="[owner, operator]", message='"Level {{ inputs.level }} reached"'),
        front="owner: data\ninputs: {level: {type: integer, default: 3}}\n",
    )
    run = bench.start()
    assert run.state == RunState.SUCCEEDED
    texts = Delivery.objects.filter(about=f"runbook-run:{run.reference}", channel=Channel.IN_APP).values_list(
        "text", flat=True
    )
    assert list(texts) == ["Level 3 reached"] * 2


def test_a_question_that_nobody_answers_calls_the_owner_before_it_fails(bench: Bench) -> None:
    bench.apply(block("confirm id=sure", ask="Sure?", timeout="5m", on_timeout="escalate"))
    run = bench.start()
    let_time_pass(run, timedelta(minutes=6))
    assert bench.go(run).state == RunState.WAITING
    assert Delivery.objects.filter(idempotency_key__contains="escalated").exists()
    let_time_pass(run, timedelta(minutes=6))
    assert bench.go(run).state == RunState.FAILED


def test_the_answer_escalate_calls_the_owner_and_waits_on(bench: Bench) -> None:
    bench.apply(ASK)
    run = bench.start()
    confirm_step(principal=bench.person("olive"), run=run, step_id="sure", answer="escalate")
    assert bench.go(run).state == RunState.WAITING
    assert RunNote.objects.get().text.endswith("the owner was called")


def test_evidence_that_is_required_must_be_given(bench: Bench) -> None:
    bench.apply(block("confirm id=sure", ask="Sure?", evidence="required"))
    run = bench.start()
    with pytest.raises(InputRefusedError, match="evidence"):
        confirm_step(principal=bench.person("olive"), run=run, step_id="sure", answer="yes")
    answer_step(principal=bench.person("olive"), run=run, step_id="sure", answer="yes", evidence="graph 7")
    assert bench.go(run).state == RunState.SUCCEEDED


def test_a_run_that_nobody_operates_changes_nothing_until_somebody_lets_it(bench: Bench) -> None:
    bench.apply(check("look") + step("change"))
    run = bench.start(system_principal("incident-trigger"))
    assert bench.look.names == ["look"]
    assert bench.change.names == []
    assert bench.states(run)["change"] == "waiting"
    confirm_step(principal=bench.person("olive", Role.RESPONDER), run=run, step_id="change", answer="go")
    assert bench.go(run).state == RunState.SUCCEEDED


def test_whoever_takes_a_run_over_operates_it_and_cannot_have_approved_it(bench: Bench) -> None:
    bench.apply(block("approve id=agree", before="[burn]") + step("burn", "do.destroy"))
    run = bench.start(system_principal("incident-trigger"))
    both = bench.person("both", Role.RESPONDER, Role.APPROVER)
    pause_run(principal=both, run=run)
    approve_step(principal=both, run=run, step_id="agree")
    take_over_run(principal=both, run=run)
    resume_run(principal=both, run=run)
    bench.go(run)
    assert bench.destroy.names == []
    assert bench.states(run)["agree"] == "waiting"
    with pytest.raises(PermissionDenied):
        approve_step(principal=both, run=run, step_id="agree")
    approve_step(principal=bench.person("bob", Role.APPROVER), run=run, step_id="agree")
    assert bench.go(run).state == RunState.SUCCEEDED


def test_whoever_hands_a_run_over_does_not_approve_it_afterwards(bench: Bench) -> None:
    bench.apply(block("approve id=agree", before="[burn]") + step("burn", "do.destroy"))
    both = bench.person("both", Role.RESPONDER, Role.APPROVER)
    run = bench.start(both)
    bench.person("alice", Role.RESPONDER)
    # Alice is not even asked.
    hand_over_run(principal=both, run=run, to="alice")
    with pytest.raises(PermissionDenied):
        approve_step(principal=both, run=run, step_id="agree")
    approve_step(principal=bench.person("bob", Role.APPROVER), run=run, step_id="agree")
    assert bench.go(run).state == RunState.SUCCEEDED


def test_an_approval_ends_with_the_account_of_whoever_gave_it(bench: Bench) -> None:
    bench.apply(block("approve id=agree", before="[burn]") + step("burn", "do.destroy"))
    run = bench.start(system_principal("incident-trigger"))
    left = bench.person("left", Role.APPROVER, Role.RESPONDER)
    pause_run(principal=left, run=run)
    approve_step(principal=left, run=run, step_id="agree")
    deactivate_user(principal=system_principal("test"), user=User.objects.get(username="left"))
    drain_all()
    resume_run(principal=bench.person("olive", Role.RESPONDER), run=run)
    bench.go(run)
    assert bench.destroy.names == []
    assert bench.states(run)["agree"] == "waiting"


def test_a_run_is_handed_over_only_to_somebody_who_may_run_it(bench: Bench) -> None:
    bench.apply(ASK)
    run = bench.start()
    bench.person("viewer", Role.VIEWER)
    with pytest.raises(PermissionDenied):
        hand_over_run(principal=bench.person("olive"), run=run, to="viewer")
    bench.person("alice", Role.RESPONDER)
    hand_over_run(principal=bench.person("olive"), run=run, to="alice")
    run.refresh_from_db()
    assert run.operator == bench.person("alice").reference


def test_an_approver_who_lost_the_role_has_not_approved(bench: Bench) -> None:
    bench.apply(block("approve id=agree", before="[burn]") + step("burn", "do.destroy"))
    run = bench.start()
    approve_step(principal=bench.person("bob", Role.APPROVER), run=run, step_id="agree")
    revoke_role(principal=SITE, user=User.objects.get(username="bob"), role=Role.APPROVER)
    bench.go(run)
    assert bench.destroy.names == []
    assert bench.states(run)["agree"] == "waiting"


def test_two_approvals_mean_two_people_of_those_who_are_named(bench: Bench) -> None:
    bench.apply(
        block("approve id=agree", before="[burn]", approvers="{count: 2, from: [user:bob, user:cleo]}")
        + step("burn", "do.destroy")
    )
    run = bench.start()
    with pytest.raises(PermissionDenied):
        approve_step(principal=bench.person("dan", Role.APPROVER), run=run, step_id="agree")
    approve_step(principal=bench.person("bob", Role.APPROVER), run=run, step_id="agree")
    with pytest.raises(InputRefusedError, match="second approval"):
        approve_step(principal=bench.person("bob"), run=run, step_id="agree")
    assert bench.go(run).state == RunState.WAITING
    approve_step(principal=bench.person("cleo", Role.APPROVER), run=run, step_id="agree")
    assert bench.go(run).state == RunState.SUCCEEDED


def test_breaking_the_glass_needs_a_reason_pages_the_owner_and_is_in_the_ledger(bench: Bench) -> None:
    team = create_team(principal=SITE, slug="data", name="Data")
    bench.person("dora")
    set_team_members(principal=SITE, team=team, usernames=["dora"])
    bench.apply(block("approve id=agree", before="[burn]") + step("burn", "do.destroy"), front="owner: data\n")
    run = bench.start()
    olive = bench.person("olive")
    with pytest.raises(InputRefusedError, match="10 characters"):
        break_glass(principal=olive, run=run, step_id="agree", reason="now!")
    answer_step(
        principal=olive, run=run, step_id="agree", answer="break-glass", reason="nobody answers, customers are down"
    )
    assert bench.go(run).state == RunState.SUCCEEDED
    assert Delivery.objects.filter(idempotency_key__contains="break-glass", channel=Channel.IN_APP).count() == 1
    (entry,) = entries(types=["runbook.run_finished"])
    payload: Any = entry.payload
    (burn,) = [one for one in payload["steps"] if one["step"] == "burn"]
    assert "customers are down" in burn["break_glass"]
    audited = [one.payload["action"] for one in entries(types=["audit.action"]) if one.payload]
    assert "runbook.break_glass" in audited


def test_a_paused_run_takes_no_step_until_it_is_resumed(bench: Bench) -> None:
    bench.apply(ASK + step("next"))
    run = bench.start()
    pause_run(principal=bench.person("olive"), run=run)
    confirm_step(principal=bench.person("olive"), run=run, step_id="sure", answer="yes")
    assert bench.go(run).state == RunState.PAUSED
    assert bench.change.names == []
    resume_run(principal=bench.person("olive"), run=run)
    assert bench.go(run).state == RunState.SUCCEEDED


def test_a_run_may_be_cancelled_and_rolled_back(bench: Bench) -> None:
    bench.apply(step("one", rollback="undo") + ASK + step("undo", on_rollback=" on=rollback"))
    run = bench.start()
    cancel_run(principal=bench.person("olive"), run=run, reason="false alarm", roll_back=True)
    assert bench.go(run).state == RunState.ROLLED_BACK
    assert bench.change.names == ["one", "undo"]


def test_a_run_that_takes_too_long_as_a_whole_ends(bench: Bench) -> None:
    bench.apply(ASK, front="timeout: 10m\n")
    run = bench.start()
    RunbookRun.objects.filter(pk=run.pk).update(
        deadline_at=timezone.now() - timedelta(seconds=1), due_at=timezone.now() - timedelta(seconds=1)
    )
    assert bench.go(run).state == RunState.FAILED
    assert "longer than the whole run" in run.reason


def test_policy_lets_a_change_go_on_alone_where_every_service_allows_it(bench: Bench) -> None:
    from demo.services import load_organization

    load_organization(port=8000)
    front = "services: [gateway]\nunattended: [{service: gateway, environment: ENV, risk: change}]\n"
    bench.apply(step("change"), front=front.replace("ENV", "elsewhere"))
    bench.start(system_principal("incident-trigger"), key="a")
    assert bench.change.names == []
    bench.apply(step("change"), front=front.replace("ENV", "demo"))
    assert bench.start(system_principal("incident-trigger"), key="b").state == RunState.SUCCEEDED


def test_an_input_comes_from_the_alert_that_started_the_run(bench: Bench) -> None:
    bench.apply(
        check("look", with_='{name: "{{ inputs.host }}"}'),
        front="inputs: {host: {from: alert.labels.instance, required: true}}\n",
    )
    start_run(
        principal=SITE,
        runbook_slug="bench",
        inputs={},
        trigger="t",
        idempotency_key="x",
        context={"alert.labels.instance": "db-1:9100"},
    )
    start = RunbookRun.objects.get()
    bench.go(start)
    assert bench.look.names == ["db-1:9100"]


@pytest.mark.parametrize("exit_", ["done", "retry", "rollback", "verify"])
def test_an_unknown_step_has_four_exits(bench: Bench, exit_: str) -> None:
    bench.apply(
        block("approve id=agree", before="[burn]")
        + step("burn", "do.destroy", verify="burnt", rollback="undo")
        + check("burnt", expect="{eq: 1}", with_="{name: burnt, value: 1}")
        + step("undo", on_rollback=" on=rollback")
    )
    run = bench.start()
    bob = bench.person("bob", Role.APPROVER)
    approve_step(principal=bob, run=run, step_id="agree")
    burn = run.steps.get(step_id="burn")
    RunStep.objects.filter(pk=burn.pk).update(state="started")
    StepAttempt.objects.create(step=burn, number=1, idempotency_key="lost", started_at=timezone.now())
    bench.go(run)
    assert bench.states(run)["burn"] == "unknown"
    confirm_step(principal=bench.person("olive"), run=run, step_id="burn", answer=exit_, evidence="ash on the floor")
    bench.go(run)
    if exit_ == "retry":
        assert bench.states(run)["agree"] == "waiting", "a second try needs a fresh approval"
        approve_step(principal=bob, run=run, step_id="agree")
        bench.go(run)
        assert bench.destroy.names == ["burn"]
    expected = RunState.ROLLED_BACK if exit_ == "rollback" else RunState.SUCCEEDED
    assert run.state == expected
    assert bench.change.names == (["undo"] if exit_ == "rollback" else [])

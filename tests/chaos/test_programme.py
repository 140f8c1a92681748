"""What surrounds runs: scores and coverage, findings, suggestions, game days, suites, templates."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from django.core.exceptions import PermissionDenied
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts.data import Role
from catalog.data import ActionItemState
from catalog.models import ActionItem, Dependency, Service
from chaos.coverage_selectors import Suggestion, coverage, suggestions
from chaos.data import RunState, Verdict
from chaos.domain.coverage import (
    EXPECTED,
    MODE_OF,
    FailureMode,
    Proof,
    is_worse,
    score_of,
    worth_of,
)
from chaos.domain.schedules import ScheduleSpec, next_turn
from chaos.models import ChaosRun, Experiment, ScheduleTurn
from chaos.program_models import FindingState, GameDay, GameDaySession, Suite
from chaos.selectors import findings_visible
from chaos.services import (
    apply_documents,
    begin_game_day,
    current_step,
    end_game_day,
    end_step,
    finish_run,
    mend_finding,
    next_of_suite,
    run_step,
)
from chaos.services.findings import judge_run
from chaos.services.templates import filled, templates
from core.identifiers import new_id
from core.parsing import InputRefusedError, load_yaml_documents
from core.work import drain
from delivery.models import Delivery
from drivers.services import action, actions, parse_arguments, plan_action, run_action
from ledger.selectors import entries
from tests.chaos.conftest import SITE, person, running

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def suggested() -> list[Suggestion]:
    now = timezone.now()
    return suggestions(coverage(viewer=SITE, now=now), viewer=SITE, now=now)


def proof(mode: FailureMode, *, days: float, verdict: str = "passed") -> Proof:
    return Proof(mode, verdict, NOW - timedelta(days=days), "run")


def test_a_proof_counts_in_full_for_thirty_days_and_half_after_ninety_more() -> None:
    assert worth_of("passed", age=timedelta(days=30)) == 1
    assert worth_of("passed", age=timedelta(days=120)) == 0.5
    assert worth_of("passed", age=timedelta(days=210)) == 0.25
    assert worth_of("failed", age=timedelta(days=1)) == 0.25
    assert worth_of("aborted", age=timedelta(0)) == 0


def test_a_score_is_the_mean_of_what_the_tier_asks_for() -> None:
    every = [proof(mode, days=1) for mode in FailureMode]
    assert score_of(every, tier=1, now=NOW).points == 100
    found = score_of([proof(FailureMode.LOSS, days=1), proof(FailureMode.SLOW, days=120)], tier=3, now=NOW)
    assert (found.points, found.proven, found.expected) == (50, 2, 3)
    assert score_of([], tier=4, now=NOW).points == 0
    newest = [proof(FailureMode.LOSS, days=9), proof(FailureMode.LOSS, days=1, verdict="failed")]
    assert score_of(newest, tier=4, now=NOW).points == 25


@given(st.floats(0, 4000), st.floats(0, 4000))
def test_a_score_only_falls_with_age(first: float, second: float) -> None:
    young, old = sorted((first, second))
    assert worth_of("passed", age=timedelta(days=young)) >= worth_of("passed", age=timedelta(days=old)) > 0


def test_every_action_that_can_be_a_fault_belongs_to_a_failure_mode() -> None:
    own = {name: one for name, one in actions().items() if type(one).__module__.startswith("drivers.")}
    faults = {name for name, one in own.items() if one.risk != "read"}
    mend = {"process.continue", "haproxy.ready", "kubernetes.rollout_undo", "kubernetes.uncordon"}
    assert faults - mend - {"http.request"} <= set(MODE_OF)
    assert set(MODE_OF) <= set(actions())


@pytest.mark.parametrize(
    ("seconds", "before", "worse"),
    [(30, [10, 11, 12], True), (30, [10, 11], False), (19, [10, 11, 12], False), (5, [1, 1, 1], False)],
)
def test_worse_is_half_as_long_again_and_ten_seconds_more(seconds: float, before: list[float], worse: bool) -> None:
    assert is_worse(seconds, before=before) is worse


def test_a_turn_in_business_hours_is_on_a_working_day_on_the_clock_of_its_zone() -> None:
    spec = ScheduleSpec(cron="0 */3 * * *", zone="Europe/Berlin", business_hours=True)
    friday_evening = datetime(2026, 1, 9, 17, 30, tzinfo=UTC)
    due = next_turn(spec, after=friday_evening, seed="x").due
    assert (due.weekday(), due.hour) == (0, 9)
    with pytest.raises(ValueError, match="never falls due"):
        ScheduleSpec(cron="0 3 * * *", business_hours=True)


# --- with experiments


def ended(
    experiment: Experiment, verdict: Verdict, *, seconds: float | None = None, requested_by: str = ""
) -> ChaosRun:
    now = timezone.now()
    run = ChaosRun.objects.create(
        reference=new_id("run"),
        revision=experiment.revisions.order_by("-number")[0],
        state=RunState.FINISHED,
        verdict=verdict,
        reason="the steady state did not return in time" if verdict == Verdict.FAILED else "it held",
        requested_by=requested_by or SITE.reference,
        requested_at=now,
        started_at=now,
        ended_at=now,
        finished_at=now,
        deadline_at=now,
        due_at=now,
        recovery_seconds=seconds,
    )
    judge_run(run)
    return run


def states_of_follow_ups() -> list[str]:
    return list(ActionItem.objects.order_by("pk").values_list("state", flat=True))


@pytest.mark.django_db
def test_a_weakness_is_a_finding_with_a_follow_up_until_another_run_has_shown_it_mended(experiment: Experiment) -> None:
    olga = person("olga", Role.CHAOS_OPERATOR)
    ended(experiment, Verdict.FAILED, requested_by=olga.reference)
    finding = findings_visible(viewer=SITE).get()
    assert (finding.state, finding.times) == (FindingState.OPEN, 1)
    assert ActionItem.objects.get().state == ActionItemState.OPEN
    assert Delivery.objects.filter(address=olga.reference).count() == 1
    ended(experiment, Verdict.PASSED)  # luck: nobody has mended anything
    finding.refresh_from_db()
    assert finding.state == FindingState.OPEN
    with pytest.raises(PermissionDenied):
        mend_finding(principal=person("victor"), finding=finding, how="more replicas")
    assert mend_finding(principal=olga, finding=finding, how="more replicas")
    assert not mend_finding(principal=olga, finding=finding, how="again")
    assert states_of_follow_ups() == [ActionItemState.DONE, ActionItemState.OPEN]
    assert any("not tried again" in one.because for one in suggested())
    ended(experiment, Verdict.FAILED)  # not mended after all
    finding.refresh_from_db()
    assert (finding.state, finding.times) == (FindingState.OPEN, 2)
    assert states_of_follow_ups() == [ActionItemState.DONE, ActionItemState.DONE, ActionItemState.OPEN]
    mend_finding(principal=olga, finding=finding, how="a timeout")
    ended(experiment, Verdict.PASSED)
    finding.refresh_from_db()
    assert finding.state == FindingState.PROVEN
    assert set(states_of_follow_ups()) == {ActionItemState.DONE}
    states = [entry.payload["state"] for entry in entries(types=["chaos.finding_recorded"]) if entry.payload]
    assert sorted(map(str, states)) == ["mended", "mended", "open", "open", "proven"]


@pytest.mark.django_db
def test_a_recovery_that_takes_longer_than_before_raises_an_alarm(experiment: Experiment) -> None:
    for seconds in (10, 12, 11):
        ended(experiment, Verdict.PASSED, seconds=seconds)
    assert not findings_visible(viewer=SITE).exists()
    ended(experiment, Verdict.PASSED, seconds=40)
    assert "recovery took 40 s, before 11 s" in findings_visible(viewer=SITE).get().text


@pytest.mark.django_db
def test_coverage_says_what_was_proven_when_and_what_was_never_tried(experiment: Experiment) -> None:
    Service.objects.update(tier=1)
    gateway = Service.objects.get(slug="gateway")
    store = Service.objects.create(slug="store", name="Store", environment=gateway.environment, tier=2)
    Dependency.objects.create(consumer=gateway, provider=store)
    run = ended(experiment, Verdict.PASSED)
    rows = {row.service.slug: row for row in coverage(viewer=SITE, now=timezone.now())}
    assert rows["gateway"].newest[FailureMode.FREEZE].reference == run.reference
    expected = len(EXPECTED[gateway.tier])
    assert (rows["gateway"].score.points, rows["gateway"].score.proven) == (round(100 / expected), 1)
    said = [(one.service.slug, one.mode, one.because) for one in suggested()]
    assert said[0][:2] == ("store", FailureMode.LOSS)
    assert "never failed in a test" in said[0][2]
    assert not coverage(viewer=person("charlie"), now=timezone.now())


GAME_DAY = """
apiVersion: assay/v1
kind: GameDay
metadata: {name: rehearsal, title: Rehearsal}
spec:
  environment: demo
  services: [gateway]
  purpose: Everybody knows what to do.
  steps:
    - {do: Tell support that it begins, who: lead, within: 10m}
    - {run: freeze}
    - {do: Talk about it, within: 20m}
"""


@pytest.mark.django_db
@pytest.mark.integration
def test_a_game_day_goes_step_by_step_with_its_times_and_its_runs(experiment: Experiment) -> None:
    for _ in range(2):
        apply_documents(principal=SITE, documents=load_yaml_documents(GAME_DAY.encode(), source="g"))
    game_day = GameDay.objects.get()
    olga = person("olga", Role.CHAOS_OPERATOR)
    with pytest.raises(PermissionDenied):
        begin_game_day(principal=person("charlie"), game_day=game_day)
    session = begin_game_day(principal=olga, game_day=game_day)
    with pytest.raises(InputRefusedError, match="going on"):
        begin_game_day(principal=olga, game_day=game_day)
    with pytest.raises(InputRefusedError, match="step for people"):
        run_step(principal=olga, session=session)
    GameDaySession.objects.update(
        steps=[{**session.steps[0], "started_at": (timezone.now() - timedelta(minutes=11)).isoformat()}]
    )
    session = end_step(principal=olga, session=session, outcome="done", note="support knows")
    with pytest.raises(PermissionDenied):  # the guards have the last word here too: nobody has approved
        run_step(principal=olga, session=session)
    session = end_step(principal=olga, session=session, outcome="skipped")
    with pytest.raises(InputRefusedError, match="outcome"):
        end_step(principal=olga, session=session, outcome="fine")
    session = end_step(principal=olga, session=session, outcome="done")
    assert current_step(session) is None
    end_game_day(principal=olga, session=session, summary="The page came late.")
    (entry,) = entries(types=["chaos.game_day_held"])
    assert entry.payload is not None
    steps: Any = entry.payload["steps"]
    assert [(step["outcome"], step["late"]) for step in steps] == [
        ("done", True),
        ("skipped", False),
        ("done", False),
    ]


@pytest.mark.django_db
@pytest.mark.integration
def test_the_experiments_of_a_suite_take_turns_the_oldest_proof_first(experiment: Experiment) -> None:
    definition = experiment.revisions.get().definition
    other = {**definition, "metadata": {"name": "other"}}
    suite = {
        "apiVersion": "assay/v1",
        "kind": "Suite",
        "metadata": {"name": "gateway-suite"},
        "spec": {"service": "gateway", "experiments": ["freeze", "other"], "schedule": {"cron": "0 * * * *"}},
    }
    text = yaml.safe_dump_all([other, suite]).encode()
    apply_documents(principal=SITE, documents=load_yaml_documents(text, source="s"))
    made = Suite.objects.get()
    ended(experiment, Verdict.PASSED)
    following = next_of_suite(made)
    assert following is not None
    assert following.slug == "other"
    Suite.objects.update(due_at=timezone.now())
    assert drain("chaos.suite") == 1
    turn = ScheduleTurn.objects.get()
    assert (turn.experiment.slug, turn.outcome) == ("other", "refused")  # nobody has approved it
    made.refresh_from_db()
    assert made.due_at > timezone.now()


@pytest.mark.parametrize("template", [one.name for one in templates()])
@pytest.mark.django_db
def test_a_template_that_is_filled_in_is_a_valid_experiment(template: str, experiment: Experiment) -> None:
    given = {
        "service": "gateway",
        "environment": "demo",
        "slo": "gateway-ttft",
        "group": "demo/model-server",
        "proxy": "model-api",
        "host": "gpu-1",
        "progress": "/tmp/progress.json",
        "namespace": "gateway",
    }
    places = next(one.places for one in templates() if one.name == template)
    text = filled(template, {place: given[place] for place in places})
    assert "{" + places[0] + "}" not in text
    apply_documents(principal=SITE, documents=load_yaml_documents(text.encode(), source=template))
    for fault in yaml.safe_load(text)["spec"]["faults"]:
        assert action(fault["action"]).name == fault["action"]
        parse_arguments(fault["action"], fault["arguments"])


def test_a_template_takes_names_and_nothing_that_writes_yaml() -> None:
    with pytest.raises(InputRefusedError, match="letters"):
        filled("replica-loss", {"service": "x, y: {z"})
    with pytest.raises(InputRefusedError, match="one of"):
        filled("unheard-of", {})


TRAINER = """
import json, os, sys, time
folder = sys.argv[1]
def read(name):
    try:
        return json.load(open(f"{folder}/{name}"))["step"]
    except OSError:
        return 0
def write(name, step):
    with open(f"{folder}/{name}.draft", "w") as file:
        json.dump({"step": step}, file)
    os.replace(f"{folder}/{name}.draft", f"{folder}/{name}")
step = read("checkpoint")
while True:
    step += 1
    time.sleep(0.005)
    write("progress", step)
    if step % 500 == 0:
        write("checkpoint", step)
"""


@pytest.mark.integration
def test_a_trainer_killed_between_checkpoints_loses_what_it_did_since_the_last(tmp_path: Path) -> None:
    mark = new_id("mark")
    loop = f'while true; do {sys.executable} -c "$PROGRAM" {tmp_path}; done'
    environment = {**os.environ, "ASSAY_GROUP": mark, "PROGRAM": TRAINER}
    with subprocess.Popen(["bash", "-c", loop], env=environment) as supervisor:
        try:
            arguments: dict[str, Any] = {
                "process": {"environ": {"ASSAY_GROUP": mark}, "cmdline": r"^\S*python\S* -c"},
                "count": 1,
                "progress": str(tmp_path / "progress"),
                "within_seconds": 60,
            }
            deadline = timezone.now() + timedelta(seconds=60)
            while not (tmp_path / "checkpoint").exists() or not 50 < _step(tmp_path, "progress") % 500 < 200:
                assert timezone.now() < deadline
            assert "count the steps" in plan_action("trainer.kill", arguments).summary
            checkpoint = _step(tmp_path, "checkpoint")
            result = run_action("trainer.kill", arguments, idempotency_key="k")
            assert result.ok, result.error
            lost = result.output["steps_lost"]
            assert result.output["went_on_after"] >= checkpoint
            assert 0 < lost < 500
            assert lost == result.output["step_when_killed"] - result.output["went_on_after"]
            refused = run_action("trainer.kill", {**arguments, "most_steps_lost": 0}, idempotency_key="k")
            assert refused.ok or "steps are lost" in refused.error
        finally:
            family = [*psutil.Process(supervisor.pid).children(recursive=True)]
            supervisor.kill()
            for one in family:
                one.kill()


def _step(folder: Path, name: str) -> int:
    return int(json.loads((folder / name).read_text())["step"])


@pytest.mark.django_db
@pytest.mark.integration
def test_a_run_that_ends_leaves_what_it_spent_and_how_long_it_took(experiment: Experiment) -> None:
    run = running(experiment)
    run.recovery_seconds = 4.0
    finish_run(run)
    run.refresh_from_db()
    assert run.recovery_seconds == 4.0
    assert run.budgets_at_end == run.budgets_at_start
    assert run.compiled["method"][0]["provider"]["func"] == "inject_fault"
    assert len(run.compiled_sha256) == 64

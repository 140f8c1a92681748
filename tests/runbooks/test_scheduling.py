"""Runs that start by themselves, and runbooks that nobody exercises."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine

from accounts.data import Role
from catalog.models import ActionItem
from core.work import drain
from delivery.models import Delivery
from demo.services import load_organization
from ledger.selectors import entries
from runbooks.data import EXERCISE_DAYS, RunState
from runbooks.models import Runbook, RunbookRun, RunStep
from runbooks.services import judge_exercises, start_scheduled_runs
from tests.runbooks.conftest import Bench, check, step
from tests.runbooks.test_runs import died_in_the_middle

pytestmark = pytest.mark.django_db
BERLIN = ZoneInfo("Europe/Berlin")
NIGHTLY = "schedule: {cron: '30 3 * * *', zone: Europe/Berlin}\n"
EVENING = datetime(2026, 10, 24, 20, 0, tzinfo=BERLIN)


def go_on(until: datetime) -> int:
    with time_machine.travel(until, tick=False):
        started = start_scheduled_runs()
        drain("runbooks.advance")
    return started


def test_a_turn_starts_one_run_in_its_zone_also_when_the_clocks_change(bench: Bench) -> None:
    bench.apply(check("look"), front=NIGHTLY)
    assert go_on(EVENING) == 0
    assert go_on(EVENING.replace(hour=23)) == 0
    # The night when 02:00 to 03:00 comes twice.
    morning = datetime(2026, 10, 25, 3, 31, tzinfo=BERLIN)
    assert go_on(morning) == 1
    assert go_on(morning + timedelta(minutes=1)) == 0
    run = RunbookRun.objects.get()
    assert run.trigger == "schedule 2026-10-25T03:30:00+01:00"
    assert run.state == RunState.SUCCEEDED


def test_turns_that_were_missed_run_once_and_late(bench: Bench) -> None:
    bench.apply(check("look"), front=NIGHTLY)
    go_on(EVENING)
    assert go_on(EVENING + timedelta(days=5)) == 1
    assert RunbookRun.objects.get().trigger == "schedule 2026-10-29T03:30:00+01:00"


def test_what_nobody_operates_looks_alone_and_waits_before_it_changes(bench: Bench) -> None:
    bench.person("alice", Role.RESPONDER)
    bench.apply(check("look") + step("act"), front=NIGHTLY)
    go_on(EVENING)
    go_on(EVENING + timedelta(days=1))
    run = RunbookRun.objects.get()
    assert (run.state, bench.look.names, bench.change.names) == (RunState.WAITING, ["look"], [])


def of_tier_one(bench: Bench) -> Runbook:
    load_organization(port=8000)
    bench.apply(check("look"), front="services: [gateway]\n")
    return Runbook.objects.get(slug="bench")


def test_a_runbook_of_tier_one_that_nobody_exercises_becomes_a_finding_until_it_is(bench: Bench) -> None:
    runbook = of_tier_one(bench)
    assert "bench" not in judge_exercises()
    known = datetime.now(UTC) - timedelta(days=EXERCISE_DAYS + 1)
    runbook.revisions.update(created_at=known)
    assert "bench" in judge_exercises()
    item = ActionItem.objects.get(source_key="runbook-exercise:bench")
    assert item.state == "open"
    judged = [one for one in entries(types=["runbook.exercise_judged"]) if one.subject == "runbook:bench"]
    assert {one.payload["overdue"] for one in judged if one.payload} == {False, True}
    run = bench.start(bench.person("admin", Role.ADMIN))
    assert run.state == RunState.SUCCEEDED
    assert "bench" not in judge_exercises()
    item.refresh_from_db()
    assert item.state != "open"


def test_a_step_of_unknown_outcome_pages_the_owner(bench: Bench) -> None:
    bench.person("alice", Role.RESPONDER)
    bench.apply(step("light", idempotency="none"), front="schedule: {cron: '0 0 1 1 *'}\n")
    run = bench.start()
    RunStep.objects.filter(run=run).update(state="pending", finished_at=None)
    RunbookRun.objects.filter(pk=run.pk).update(ended_at=None, finished_at=None, state="running")
    step_row = run.steps.get()
    step_row.attempts.all().delete()
    died_in_the_middle(run)
    drain("runbooks.advance")
    assert bench.states(run) == {"light": "unknown"}
    assert Delivery.objects.filter(subject__contains="nobody knows what became of light").exists()

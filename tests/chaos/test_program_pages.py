"""The builder, a run's page, comparison, coverage, findings and game days in the browser's eyes."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.data import Role, system_principal
from accounts.models import User
from chaos.data import FaultState, RunState, Verdict
from chaos.models import ChaosRun, Experiment, Fault
from chaos.program_models import ChaosFinding, GameDay, GameDaySession
from chaos.services import apply_documents
from chaos.services.faults import note
from chaos.services.findings import judge_run
from core.identifiers import new_id
from core.parsing import load_yaml_documents
from tests.chaos.conftest import load_chaos_world, person
from tests.chaos.test_programme import GAME_DAY

pytestmark = pytest.mark.django_db
SITE = system_principal("test")


@pytest.fixture(autouse=True)
def world(db: None) -> None:
    load_chaos_world()
    person("charlie")
    person("victor", Role.VIEWER)


def client_of(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client


def a_run(verdict: Verdict, **changes: Any) -> ChaosRun:
    experiment = Experiment.objects.get(slug="model-servers-freeze")
    now = timezone.now()
    run = ChaosRun.objects.create(
        **{
            "reference": new_id("run"),
            "revision": experiment.revisions.get(),
            "plan_sha256": "ab" * 32,
            "state": RunState.FINISHED,
            "verdict": verdict,
            "reason": "the steady state did not return in time",
            "requested_by": SITE.reference,
            "requested_at": now,
            "started_at": now,
            "ended_at": now,
            "finished_at": now,
            "deadline_at": now,
            "due_at": now,
            **changes,
        }
    )
    judge_run(run)
    return run


def test_a_run_that_goes_on_shows_how_far_it_is_and_one_button_that_stops_it() -> None:
    run = a_run(Verdict.ABORTED, state=RunState.RUNNING, ended_at=None, finished_at=None)
    ChaosRun.objects.update(verdict="")
    note(run, "probe", "the steady state holds")
    note(run, "watcher", "stopped by system:chaos-watcher: incidents: open: INC-1")
    page = client_of("olga").get(f"/chaos/runs/{run.reference}/").content.decode()
    assert page.count("Stop and undo</button>") == 2
    assert "Holding the faults" in page
    for lane in ("gateway-ttft burn", "Faults", "Probes", "Watcher"):
        assert lane in page
    assert "left" in page
    assert "Stop and undo" not in client_of("victor").get(f"/chaos/runs/{run.reference}/").content.decode()


def test_a_dirty_run_is_cleared_with_a_reason_by_who_may() -> None:
    run = a_run(Verdict.DIRTY)
    now = timezone.now()
    Fault.objects.create(
        run=run,
        position=0,
        action="process.stop",
        arguments={"process": {"cmdline": "^no-such$"}},
        targets=["server-1"],
        state=FaultState.DIRTY,
        intended_at=now,
        injected_at=now,
        expires_at=now,
    )
    path = f"/chaos/runs/{run.reference}/"
    assert "could not be undone" in client_of("olga").get(path).content.decode()
    client_of("olga").post(path, {"action": "clear", "reason": ""})
    assert run.faults.get().state == FaultState.DIRTY
    assert client_of("victor").post(path, {"action": "clear", "reason": "mine"}).status_code == 403
    client_of("olga").post(path, {"action": "clear", "reason": "restarted by hand"})
    assert run.faults.get().state == FaultState.CLEARED


def test_two_runs_stand_side_by_side_and_what_differs_is_marked() -> None:
    first, second = a_run(Verdict.PASSED, recovery_seconds=3.0), a_run(Verdict.FAILED)
    page = client_of("olga").get(f"/chaos/runs/{second.reference}/beside/{first.reference}/").content.decode()
    assert "differs" in page
    assert "3.0 s" in page
    assert client_of("charlie").get(f"/chaos/runs/{second.reference}/beside/{first.reference}/").status_code == 404


def test_the_builder_shows_the_plan_of_what_is_written_and_keeps_nothing_until_it_is_saved() -> None:
    client = client_of("olga")
    page = client.get("/chaos/new/?from=model-servers-freeze").content.decode()
    assert "What would be hurt" in page
    begun = client.get("/chaos/new/?template=replica-freeze&service=gateway&slo=gateway-ttft&group=x").content.decode()
    assert "gateway-replica-freeze" in begun
    assert not Experiment.objects.filter(slug="gateway-replica-freeze").exists()
    text = "apiVersion: assay/v1\nkind: Experiment\nmetadata: {name: x}\nspec: {}\n"
    answer = client.post("/chaos/new/", {"text": text}, headers={"HX-Request": "true"}).content.decode()
    assert "hypothesis" in answer
    assert client.post("/chaos/new/", {"text": text}).status_code == 400
    open_place = client.get("/chaos/new/?template=replica-freeze&service=gateway").content.decode()
    assert "Not filled in yet: group." in open_place
    assert "{slo}" not in open_place, "the service's own SLO is taken"
    assert client_of("victor").get("/chaos/new/").status_code == 403
    assert client_of("charlie").get("/chaos/new/").status_code == 404


def test_what_is_written_well_is_saved() -> None:
    client = client_of("olga")
    context = client.get("/chaos/new/?template=replica-freeze&service=gateway&slo=gateway-ttft&group=x").context
    answer = client.post("/chaos/new/", {"text": context["text"]})
    assert answer.headers["Location"] == "/chaos/gateway-replica-freeze/"
    assert Experiment.objects.filter(slug="gateway-replica-freeze").exists()


def test_coverage_shows_what_was_never_tried() -> None:
    a_run(Verdict.PASSED)
    page = client_of("victor").get("/chaos/coverage/").content.decode()
    for text in ("never", "PASSED 0 min", "Try next"):
        assert text in page
    assert "Write an experiment" not in page
    assert client_of("charlie").get("/chaos/coverage/").status_code == 404


def test_a_finding_is_mended_on_its_page() -> None:
    a_run(Verdict.FAILED)
    finding = ChaosFinding.objects.get()
    path = f"/chaos/findings/{finding.pk}/"
    assert "It is mended" not in client_of("victor").get(path).content.decode()
    client_of("olga").post(path, {"how": "a timeout"})
    assert "the next run that passes proves it" in client_of("olga").get(path).content.decode()
    assert client_of("charlie").get(path).status_code == 404


def test_a_game_day_is_led_on_its_page() -> None:
    text = GAME_DAY.replace("run: freeze", "run: model-servers-freeze").encode()
    apply_documents(principal=SITE, documents=load_yaml_documents(text, source="g"))
    client = client_of("olga")
    assert "Tell support" in client.get("/chaos/game-days/rehearsal/").content.decode()
    assert client_of("charlie").get("/chaos/game-days/rehearsal/").status_code == 404
    session = client.post("/chaos/game-days/rehearsal/").headers["Location"]
    assert "Step 1 of 3" in client.get(session).content.decode()
    assert client_of("victor").post(session, {"action": "done"}).status_code == 403
    client.post(session, {"action": "done", "note": "told"})
    assert "Run model-servers-freeze" in client.get(session).content.decode()
    assert "approval" in client.post(session, {"action": "run"}, follow=True).content.decode()  # a guard refuses
    client.post(session, {"action": "end", "note": "learned"})
    assert "learned" in client.get(session).content.decode()
    assert GameDaySession.objects.get().ended_at is not None
    assert GameDay.objects.get(slug="rehearsal").sessions.count() == 1


def test_the_kill_switch_says_whether_it_was_tested() -> None:
    assert "has not yet" in client_of("olga").get("/chaos/kill-switch/").content.decode()

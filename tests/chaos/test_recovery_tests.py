"""Recovery tests as code, on their calendar, on pages and by REST, and what becomes of a run."""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client
from django.utils import timezone

from accounts.data import system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_user
from catalog.models import ActionItem, Activity, Service
from chaos.data import RunState, Verdict
from chaos.domain.recovery_measure import Marker
from chaos.recovery_models import RecoveryTest, RecoveryTestRun
from chaos.recovery_selectors import spec_of_run
from chaos.services import engage_kill_switch
from chaos.services.recovery import (
    RecoveryRefusedError,
    apply_recovery_documents,
    record_decision,
    request_recovery_run,
    start_due_tests,
)
from chaos.services.recovery_context import PREFIX, DrillRefusedError, DrillResult
from chaos.services.recovery_dependency import take_away
from chaos.services.recovery_findings import clear_recovery_run
from chaos.services.recovery_running import finish_recovery_run, finish_tabletop, reap_dead_recovery_runs
from core.parsing import InputRefusedError, load_yaml_documents
from delivery.models import Delivery
from demo.services import load_organization
from incidents.data import Severity
from incidents.services import Opening, open_incident
from ledger.selectors import entries

pytestmark = pytest.mark.django_db
SITE = system_principal("test")
TABLETOP = """
apiVersion: assay/v1
kind: RecoveryTest
metadata: {name: region-gone, title: The region is gone}
spec:
  service: gateway
  kind: tabletop
  scenario: The region does not answer since ten minutes.
  decisions:
    - {ask: "Do we move the traffic?", role: incident commander, within: 10m}
    - {ask: "Who tells the customers?", role: communications, within: 30m, absent: Alice}
"""


@pytest.fixture(scope="module", autouse=True)
def organization(undone_after_module: None) -> None:
    load_organization(port=8000)
    create_user(principal=SITE, username="charlie", password=None)


def apply(text: str) -> list[str]:
    return apply_recovery_documents(principal=SITE, documents=load_yaml_documents(text, source="t.yaml"), source="t")


def first() -> RecoveryTest:
    return RecoveryTest.objects.get(slug="assay-backup-restore")


def ask(name: str, path: str, data: dict[str, str] | None = None) -> Any:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client.get(path) if data is None else client.post(path, data)


def test_the_demo_has_its_own_restore_on_the_calendar() -> None:
    test = first()
    assert test.kind == "backup-restore"
    assert test.next_due_at is not None
    assert timezone.now() < test.next_due_at <= timezone.now() + timedelta(days=7)
    (entry,) = entries(types=["recovery.test_declared"], subjects=["recovery-test:assay-backup-restore"])
    assert entry.payload is not None
    assert entry.payload["schedule"] == "17 3 * * 1 Europe/Berlin"


def test_the_same_document_again_changes_nothing() -> None:
    assert apply(TABLETOP) == ["region-gone"]
    assert apply(TABLETOP) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("service: gateway", "service: nobody"), "slug of a service"),
        (("within: 10m", "within: soon"), "within"),
        (("kind: tabletop", "kind: prayer"), "kind"),
        (("kind: tabletop", "kind: failover"), "rehearsal belongs to"),
        (("  scenario", "  shell: rm\n  scenario"), "this key is not known here"),
        (("kind: tabletop", "kind: tabletop\n  schedule: {cron: '99 * * * *'}"), "five fields of cron"),
        (("kind: tabletop", "kind: tabletop\n  schedule: {cron: '1 * * * *', zone: Mars/Base}"), "a zone as"),
    ],
)
def test_a_bad_document_is_refused_whole_and_says_where(change: tuple[str, str], said: str) -> None:
    with pytest.raises(InputRefusedError, match=said):
        apply(TABLETOP.replace(*change))
    assert not RecoveryTest.objects.filter(slug="region-gone").exists()


def test_a_promise_below_the_resolution_is_refused_as_unmeasurable() -> None:
    Service.objects.filter(slug="assay").update(rpo=timedelta(seconds=1))
    with pytest.raises(RecoveryRefusedError, match=r"RPO 1 s is unmeasurable: the resolution is 10\.25 s"):
        request_recovery_run(principal=SITE, test=first())
    text = (Path(__file__).parents[2] / "demo/org/recovery.yaml").read_text().split("---")[0]
    with pytest.raises(InputRefusedError, match="unmeasurable"):
        apply(text.replace("assay-backup-restore", "finer"))


def test_only_those_who_may_run_chaos_start_it() -> None:
    for name in ("dana", "alice", "ada", "charlie"):
        with pytest.raises(PermissionDenied):
            request_recovery_run(principal=principal_for_user(user=User.objects.get(username=name)), test=first())
    run = request_recovery_run(principal=principal_for_user(user=User.objects.get(username="olga")), test=first())
    assert run.state == RunState.STARTING


def test_one_run_at_a_time_and_none_under_the_kill_switch() -> None:
    run = request_recovery_run(principal=SITE, test=first())
    with pytest.raises(RecoveryRefusedError, match="going on"):
        request_recovery_run(principal=SITE, test=first())
    assert Activity.objects.get(source_key=run.source_key).ended_at is None
    RecoveryTestRun.objects.update(state=RunState.FINISHED)
    engage_kill_switch(principal=SITE, reason="a real outage")
    with pytest.raises(RecoveryRefusedError, match="a real outage"):
        request_recovery_run(principal=SITE, test=first())


def test_a_turn_that_has_come_starts_once_and_missed_turns_are_counted() -> None:
    RecoveryTest.objects.filter(slug="assay-backup-restore").update(next_due_at=timezone.now() - timedelta(days=15))
    assert start_due_tests() == 1
    assert start_due_tests() == 0
    test = first()
    assert test.next_due_at is not None
    assert test.next_due_at > timezone.now()
    assert test.missed == 2
    RecoveryTest.objects.filter(slug="assay-backup-restore").update(next_due_at=timezone.now() - timedelta(seconds=1))
    assert start_due_tests() == 0, "one is going on"
    assert first().missed == 3


def test_a_failed_run_opens_a_follow_up_and_a_pass_closes_it() -> None:
    run = request_recovery_run(principal=SITE, test=first())
    result = DrillResult(scope="s", witness="w", data_passed=False)
    finish_recovery_run(run, spec=spec_of_run(run), result=result, left=["process 1"])
    assert run.verdict == Verdict.DIRTY
    item = ActionItem.objects.get(source_key__startswith="recovery-test:assay-backup-restore:")
    assert item.state == "open"
    assert Activity.objects.get(source_key=run.source_key).ended_at is not None
    (entry,) = entries(types=["recovery.test_finished"])
    assert entry.evidence_type == "DRT"
    assert entry.payload is not None
    assert entry.payload["outcome"] == "dirty"
    assert entry.payload["recovery_time_actual_milliseconds"] is None, "what was not measured is not a number"


def test_a_runner_that_died_is_cleaned_up_after() -> None:
    run = request_recovery_run(principal=SITE, test=first())
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    (folder / "key").write_text("secret")
    old = timezone.now() - timedelta(minutes=5)
    RecoveryTestRun.objects.update(state=RunState.RUNNING, heartbeat_at=old, folder=str(folder))
    assert reap_dead_recovery_runs() == 1
    run.refresh_from_db()
    assert (run.state, run.verdict, run.reason) == (RunState.FINISHED, Verdict.ABORTED, "the runner died")
    assert not folder.exists()


def test_a_tabletop_passes_when_each_decision_was_made_in_time() -> None:
    apply(TABLETOP)
    run = request_recovery_run(principal=SITE, test=RecoveryTest.objects.get(slug="region-gone"))
    assert record_decision(principal=SITE, run=run, number=0, decision="Yes, all of it")
    assert not record_decision(principal=SITE, run=run, number=0, decision="No"), "decided is decided"
    with pytest.raises(RecoveryRefusedError):
        record_decision(principal=SITE, run=run, number=7, decision="?")
    record_decision(principal=SITE, run=run, number=1, decision="Bob")
    finish_tabletop(principal=SITE, run=run)
    assert (run.verdict, run.reason) == (Verdict.PASSED, "2 of 2 decisions made, 2 of them in time")
    (entry,) = entries(types=["recovery.test_finished"])
    assert entry.payload is not None
    assert "Do we move the traffic? (incident commander): Yes, all of it" in str(entry.payload["decisions"])


def test_a_late_decision_fails_a_tabletop() -> None:
    apply(TABLETOP)
    run = request_recovery_run(principal=SITE, test=RecoveryTest.objects.get(slug="region-gone"))
    RecoveryTestRun.objects.update(started_at=timezone.now() - timedelta(minutes=12))
    record_decision(principal=SITE, run=run, number=0, decision="Yes")
    record_decision(principal=SITE, run=run, number=1, decision="Bob")
    finish_tabletop(principal=SITE, run=run)
    assert (run.verdict, run.reason) == (Verdict.FAILED, "2 of 2 decisions made, 1 of them in time")


def test_a_run_of_a_tabletop_is_worked_on_its_page() -> None:
    apply(TABLETOP)
    answer = ask("olga", "/recovery/region-gone/", {})
    path = answer["Location"]
    page = ask("alice", path).content.decode()
    assert "Do we move the traffic?" in page
    assert "Alice may not be asked" in page
    assert ask("dana", path, {"number": "0", "decision": "me"}).status_code == 403
    ask("alice", path, {"number": "0", "decision": "Yes, now"})
    assert "Yes, now" in ask("dana", path).content.decode()
    ask("alice", path, {"action": "finish"})
    assert RecoveryTestRun.objects.get().verdict == Verdict.FAILED


def test_what_was_never_measured_is_not_shown_as_a_number() -> None:
    page = ask("dana", "/recovery/assay-backup-restore/").content.decode()
    assert "not measured" in page
    assert "nobody knows how long recovery takes" in page
    assert "Run it now" not in page
    assert "Run it now" in ask("olga", "/recovery/assay-backup-restore/").content.decode()


@pytest.mark.parametrize("path", ["/recovery/assay-backup-restore/", "/recovery/runs/drt_unheard/", "/recovery/x/"])
def test_a_stranger_finds_nothing(path: str) -> None:
    assert ask("charlie", path).status_code == 404


@pytest.mark.parametrize("path", ["/recovery/", "/recovery/runs/", "/recovery/calendar/"])
def test_lists_refuse_a_stranger_and_other_methods(path: str) -> None:
    assert ask("charlie", path).status_code == 403
    assert ask("olga", path, {}).status_code == 405
    assert ask("dana", path).status_code == 200


def test_rest_asks_for_a_run_and_says_why_not() -> None:
    assert ask("dana", "/api/v1/recovery/tests/").json()["results"][0]["slug"] == "assay-backup-restore"
    path = "/api/v1/recovery/tests/assay-backup-restore/run/"
    client = Client()
    client.force_login(User.objects.get(username="dana"))
    assert client.post(path).status_code == 403
    client.force_login(User.objects.get(username="olga"))
    assert client.post(path).status_code == 201
    again = client.post(path)
    assert again.status_code == 409
    assert "going on" in again.json()["detail"]
    assert ask("dana", "/api/v1/recovery/runs/").json()["results"][0]["test"] == "assay-backup-restore"
    assert ask("charlie", "/api/v1/recovery/runs/").json()["results"] == []


def measured_in(seconds: float) -> DrillResult:
    """A restore in which the client was without answers for so long."""
    back = 10.2 + seconds
    before = [Marker(number, number / 4, number / 4 + 0.01, True) for number in range(1, 41)]
    after = [Marker(100 + number, back + number / 4, back + number / 4, True) for number in range(20)]
    result = DrillResult(scope="s", witness="w", data_passed=True, markers=[*before, *after])
    result.survivors = {one.number for one in result.markers}
    result.fault_at = result.fault_done = 10.1
    return result


def finish(result: DrillResult, **more: Any) -> RecoveryTestRun:
    run = request_recovery_run(principal=SITE, test=first())
    finish_recovery_run(run, spec=spec_of_run(run), result=result, **more)
    return run


def test_a_recovery_that_takes_longer_than_it_did_is_told_and_followed_up() -> None:
    for _ in range(3):
        assert finish(measured_in(20)).result["regression"] == ""
    run = finish(measured_in(120))
    assert run.verdict == Verdict.PASSED, "it is within the promise, and still worse"
    assert "6.0 times the usual 20.10 s" in run.result["regression"]
    item = ActionItem.objects.get(source_key__startswith="recovery-trend:assay-backup-restore:")
    assert item.state == "open"
    told = Delivery.objects.filter(subject__contains="longer than it did").values_list("address", flat=True)
    assert f"user:{User.objects.get(username='olga').pk}" in told
    entry = entries(types=["recovery.test_finished"]).order_by("-recorded_at")[0]
    assert entry.payload is not None
    assert "6.0 times" in str(entry.payload["regression"])
    finish(measured_in(20))
    item.refresh_from_db()
    assert item.state != "open"


def test_a_dirty_run_holds_its_test_until_it_is_cleared_with_a_reason() -> None:
    run = finish(measured_in(20), left=["process 1"])
    assert run.verdict == Verdict.DIRTY
    with pytest.raises(RecoveryRefusedError, match="left something behind"):
        request_recovery_run(principal=SITE, test=first())
    RecoveryTest.objects.filter(slug="assay-backup-restore").update(next_due_at=timezone.now())
    assert start_due_tests() == 0
    assert "left something behind" in first().last_refusal
    olga = principal_for_user(user=User.objects.get(username="olga"))
    with pytest.raises(RecoveryRefusedError, match="Say what"):
        clear_recovery_run(principal=olga, run=run, reason=" ")
    with pytest.raises(PermissionDenied):
        clear_recovery_run(principal=principal_for_user(user=User.objects.get(username="dana")), run=run, reason="x")
    clear_recovery_run(principal=olga, run=run, reason="looked at the host")
    with pytest.raises(RecoveryRefusedError, match="once"):
        clear_recovery_run(principal=olga, run=run, reason="again")
    assert request_recovery_run(principal=SITE, test=first()).state == RunState.STARTING


def test_what_was_asked_before_is_in_the_ledger() -> None:
    run = request_recovery_run(principal=SITE, test=first())
    (entry,) = entries(types=["recovery.test_started"])
    assert entry.payload is not None
    guards = cast("list[dict[str, Any]]", entry.payload["guards"])
    assert {one["guard"] for one in guards} == {"kill switch", "hold", "resolution", "clean", "alone"}
    assert entry.payload["run"] == run.reference


def test_the_calendar_starts_nothing_on_a_service_with_an_open_incident() -> None:
    opening = Opening(title="Assay is slow", severity=Severity.SEV2, service_ids=[first().service_id])
    open_incident(principal=SITE, opening=opening)
    RecoveryTest.objects.filter(slug="assay-backup-restore").update(next_due_at=timezone.now())
    assert start_due_tests() == 0
    assert "incidents: open" in first().last_refusal
    assert first().missed == 1
    assert request_recovery_run(principal=SITE, test=first()).state == RunState.STARTING, "by hand it starts"


def test_a_calendar_may_ask_for_a_budget_and_spread_its_turns() -> None:
    text = (Path(__file__).parents[2] / "demo/org/recovery.yaml").read_text().split("---")[0]
    apply(text.replace("zone: Europe/Berlin", "zone: UTC, jitter: 2h, when_budget_left_percent: 60"))
    due = first().next_due_at
    assert due is not None
    nominal = due.replace(hour=3, minute=17, second=0, microsecond=0)
    assert nominal < due <= nominal + timedelta(hours=2)
    RecoveryTest.objects.filter(slug="assay-backup-restore").update(next_due_at=timezone.now())
    assert start_due_tests() == 0
    assert "error budget" in first().last_refusal, "what is not measured is a no"


def test_who_is_absent_decides_nothing() -> None:
    apply(TABLETOP)
    run = request_recovery_run(principal=SITE, test=RecoveryTest.objects.get(slug="region-gone"))
    alice, bob = (principal_for_user(user=User.objects.get(username=name)) for name in ("alice", "bob"))
    with pytest.raises(RecoveryRefusedError, match="Alice may not be asked"):
        record_decision(principal=alice, run=run, number=1, decision="I do")
    assert record_decision(principal=alice, run=run, number=0, decision="Yes")
    assert record_decision(principal=bob, run=run, number=1, decision="Bob does")


def test_the_calendar_shows_what_ran_and_every_turn_that_is_due() -> None:
    apply(TABLETOP)
    run = finish(measured_in(20))
    page = ask("dana", "/recovery/calendar/").content.decode()
    assert page.count("/recovery/assay-backup-restore/") >= 7, "weekly, for two months"
    assert f"/recovery/runs/{run.reference}/" in page
    assert "this week" in page
    assert "The region is gone" in page.split("Only by hand")[1]


def test_a_run_that_goes_on_shows_its_step_and_how_long_it_will_take() -> None:
    before = finish(measured_in(20))
    steps = [
        {"name": name, "state": "done", "started_at": before.requested_at.isoformat(), "seconds": 9.0} for name in "abc"
    ]
    RecoveryTestRun.objects.filter(pk=before.pk).update(
        steps=steps, started_at=before.requested_at, ended_at=before.requested_at + timedelta(seconds=90)
    )
    run = request_recovery_run(principal=SITE, test=first())
    RecoveryTestRun.objects.filter(pk=run.pk).update(
        steps=[steps[0], {**steps[1], "state": "running", "name": "restore"}]
    )
    page = ask("dana", run.get_absolute_url()).content.decode()
    assert "Restore" in page
    assert "1 of 3" in page
    assert "min" in page or "s left" in page
    assert 'hx-trigger="every 2s"' in page


def test_a_dirty_run_is_cleared_on_its_page_by_those_who_may() -> None:
    run = finish(measured_in(20), left=["process 1"])
    assert "Clear what was left behind" not in ask("dana", run.get_absolute_url()).content.decode()
    assert "Clear what was left behind" in ask("olga", run.get_absolute_url()).content.decode()
    assert "left something behind" in ask("olga", "/recovery/assay-backup-restore/").content.decode()
    ask("olga", run.get_absolute_url(), {"action": "clear", "reason": "looked at the host"})
    assert "looked at the host" in ask("dana", run.get_absolute_url()).content.decode()


def test_a_figure_is_shown_with_its_error_bar_and_worse_is_said() -> None:
    for seconds in (20, 20, 20, 120):
        finish(measured_in(seconds))
    assert "2.0 min ± 10.25 s" in ask("dana", "/recovery/").content.decode()
    assert "6.0 times the usual" in ask("dana", "/recovery/assay-backup-restore/").content.decode()


LOSS = """
apiVersion: assay/v1
kind: RecoveryTest
metadata: {name: features-gone, title: No features}
spec:
  service: gateway
  kind: dependency-loss
  loss:
    experiment: feature-store-slow
    client: {action: http.check, arguments: {url: "http://127.0.0.1:1/", allow: [127.0.0.1]}}
"""


def test_a_loss_names_an_experiment_that_is_known() -> None:
    assert apply(LOSS) == ["features-gone"]
    with pytest.raises(InputRefusedError, match="name of an experiment"):
        apply(LOSS.replace("feature-store-slow", "unheard-of").replace("features-gone", "other"))
    with pytest.raises(InputRefusedError, match="loss belongs to dependency-loss"):
        apply(LOSS.replace("kind: dependency-loss", "kind: backup-restore"))


def test_a_loss_is_refused_when_a_guard_of_its_experiment_says_no() -> None:
    apply(LOSS)
    test = RecoveryTest.objects.get(slug="features-gone")
    run = request_recovery_run(principal=SITE, test=test)
    assert not Activity.objects.filter(source_key=run.source_key).exists(), "it would hold the experiment's guards back"
    with pytest.raises(DrillRefusedError, match="nobody else has approved this plan") as refused:
        take_away(run, spec_of_run(run))
    finish_recovery_run(run, spec=spec_of_run(run), result=None, problem="x", refused=str(refused.value))
    assert run.verdict == Verdict.REFUSED
    assert "approval" in run.reason
    assert Activity.objects.get(source_key=run.source_key).ended_at is not None

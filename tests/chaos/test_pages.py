from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.data import system_principal
from accounts.models import User
from accounts.services import create_user, deactivate_user
from chaos.models import ApprovalRequest, ChaosRun, KillSwitch, PlanApproval
from core.work import drain_all
from delivery.models import Notification
from tests.chaos.conftest import load_chaos_world

pytestmark = pytest.mark.django_db
EXPERIMENT = "/chaos/model-servers-freeze/"


@pytest.fixture(scope="module", autouse=True)
def organization(undone_after_module: None) -> None:
    load_chaos_world()
    create_user(principal=system_principal("test"), username="charlie", password=None)


def ask(name: str, path: str, data: dict[str, str] | None = None) -> Any:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client.get(path) if data is None else client.post(path, data)


def test_the_plan_shows_every_guard_with_its_answer() -> None:
    page = ask("olga", EXPERIMENT).content.decode()
    for guard in ("environment", "kill switch", "blast radius", "approval", "target lock", "incidents", "error budget"):
        assert guard in page
    assert "nobody else has approved this plan" in page


def test_a_run_that_a_guard_refuses_does_not_start_and_says_why() -> None:
    client = Client()
    client.force_login(User.objects.get(username="olga"))
    page = client.post(EXPERIMENT, {"action": "run"}, follow=True).content.decode()
    assert not ChaosRun.objects.exclude(verdict="refused").exists()
    assert "approval" in page


def test_the_list_says_what_each_experiment_last_came_to() -> None:
    def shown(outcome: str) -> bool:
        return EXPERIMENT in ask("olga", f"/chaos/?outcome={outcome}").content.decode()

    assert (shown("never"), shown("refused")) == (True, False)
    ask("olga", EXPERIMENT, {"action": "run"})
    assert (shown("never"), shown("refused")) == (False, True)
    run = ChaosRun.objects.get()
    ChaosRun.objects.filter(pk=run.pk).update(verdict="", state="running")
    assert "RUNNING" in ask("olga", "/chaos/").content.decode().upper()


def test_only_an_approver_approves() -> None:
    assert ask("olga", EXPERIMENT, {"action": "approve"}).status_code == 403
    assert not PlanApproval.objects.exists()
    assert ask("bob", EXPERIMENT, {"action": "approve"}).status_code == 302
    assert PlanApproval.objects.count() == 1


def test_an_approval_ends_with_the_account_of_whoever_gave_it() -> None:
    ask("bob", EXPERIMENT, {"action": "approve"})
    deactivate_user(principal=system_principal("test"), user=User.objects.get(username="bob"))
    drain_all()
    assert PlanApproval.objects.get().expires_at <= timezone.now()
    ask("olga", EXPERIMENT, {"action": "run"})
    assert not ChaosRun.objects.exclude(verdict="refused").exists()


def test_who_asks_for_approval_puts_the_plan_before_those_who_may_give_it() -> None:
    assert "Ask for approval" in ask("olga", EXPERIMENT).content.decode()
    assert ask("dana", EXPERIMENT, {"action": "ask"}).status_code == 403
    for _ in range(2):
        assert ask("olga", EXPERIMENT, {"action": "ask"}).status_code == 302
    asked = ApprovalRequest.objects.get()
    drain_all()
    assert Notification.objects.filter(title__contains="asks for approval").count() >= 1
    waiting = f"Approve {asked.revision.experiment}"
    assert waiting in ask("bob", "/").content.decode()
    assert waiting not in ask("olga", "/").content.decode()
    ask("bob", EXPERIMENT, {"action": "approve"})
    assert waiting not in ask("bob", "/").content.decode()
    assert ApprovalRequest.objects.get().settled_at is not None


def test_a_viewer_cannot_run() -> None:
    assert ask("dana", EXPERIMENT, {"action": "run"}).status_code == 403
    assert not ChaosRun.objects.exclude(verdict="refused").exists()


def test_the_kill_switch_is_engaged_by_a_responder_and_released_by_an_operator() -> None:
    assert "This field is required" in ask("alice", "/chaos/kill-switch/", {"reason": ""}).content.decode()
    ask("alice", "/chaos/kill-switch/", {"reason": "something else is on fire"})
    assert KillSwitch.objects.get().released_at is None
    assert "something else is on fire" in ask("dana", "/chaos/kill-switch/").content.decode()
    assert ask("dana", "/chaos/kill-switch/", {"action": "release"}).status_code == 403
    ask("olga", "/chaos/kill-switch/", {"action": "release"})
    assert KillSwitch.objects.get().released_at is not None


@pytest.mark.parametrize("path", [EXPERIMENT, "/chaos/kill-switch/", "/chaos/runs/chr_unheard/", "/chaos/unheard-of/"])
def test_a_stranger_finds_nothing(path: str) -> None:
    assert ask("charlie", path).status_code == 404


@pytest.mark.parametrize("path", ["/chaos/", "/chaos/runs/"])
def test_lists_refuse_a_stranger_and_other_methods(path: str) -> None:
    assert ask("charlie", path).status_code == 403
    assert ask("olga", path, {}).status_code == 405

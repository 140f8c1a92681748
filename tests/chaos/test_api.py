"""REST of chaos and drivers."""

from typing import Any

import pytest
from django.test import Client

from accounts.data import system_principal
from accounts.models import User
from accounts.services import create_user
from chaos.models import ChaosRun, Experiment, KillSwitch
from chaos.services import plan_run
from tests.chaos.conftest import load_chaos_world

pytestmark = pytest.mark.django_db
API = "/api/v1/chaos"
FREEZE = f"{API}/experiments/model-servers-freeze/"
DOCUMENT = {
    "apiVersion": "assay/v1",
    "kind": "Experiment",
    "metadata": {"name": "slow"},
    "spec": {
        "environment": "demo",
        "services": ["gateway"],
        "hypothesis": "It survives.",
        "faults": [
            {"action": "proxy.delay", "arguments": {"proxy": "feature-store", "milliseconds": 100}, "ttl": "30s"}
        ],
        "hold": "10s",
        "blast_radius": {"max_targets": 1},
        "steady_state": {"slos": ["gateway-ttft"]},
    },
}


@pytest.fixture(autouse=True)
def organization(db: None) -> None:
    load_chaos_world()
    create_user(principal=system_principal("test"), username="charlie", password=None)


def client_of(name: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=name))
    return client


def post(name: str, path: str, body: Any = None) -> Any:
    return client_of(name).post(path, body if body is not None else {}, content_type="application/json")


def test_experiments_are_read_with_what_they_say() -> None:
    client = client_of("dana")
    assert "model-servers-freeze" in [one["slug"] for one in client.get(f"{API}/experiments/").json()["results"]]
    one = client.get(FREEZE).json()
    assert one["services"] == ["gateway", "model-server"]
    assert one["definition"]["kind"] == "Experiment"


def test_an_experiment_is_applied_once_and_only_by_who_may_edit() -> None:
    assert post("olga", f"{API}/experiments/", DOCUMENT).json() == {"changed": ["slow"]}
    assert post("olga", f"{API}/experiments/", [DOCUMENT]).json() == {"changed": []}
    assert post("dana", f"{API}/experiments/", DOCUMENT).status_code == 403


def test_a_wrong_experiment_is_refused_with_its_place() -> None:
    wrong = {**DOCUMENT, "spec": {**DOCUMENT["spec"], "hold": "10 parsecs"}}  # type: ignore[dict-item]
    answer = post("olga", f"{API}/experiments/", wrong)
    assert answer.status_code == 400
    assert answer.json()["problems"][0]["where"] == "body spec.hold"
    assert not Experiment.objects.filter(slug="slow").exists()


def test_a_plan_says_what_every_guard_answers() -> None:
    plan = client_of("olga").get(f"{FREEZE}plan/").json()
    assert plan["plan_sha256"] == plan_run(experiment=Experiment.objects.get(slug="model-servers-freeze")).sha256
    assert plan["faults"][0]["action"] == "process.stop"
    assert plan["allowed"] is False
    assert "approval" in {guard["guard"] for guard in plan["guards"] if not guard["allowed"]}


def test_a_refused_start_says_which_guards_refuse() -> None:
    answer = post("olga", f"{FREEZE}start/")
    assert answer.status_code == 409
    assert any(guard["guard"] == "approval" and not guard["allowed"] for guard in answer.json()["guards"])
    assert not ChaosRun.objects.exclude(verdict="refused").exists()
    assert post("dana", f"{FREEZE}start/").status_code == 403


def test_an_approver_approves() -> None:
    assert post("olga", f"{FREEZE}approve/").status_code == 403
    answer = post("bob", f"{FREEZE}approve/")
    assert answer.status_code == 201
    assert set(answer.json()) == {"plan_sha256", "approved_by", "expires_at"}


def test_the_kill_switch_is_engaged_seen_and_released() -> None:
    path = f"{API}/kill-switch/"
    assert client_of("dana").get(path).status_code == 204
    assert post("alice", path, {}).status_code == 400
    assert post("alice", path, {"reason": "a real outage"}).json()["reason"] == "a real outage"
    assert client_of("dana").get(path).json()["engaged_by"]
    assert client_of("dana").delete(path).status_code == 403
    assert client_of("olga").delete(path).status_code == 204
    assert KillSwitch.objects.get().released_at is not None


def test_actions_come_with_the_schema_of_their_arguments() -> None:
    found = {one["action"]: one for one in client_of("dana").get("/api/v1/drivers/actions/").json()}
    assert found["proxy.delay"]["arguments"]["properties"]["milliseconds"]["maximum"] == 60_000
    assert client_of("dana").get("/api/v1/drivers/actions/process.stop/").json()["reversible"] is True


def test_a_plan_of_an_action_is_for_those_who_act() -> None:
    path = "/api/v1/drivers/actions/process.stop/plan/"
    body = {"arguments": {"process": {"environ": {"ASSAY_TARGET": "nobody-has-this"}}}}
    answer = post("olga", path, body).json()
    assert (answer["targets"], answer["matched"], answer["supported"]) == ([], 0, True)
    assert post("dana", path, body).status_code == 403
    assert post("olga", path, {"arguments": {"process": {}}}).status_code == 400
    assert post("olga", "/api/v1/drivers/actions/process.explode/plan/", body).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        f"{API}/experiments/",
        FREEZE,
        f"{FREEZE}plan/",
        f"{API}/runs/",
        f"{API}/kill-switch/",
        "/api/v1/drivers/actions/",
    ],
)
def test_a_stranger_and_nobody_are_refused(path: str) -> None:
    assert client_of("charlie").get(path).status_code == 403
    assert Client().get(path).status_code in {401, 403}

"""What an agent believes, what it writes down, and what it does without its site."""

import json
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.test import Client
from django.utils import timezone

from accounts.data import system_principal
from core.parsing import InputRefusedError
from drivers.agent.bundle import build_agent
from drivers.agent.host import OrderRefusedError, answer_question
from drivers.agent.journal import Journal, watch
from drivers.agent.signing import WrongSignatureError, opened, signed
from drivers.models import Agent, AgentOrder
from drivers.services import plan_action, probe_action
from drivers.services.agents import add_agent, ask_agent, revoke_agent, split_host
from ledger.selectors import entries
from tests.chaos.own_site import sleepers
from tests.drivers.conftest import wait_for

KEY, NONCE = "ab" * 32, "cd" * 16
SITE = system_principal("test")


def test_what_the_site_signed_for_this_question_is_opened() -> None:
    orders = [{"id": 1, "question": "probe"}]
    assert opened(signed(orders, key=KEY, nonce=NONCE), key=KEY, nonce=NONCE) == orders


@pytest.mark.parametrize(
    "answer",
    [
        signed([{"id": 1}], key="00" * 32, nonce=NONCE),
        signed([{"id": 1}], key=KEY, nonce="ee" * 16),  # an answer to an earlier question
        {**signed([], key=KEY, nonce=NONCE), "body": json.dumps({"orders": [{"id": 1}]})},
        {"body": json.dumps({"orders": [{"id": 1}]})},
        [],
        None,
    ],
)
def test_what_was_changed_made_up_or_used_before_is_not(answer: Any) -> None:
    with pytest.raises(WrongSignatureError):
        opened(answer, key=KEY, nonce=NONCE)


def test_an_agent_does_what_its_own_configuration_allows_and_nothing_else() -> None:
    with pytest.raises(OrderRefusedError, match="does not allow"):
        answer_question("plan", "process.kill", {"process": {"cmdline": "^x$"}}, {}, allow=["network.*"])
    with pytest.raises(OrderRefusedError, match="no action"):
        answer_question("plan", "postgresql.kill", {}, {}, allow=["*"])
    with pytest.raises(OrderRefusedError, match="empty selector"):
        answer_question("plan", "process.kill", {"process": {}}, {}, allow=["*"])
    with pytest.raises(OrderRefusedError, match="not a question"):
        answer_question("shell", "process.kill", {"process": {"cmdline": "^x$"}}, {}, allow=["*"])


@pytest.fixture(scope="module")
def agent_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("agent") / "assay-agent.pyz"
    assert build_agent(file) < 20_000_000
    return file


def test_the_agent_is_one_file_that_starts_without_anything_of_the_site(agent_file: Path, tmp_path: Path) -> None:
    (tmp_path / "agent.json").write_text(
        json.dumps({"site": "http://127.0.0.1:9", "name": "a", "token": "t", "key": KEY, "state": str(tmp_path)})
    )
    done = subprocess.run(
        [sys.executable, "-I", agent_file, "faults", "--config", tmp_path / "agent.json"],
        env={"XDG_CACHE_HOME": str(tmp_path / "cache")},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def _started_from_the_file(agent_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_AGENT_FILE", str(agent_file))


def entry(mark: str) -> dict[str, Any]:
    arguments = {"process": {"environ": {"ASSAY_TARGET": mark}}}
    more = {"ttl_seconds": 60, "key": "k"}
    foreseen = answer_question("foresee", "process.stop", arguments, more, allow=["*"])["foreseen"]
    return {"action": "process.stop", "arguments": arguments, "foreseen": foreseen, "ttl_seconds": 60}


@pytest.mark.integration
@pytest.mark.usefixtures("_started_from_the_file")
@pytest.mark.parametrize(
    ("ttl", "dead_man", "said"), [(1.0, 60.0, "its time was up"), (60.0, 1.0, "was not heard for 1 s")]
)
def test_a_fault_ends_when_its_time_is_up_or_its_site_is_silent(
    tmp_path: Path, ttl: float, dead_man: float, said: str
) -> None:
    journal = Journal(tmp_path)
    journal.heard()
    with sleepers(1) as ((mark, process),):
        fault = {**entry(mark), "ttl_seconds": ttl}
        journal.intend("assay_1", fault, dead_man_seconds=dead_man)
        process.suspend()
        # No agent runs: its watchdog, in a session of its own, is all there is.
        wait_for(lambda: process.status() != psutil.STATUS_STOPPED, seconds=30)
        wait_for(lambda: not list(journal.faults()))
        wait_for(lambda: said in (tmp_path / "undone.log").read_text(), seconds=30)


@pytest.mark.integration
@pytest.mark.usefixtures("_started_from_the_file")
def test_a_fault_that_was_taken_back_has_no_watchdog_any_more(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.heard()
    with sleepers(1) as ((mark, _),):
        watchdog = psutil.Process(journal.intend("assay_1", entry(mark), dead_man_seconds=60))
        journal.forget("assay_1")
        wait_for(lambda: not watchdog.is_running() or watchdog.status() == psutil.STATUS_ZOMBIE, seconds=30)
    watch(tmp_path, "assay_1.json")  # nothing is there: it returns


def test_a_key_that_is_a_path_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name"):
        Journal(tmp_path / "a").intend("../../x", {"ttl_seconds": 1}, dead_man_seconds=1)


def test_silence_counts_from_the_last_answer_and_is_endless_before_the_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.silent_for() == float("inf")
    journal.heard()
    assert journal.silent_for() < 5
    (tmp_path / "heard").write_text(json.dumps({"at": time.monotonic() + 1000}))  # written before the last boot
    assert journal.silent_for() == float("inf")


def poll(token: str, **changes: Any) -> Any:
    body = {"nonce": NONCE, "results": [], "faults": [], "host": {}, **changes}
    return Client().post(
        "/api/v1/agents/poll/", body, content_type="application/json", headers={"Authorization": f"Agent {token}"}
    )


@pytest.mark.django_db
def test_only_an_agent_that_was_added_and_not_revoked_gets_orders() -> None:
    agent, secrets = add_agent(principal=SITE, slug="gpu-1")
    now = timezone.now()
    AgentOrder.objects.create(
        agent=agent, question="probe", action="process.stop", created_at=now, expires_at=now + timedelta(seconds=10)
    )
    stale = AgentOrder.objects.create(
        agent=agent, question="inject", action="process.stop", created_at=now, expires_at=now - timedelta(seconds=1)
    )
    for wrong in ("", "made-up"):
        assert poll(wrong).status_code == 403
    assert poll(secrets["token"], nonce="short").status_code == 400
    (order,) = opened(poll(secrets["token"]).json(), key=secrets["key"], nonce=NONCE)
    assert order["question"] == "probe"  # what nobody waits for any more is not handed out
    assert opened(poll(secrets["token"]).json(), key=secrets["key"], nonce=NONCE) == []  # nor anything twice
    poll(
        secrets["token"],
        results=[{"order": order["id"], "answer": {"value": {}}}, {"order": stale.pk + 99, "answer": {}}],
    )
    assert AgentOrder.objects.get(pk=order["id"]).answer == {"value": {}}
    assert revoke_agent(principal=SITE, slug="gpu-1")
    assert poll(secrets["token"]).status_code == 403
    assert {entry.payload["action"] for entry in entries(types=["audit.action"]) if entry.payload} >= {
        "agent.added",
        "agent.revoked",
    }
    assert secrets["token"] not in str(Agent.objects.values())


@pytest.mark.django_db(transaction=True)
def test_a_host_that_does_not_answer_supports_nothing_and_has_no_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.services.agents.ANSWER_WITHIN", timedelta(seconds=0.2))
    add_agent(principal=SITE, slug="gpu-1")
    arguments = {"on_host": "gpu-1", "process": {"cmdline": "^x$"}}
    assert "has not answered" in probe_action("process.stop", arguments).reason
    assert "has not answered" in plan_action("process.stop", arguments).summary
    assert "no agent gpu-2" in probe_action("process.stop", {**arguments, "on_host": "gpu-2"}).reason
    assert not AgentOrder.objects.filter(expires_at__gt=timezone.now()).exists()


@pytest.mark.django_db
def test_the_host_is_named_well_and_asked_outside_of_transactions() -> None:
    with pytest.raises(InputRefusedError, match="name of an agent"):
        split_host({"on_host": "../etc"})
    add_agent(principal=SITE, slug="gpu-1")
    with pytest.raises(RuntimeError, match="inside a transaction"):
        ask_agent("gpu-1", "probe", "process.stop", {})

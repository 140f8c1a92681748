"""Runs: approvals, expectations, and what happens when a process dies in the middle of a step."""

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from core.parsing import InputRefusedError
from core.work import drain
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support
from drivers.services import registry
from ledger.selectors import entries
from runbooks.data import RunState, StepState
from runbooks.models import RunbookRun, RunStep, StepAttempt
from runbooks.services import apply_documents, approve_step, confirm_step, start_run

pytestmark = [pytest.mark.django_db, pytest.mark.database]
SITE = system_principal("test")
TEXT = """---
runbook: lamp
title: Light the lamp
inputs: {level: {type: integer, default: 1}}
---
# Light the lamp

```check id=dark
action: lamp.look
with: {level: "{{ inputs.level }}"}
expect: {lt: 10}
timeout: 5s
```

```approve id=agree
before: [light]
```

```step id=light
action: lamp.light
with: {level: "{{ inputs.level }}"}
timeout: 5s
```
"""


class LampArguments(Arguments):
    level: int = 1


class Lamp:
    name: ClassVar[str] = "lamp.light"
    description: ClassVar[str] = "Lights a lamp."
    arguments: ClassVar[type[Arguments]] = LampArguments
    risk: Risk = Risk.DESTRUCTIVE
    idempotency: Idempotency = Idempotency.NONE
    reversible: ClassVar[bool] = False

    def __init__(self) -> None:
        self.lit: list[str] = []

    def probe(self, arguments: Any) -> Support:
        return Support(supported=True)

    def plan(self, arguments: Any) -> Plan:
        return Plan("Light the lamp")

    def run(self, arguments: LampArguments, *, idempotency_key: str) -> ActionResult:
        self.lit.append(idempotency_key)
        return ActionResult(ok=True, output={"value": arguments.level})

    def undo(self, arguments: Any, output: dict[str, Any]) -> ActionResult:
        return ActionResult(ok=True)

    def is_active(self, arguments: Any, output: dict[str, Any]) -> bool:
        return False


class Look(Lamp):
    name: ClassVar[str] = "lamp.look"
    risk: Risk = Risk.READ


@pytest.fixture
def lamp(monkeypatch: pytest.MonkeyPatch) -> Lamp:
    lamp, look = Lamp(), Look()
    monkeypatch.setattr(registry, "_actions", {lamp.name: lamp, look.name: look})
    apply_documents(principal=SITE, documents=[("lamp.md", TEXT)])
    return lamp


def person(username: str, *roles: Role) -> Principal:
    user: User = create_user(principal=SITE, username=username, password=None)
    for role in roles:
        grant_role(principal=SITE, user=user, role=role)
    return principal_for_user(user=user)


def begin(principal: Principal = SITE, key: str = "k", **inputs: Any) -> RunbookRun:
    run = start_run(principal=principal, runbook_slug="lamp", inputs=inputs, trigger="test", idempotency_key=key)
    drain("runbooks.advance")
    run.refresh_from_db()
    return run


def steps(run: RunbookRun) -> dict[str, str]:
    return dict(run.steps.values_list("step_id", "state"))


def test_a_run_looks_by_itself_waits_for_approval_and_then_acts(lamp: Lamp) -> None:
    run = begin()
    assert run.state == RunState.WAITING
    assert steps(run) == {"dark": "succeeded", "agree": "waiting", "light": "pending"}
    assert lamp.lit == []
    approve_step(principal=person("bob", Role.APPROVER), run=run, step_id="agree")
    drain("runbooks.advance")
    run.refresh_from_db()
    assert run.state == RunState.SUCCEEDED
    assert len(lamp.lit) == 1
    (entry,) = entries(types=["runbook.run_finished"])
    assert entry.payload is not None
    payload: dict[str, Any] = entry.payload
    (light,) = [step for step in payload["steps"] if step["step"] == "light"]
    assert light["approved_by"].startswith("user:")


def test_the_same_key_starts_one_run(lamp: Lamp) -> None:
    assert begin().pk == begin().pk
    assert RunbookRun.objects.count() == 1


def test_who_runs_it_cannot_approve_it(lamp: Lamp) -> None:
    both = person("alice", Role.RESPONDER, Role.APPROVER)
    run = begin(both)
    with pytest.raises(PermissionDenied):
        approve_step(principal=both, run=run, step_id="agree")
    assert lamp.lit == []


def test_an_expired_approval_fails_the_run(lamp: Lamp) -> None:
    run = begin()
    past = timezone.now() - timedelta(seconds=1)
    RunStep.objects.filter(run=run, step_id="agree").update(waiting_until=past)
    with pytest.raises(InputRefusedError):
        approve_step(principal=person("bob", Role.APPROVER), run=run, step_id="agree")
    RunbookRun.objects.update(due_at=past)
    drain("runbooks.advance")
    run.refresh_from_db()
    assert run.state == RunState.FAILED


def test_an_approval_holds_for_the_arguments_it_was_given_for(lamp: Lamp) -> None:
    run = begin()
    approve_step(principal=person("bob", Role.APPROVER), run=run, step_id="agree")
    RunbookRun.objects.filter(pk=run.pk).update(inputs={"level": 9})
    drain("runbooks.advance")
    assert lamp.lit == []
    assert steps(run)["light"] == StepState.PENDING


def test_an_expectation_that_does_not_hold_fails_the_run(lamp: Lamp) -> None:
    assert begin(level=50).state == RunState.FAILED


def died_in_the_middle(run: RunbookRun) -> None:
    """As a worker leaves it that was killed after it had committed the attempt."""
    step = run.steps.get(step_id="light")
    RunStep.objects.filter(pk=step.pk).update(state=StepState.STARTED)
    StepAttempt.objects.create(step=step, number=1, idempotency_key="lost", started_at=timezone.now())
    past = timezone.now() - timedelta(minutes=5)
    RunbookRun.objects.filter(pk=run.pk).update(lease_owner="dead", lease_until=past, due_at=past, state="running")


def test_a_step_that_cannot_be_repeated_is_unknown_until_a_person_says(lamp: Lamp) -> None:
    run = begin()
    approve_step(principal=person("bob", Role.APPROVER), run=run, step_id="agree")
    died_in_the_middle(run)
    drain("runbooks.advance")
    assert lamp.lit == []
    assert steps(run)["light"] == StepState.UNKNOWN
    confirm_step(
        principal=person("alice", Role.RESPONDER), run=run, step_id="light", answer="done", evidence="it is bright"
    )
    drain("runbooks.advance")
    run.refresh_from_db()
    assert run.state == RunState.SUCCEEDED
    assert lamp.lit == []


def test_a_step_that_may_be_repeated_is_repeated_under_the_same_key(lamp: Lamp) -> None:
    lamp.idempotency = Idempotency.KEY
    run = begin()
    approve_step(principal=person("bob", Role.APPROVER), run=run, step_id="agree")
    died_in_the_middle(run)
    drain("runbooks.advance")
    assert lamp.lit == ["lost"]
    run.refresh_from_db()
    assert run.state == RunState.SUCCEEDED


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("```approve id=agree\nbefore: [light]\n```\n", ""), "destructive step without approval"),
        (("lamp.light", "lamp.explode"), "lamp.explode"),
        (("timeout: 5s\n```\n\n```approve", "```\n\n```approve"), "timeout"),
        (("inputs.level", "inputs.height"), "the input height"),
        (("action: lamp.look", "action: lamp.light"), "a check may only look"),
        (("id=light", "id=dark"), "a second time"),
        (("before: [light]", "before: [lights]"), "before: lights"),
        (("# Light the lamp", "password: hunter2hunter2"), "looks like a secret"),
        (("```check id=dark", "```check dark"), "the fence"),
        (("runbook: lamp", "runbook: Lamp!"), "runbook"),
    ],
)
def test_the_linter_names_line_what_and_how_to_mend(lamp: Lamp, change: tuple[str, str], said: str) -> None:
    with pytest.raises(InputRefusedError) as caught:
        apply_documents(principal=SITE, documents=[("lamp.md", TEXT.replace(*change, 1))])
    assert said in str(caught.value)
    assert "lamp.md" in str(caught.value)

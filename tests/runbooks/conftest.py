"""Actions that only remember, and people to run them."""

from typing import Any, ClassVar

import pytest

from accounts.data import Principal, Role, system_principal
from accounts.models import User
from accounts.selectors import principal_for_user
from accounts.services import create_user, grant_role
from core.work import drain
from drivers.data import ActionResult, Arguments, Idempotency, Plan, Risk, Support
from drivers.services import registry
from runbooks.models import RunbookRun
from runbooks.services import apply_documents, start_run

SITE = system_principal("test")


class DoArguments(Arguments):
    name: str = ""
    value: int | str | None = None


class Recorder:
    """An action whose answers a test sets; it notes what it was asked for."""

    description: ClassVar[str] = "Notes what it was asked for."
    arguments: ClassVar[type[Arguments]] = DoArguments
    reversible: ClassVar[bool] = False

    def __init__(self, name: str, risk: Risk, idempotency: Idempotency = Idempotency.NATURAL) -> None:
        self.name, self.risk, self.idempotency = name, risk, idempotency
        self.calls: list[tuple[str, str]] = []
        self.answers: dict[str, list[ActionResult]] = {}

    def probe(self, arguments: Any) -> Support:
        return Support(supported=True)

    def plan(self, arguments: DoArguments) -> Plan:
        return Plan(f"{self.name} {arguments.name}", commands=(f"{self.name} {arguments.name}",))

    def run(self, arguments: DoArguments, *, idempotency_key: str) -> ActionResult:
        self.calls.append((arguments.name, idempotency_key))
        waiting = self.answers.get(arguments.name, [])
        return waiting.pop(0) if waiting else ActionResult(ok=True, output={"value": arguments.value})

    def undo(self, arguments: Any, output: dict[str, Any]) -> ActionResult:
        return ActionResult(ok=True)

    def is_active(self, arguments: Any, output: dict[str, Any]) -> bool:
        return False

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def will(self, name: str, *results: ActionResult) -> None:
        self.answers.setdefault(name, []).extend(results)


class Bench:
    """Three recorders and the ways to put a runbook to work."""

    def __init__(self) -> None:
        self.look = Recorder("see.look", Risk.READ)
        self.change = Recorder("do.change", Risk.CHANGE)
        self.destroy = Recorder("do.destroy", Risk.DESTRUCTIVE, Idempotency.NONE)

    def apply(self, body: str, *, front: str = "") -> None:
        text = f"---\nrunbook: bench\ntitle: Bench\n{front}---\n# Bench\n\n{body}\n"
        apply_documents(principal=SITE, documents=[("bench.md", text)])

    def start(self, principal: Principal | None = None, key: str = "k", **inputs: Any) -> RunbookRun:
        who = principal or self.person("olive", Role.RESPONDER)
        run = start_run(principal=who, runbook_slug="bench", inputs=inputs, trigger="test", idempotency_key=key)
        return self.go(run)

    def go(self, run: RunbookRun) -> RunbookRun:
        drain("runbooks.advance")
        run.refresh_from_db()
        return run

    def person(self, username: str, *roles: Role) -> Principal:
        user = User.objects.filter(username=username).first() or create_user(
            principal=SITE, username=username, password=None, email=f"{username}@example.org"
        )
        for role in roles:
            grant_role(principal=SITE, user=user, role=role)
        return principal_for_user(user=user)

    def states(self, run: RunbookRun) -> dict[str, str]:
        return {f"{s.step_id}{f' {s.item}' if s.item else ''}": s.state for s in run.steps.all()}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    known = dict(registry._actions)
    for action in (made.look, made.change, made.destroy):
        known[action.name] = action  # type: ignore[assignment]
    monkeypatch.setattr(registry, "_actions", known)
    return made


def block(info: str, **keys: str) -> str:
    body = "\n".join(f"{name.rstrip('_')}: {value}" for name, value in keys.items())
    return f"```{info}\n{body}\n```\n\n"


def step(name: str, action: str = "do.change", **keys: str) -> str:
    rollback = keys.pop("on_rollback", "")
    return block(
        f"step id={name}{rollback}", action=action, with_=keys.pop("with_", f"{{name: {name}}}"), timeout="10s", **keys
    )


def check(name: str, **keys: str) -> str:
    return block(
        f"check id={name}", action="see.look", with_=keys.pop("with_", f"{{name: {name}}}"), timeout="10s", **keys
    )

"""A site of its own for tests that kill workers: `seed`, `start`, and `work [POINT]`, each a process.

`work` does what is due until nothing is; with a point it is killed by SIGKILL there: before a step's row, between the
row and the effect, after the effect and before its result, or after the result.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command


def seed(receiver: str) -> None:
    call_command("migrate", verbosity=0)
    from accounts.data import Role, system_principal
    from accounts.services import create_user, grant_role
    from runbooks.services import apply_documents

    me = system_principal("test")
    for name, role in (("alice", Role.RESPONDER), ("bob", Role.APPROVER)):
        grant_role(principal=me, user=create_user(principal=me, username=name, password=None), role=role)
    text = (Path(__file__).parent / "crash_runbook.md").read_text("utf-8").replace("RECEIVER", receiver)
    apply_documents(principal=me, documents=[("crash.md", text)])


def start(key: str, selector: str) -> None:
    from accounts.selectors import principal_for_user, user_by_username
    from runbooks.services import start_run

    alice = user_by_username(username="alice")
    assert alice is not None
    run = start_run(
        principal=principal_for_user(user=alice),
        runbook_slug="crash",
        inputs={"mark": selector},
        trigger="test",
        idempotency_key=key,
    )
    sys.stdout.write(run.reference)


def work(point: str = "", nth: str = "1") -> None:
    """Work as a person's helper too: the approval is given, unknown outcomes are looked up by their check."""
    from core.work import drain_all
    from runbooks.services import acting

    remaining = [int(nth)]

    def die_at(original: Any, *, before: bool) -> Any:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            remaining[0] -= 1
            if before and remaining[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            answer = original(*args, **kwargs)
            if not before and remaining[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return wrapped

    points = {
        "before-row": ("_try", True),
        "before-effect": ("run_action", True),
        "after-effect": ("run_action", False),
        "before-result": ("_close_attempt", True),
        "after-result": ("finish_step", False),
    }
    if point:
        name, before = points[point]
        setattr(acting, name, die_at(getattr(acting, name), before=before))
    for _ in range(20):
        if not drain_all() and not _answer():
            break


def _answer() -> bool:
    from accounts.selectors import principal_for_user, user_by_username
    from runbooks.data import StepState
    from runbooks.models import RunStep
    from runbooks.services import answer_step

    done = False
    for step in RunStep.objects.filter(state__in=[StepState.WAITING, StepState.UNKNOWN]).select_related(
        "run__revision__runbook"
    ):
        name, answer = ("bob", "approve") if step.kind == "approve" else ("alice", "done")
        user = user_by_username(username=name)
        assert user is not None
        answer_step(
            principal=principal_for_user(user=user), run=step.run, step_id=step.step_id, answer=answer, evidence="seen"
        )
        done = True
    return done


def main() -> None:
    django.setup()
    steps: dict[str, Callable[..., None]] = {"seed": seed, "start": start, "work": work}
    steps[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()

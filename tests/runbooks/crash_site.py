"""A site of its own for tests that kill workers: in tables made before, `seed`, `start`, and
`work [POINT NTH]`, each a process.

`work` does what is due until nothing is; with a point it is killed by SIGKILL there, the NTH time that it comes by:
before a step's row, between the row and the effect, after the effect and before its result, after the result, and
around what asks, tells, waits and ends.

The processes are forked from one that has loaded everything: it reads a line of arguments, says `pid N`, and, once the
process has ended, `exit CODE`.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django


def seed(receiver: str) -> None:
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
    start_run(
        principal=principal_for_user(user=alice),
        runbook_slug="crash",
        inputs={"mark": selector},
        trigger="test",
        idempotency_key=key,
    )


POINTS = {
    "before-row": ("acting", "_try", True),
    "before-effect": ("acting", "run_action", True),
    "after-effect": ("acting", "run_action", False),
    "before-result": ("acting", "_close_attempt", True),
    "after-result": ("acting", "finish_step", False),
    "before-verify": ("acting", "_verify", True),
    "after-verify": ("acting", "_verify", False),
    "before-asking": ("running", "ask", True),
    "after-asking": ("running", "ask", False),
    "before-telling": ("running", "notify", True),
    "after-telling": ("running", "notify", False),
    "before-resting": ("running", "_rest", True),
    "after-resting": ("running", "_rest", False),
    "before-end": ("running", "end_run", True),
    "after-end": ("running", "end_run", False),
}


def work(point: str = "", nth: str = "1") -> None:
    """Work as a person's helper too: questions are answered, unknown outcomes are said to be done."""
    from core.work import drain_all
    from runbooks.services import acting, running

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

    if point:
        where, name, before = POINTS[point]
        module = {"acting": acting, "running": running}[where]
        setattr(module, name, die_at(getattr(module, name), before=before))
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
        if step.kind == "wait":
            continue
        usual = {"approve": "approve", "confirm": "yes", "decide": "left"}
        answer = "done" if step.state == StepState.UNKNOWN else usual[step.kind]
        name = "bob" if step.kind == "approve" else "alice"
        user = user_by_username(username=name)
        assert user is not None
        answer_step(
            principal=principal_for_user(user=user), run=step.run, step_id=step.step_id, answer=answer, evidence="seen"
        )
        done = True
    return done


def main() -> None:
    django.setup()
    from core import periodic  # noqa: F401 loaded once, for every process that is forked
    from runbooks import tasks  # noqa: F401

    steps: dict[str, Callable[..., None]] = {"seed": seed, "start": start, "work": work}
    for line in sys.stdin:
        name, *arguments = line.split()
        pid = os.fork()
        if pid == 0:
            try:
                steps[name](*arguments)
            except BaseException:  # noqa: BLE001 the process ends here, whatever it was
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        sys.stdout.write(f"pid {pid}\n")
        sys.stdout.flush()
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"exit {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
